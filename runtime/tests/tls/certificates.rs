//! Certificates that a test makes for itself, and clients that trust them.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use snapback::ServerReader;
use tempfile::TempDir;

use crate::support::{Client, PATIENCE, reader};

/// The versions of TLS that a service speaks.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// An authority, and the folder with what it issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate with its key, as DER.
pub(crate) struct Identity {
    pub(crate) certificate: rustls::pki_types::CertificateDer<'static>,
    pub(crate) key: rustls::pki_types::PrivateKeyDer<'static>,
}

impl Authority {
    /// An authority of this name; its own certificate is in `ca.pem`.
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("random numbers");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Authority {
            issuer,
            folder: tempfile::tempdir().expect("a folder"),
        };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    /// Issues a certificate for `localhost`, and writes `NAME.pem` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("random numbers");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        // The key goes first, so that whoever watches the certificate finds both.
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(&format!("{name}.pem"), &certificate.pem());
        Identity {
            certificate: certificate.der().clone(),
            key: key.into(),
        }
    }

    /// Replaces a file at once, as a careful program does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::File::create(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&new, &path))
            .expect("a file in a folder of ours");
    }

    /// Where a file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A service with the certificate `server`, which is issued here.
    pub(crate) fn reader(&self, path: &str) -> ServerReader {
        self.issue("server");
        reader(path)
            .option("tlsCertFile", self.path("server.pem").display())
            .option("tlsKeyFile", self.path("server.key").display())
    }

    /// What a client needs to trust this authority.
    pub(crate) fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<Identity>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.issuer.der().clone())
            .expect("our own certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions of the provider")
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("a key that fits"),
        }
    }

    /// A client that trusts this authority, connected and past the handshake.
    pub(crate) fn client(&self, port: u16) -> Client {
        let mut config = self.client_config(&VERSIONS, None);
        config.resumption = Resumption::disabled();
        Client::secured(secure(config, port))
    }
}

/// Connects, and leaves the handshake to the first read or write.
pub(crate) fn secure(config: ClientConfig, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    secure_over(config, connect(port))
}

/// TLS over a connection that was made before.
pub(crate) fn secure_over(
    config: impl Into<Arc<ClientConfig>>,
    stream: TcpStream,
) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(session(config), stream)
}

/// A session that has sent nothing yet.
pub(crate) fn session(config: impl Into<Arc<ClientConfig>>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(config.into(), name).expect("a good configuration")
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time");
    stream
}
