//! TLS of the load generator: whom to trust, the handshake, and bytes in and out of a socket that
//! does not block.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion,
    RootCertStore, SignatureScheme,
};

use super::connection::Fault;
use super::options::LoadOptions;

/// Why a secured target cannot be connected to, before anybody tried.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Nobody said whom to trust. The roots of the system are not asked: servers to measure have
    /// certificates of their own.
    #[error(
        "https://{host} needs --ca FILE, the certificates to trust (PEM), \
         or --insecure, to accept any of them (for measuring only)"
    )]
    Missing {
        /// The host with its port.
        host: String,
    },
    /// The file is not there, or has no certificate.
    #[error("--ca {}: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The host of the URL is neither a name nor an address.
    #[error("`{0}`: a certificate cannot have this name")]
    Name(String),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the server's certificate is signed by none of those in --ca ({0})")]
    Issuer(rustls::Error),
    #[error("the server's certificate is not for the host of the URL ({0})")]
    Name(rustls::Error),
    #[error("the TLS handshake failed: {0}")]
    Other(rustls::Error),
}

/// What a client of a secured target needs for each connection.
#[derive(Debug)]
pub(super) struct Security {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Security {
    /// Nothing for a target that is not secured.
    pub(super) fn of(options: &LoadOptions) -> Result<Option<Security>, TrustError> {
        let target = &options.target;
        if !target.is_secure {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for them");
        let builder = match &options.ca {
            Some(path) => builder.with_root_certificates(roots(path)?),
            None if options.insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })),
            None => {
                let host = target.host.clone();
                return Err(TrustError::Missing { host });
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Every connection costs the server the same, the first one and those that replace it.
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(target.server_name().to_owned())
            .map_err(|_| TrustError::Name(target.host.clone()))?;
        Ok(Some(Security {
            config: Arc::new(config),
            name,
        }))
    }

    /// Shakes hands to the end. It waits, at most for `timeout`, so that no request has any of it
    /// in its latency.
    pub(super) fn handshake(
        &self,
        socket: &OwnedFd,
        timeout: Duration,
    ) -> io::Result<Box<ClientConnection>> {
        let until = Instant::now() + timeout;
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(io::Error::other)?;
        // Requests must not be refused while the socket is full; those in flight bound what waits.
        tls.set_buffer_limit(None);
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut Wire::new(socket)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if !tls.is_handshaking() && !tls.wants_write() {
                return Ok(Box::new(tls));
            }
            wait(socket, tls.wants_write(), until)?;
            match tls.read_tls(&mut Wire::new(socket)) {
                Ok(0) => {
                    let why = "the server closed the connection in the TLS handshake";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
                Ok(_) => {
                    tls.process_new_packets().map_err(|error| {
                        // The server is told why, as far as its socket takes it.
                        let _ = tls.write_tls(&mut Wire::new(socket));
                        explained(error)
                    })?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The certificates of a file.
fn roots(path: &Path) -> Result<RootCertStore, TrustError> {
    let refused = |why: &dyn Display| TrustError::Ca {
        path: path.to_owned(),
        why: why.to_string(),
    };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| refused(&error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| refused(&error))?;
        roots.add(certificate).map_err(|error| refused(&error))?;
    }
    match roots.is_empty() {
        true => Err(refused(&"no certificate in PEM")),
        false => Ok(roots),
    }
}

fn explained(error: rustls::Error) -> io::Error {
    let error = match &error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                HandshakeError::Issuer(error)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                HandshakeError::Name(error)
            }
            _ => HandshakeError::Other(error),
        },
        _ => HandshakeError::Other(error),
    };
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Waits until the socket has something to read, or room if it is asked for.
fn wait(socket: &OwnedFd, room: bool, until: Instant) -> io::Result<()> {
    let flags = match room {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = left.try_into().map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(socket, flags)], Some(&left)) {
            Ok(0) => {
                let why = "the server did not end the TLS handshake in time";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The version and the suite that a connection agreed on.
pub(super) fn agreed(tls: &ClientConnection) -> String {
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    match tls.negotiated_cipher_suite() {
        Some(suite) => format!("{version}, {:?}", suite.suite()),
        None => version.to_owned(),
    }
}

/// Reads what the socket has, and gives how many bytes of it are for the client, as
/// [`super::connection::Connection::receive`] does.
pub(super) fn receive(
    tls: &mut ClientConnection,
    socket: &OwnedFd,
    input: &mut [u8],
) -> Result<usize, Fault> {
    let mut filled = 0;
    let mut is_drained = false;
    loop {
        match tls.reader().read(&mut input[filled..]) {
            Ok(0) if filled == 0 => return Err(Fault::Eof),
            // Its end comes with the event of the socket's.
            Ok(0) => return Ok(filled),
            Ok(count) => {
                filled += count;
                if filled == input.len() {
                    return Ok(filled);
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) if filled == 0 => return Err(Fault::Eof),
            Err(_) => return Ok(filled),
        }
        if is_drained {
            return Ok(filled);
        }
        let mut wire = Wire::new(socket);
        match tls.read_tls(&mut wire) {
            Ok(_) => {
                is_drained = wire.is_drained;
                tls.process_new_packets().map_err(|_| Fault::Malformed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(filled),
            Err(_) if filled > 0 => return Ok(filled),
            Err(_) => return Err(Fault::Reset),
        }
        if tls.wants_write() {
            // The answer to new keys; requests that follow would carry what is left of it.
            flush(tls, socket)?;
        }
    }
}

/// Sends requests. Gives whether the socket took all; the rest waits in `tls`.
pub(super) fn send_all(
    tls: &mut ClientConnection,
    socket: &OwnedFd,
    requests: &[u8],
) -> Result<bool, Fault> {
    tls.writer().write_all(requests).map_err(|_| Fault::Reset)?;
    flush(tls, socket)
}

/// Sends what waits. Gives whether nothing waits any more.
pub(super) fn flush(tls: &mut ClientConnection, socket: &OwnedFd) -> Result<bool, Fault> {
    while tls.wants_write() {
        match tls.write_tls(&mut Wire::new(socket)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(Fault::Reset),
        }
    }
    Ok(true)
}

/// The socket, as rustls reads and writes it.
struct Wire<'a> {
    socket: &'a OwnedFd,
    /// The last read gave less than there was room for.
    is_drained: bool,
}

impl Wire<'_> {
    fn new(socket: &OwnedFd) -> Wire<'_> {
        Wire {
            socket,
            is_drained: false,
        }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let (count, _) = recv(self.socket, &mut *room, RecvFlags::empty())?;
        self.is_drained = count < room.len();
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts any certificate, for measuring only. That the server has its key is checked all the
/// same, so that the handshake costs what it costs elsewhere.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
