//! From the options to files, and from the files to what rustls serves with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, VerifierBuilderError};
use rustls::server::{ServerConfig, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, SupportedProtocolVersion};

use super::CertificateError;
use crate::io::file::{Stamp, read_at_most};
use crate::options::{OptionError, Options, TlsVersion};

/// The longest file that is read. The bundle of all public authorities has 220 KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

const CERTIFICATE: &str = "tlsCertFile";
const KEY: &str = "tlsKeyFile";
const CLIENT_CA: &str = "tlsClientCaFile";

/// The files that a service takes its certificates from.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    min_version: TlsVersion,
}

/// What was read from the files. Private keys are not kept.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// As the file has it, to see whether it changed; none without client certificates.
    pub(super) client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// The files that the options name, if the service is to speak TLS.
    pub(crate) fn of(options: &Options) -> Result<Option<Self>, OptionError> {
        let missing = |key, allowed: &str| OptionError::BadValue {
            key,
            value: String::new(),
            allowed: allowed.to_owned(),
        };
        let (certificate, key) = match (&options.tls_cert_file, &options.tls_key_file) {
            (Some(certificate), Some(key)) => (certificate.into(), key.into()),
            (Some(_), None) => {
                return Err(missing(KEY, "the file of the private key of tlsCertFile"));
            }
            (None, Some(_)) => {
                return Err(missing(
                    CERTIFICATE,
                    "the file of the certificate of tlsKeyFile",
                ));
            }
            (None, None) => {
                let others = [
                    options.tls_client_ca_file.as_deref().map(|_| CLIENT_CA),
                    options.tls_port.map(|_| "tlsPort"),
                    options.tls_host.as_deref().map(|_| "tlsHost"),
                ];
                return match others.into_iter().flatten().next() {
                    Some(other) => Err(missing(
                        CERTIFICATE,
                        &format!("the file of a certificate, since {other} is given"),
                    )),
                    None => Ok(None),
                };
            }
        };
        Ok(Some(TlsFiles {
            certificate,
            key,
            client_ca: options.tls_client_ca_file.as_ref().map(PathBuf::from),
            min_version: options.tls_min_version,
        }))
    }

    /// What the files are now.
    pub(super) fn stamps(&self) -> [Option<Stamp>; 3] {
        [
            Stamp::of(&self.certificate),
            Stamp::of(&self.key),
            self.client_ca.as_deref().and_then(Stamp::of),
        ]
    }

    /// Reads the files. The tickets of `before` stay good unless other clients are trusted now: who
    /// resumes a session shows no certificate again.
    pub(super) fn load(&self, before: Option<&Loaded>) -> Result<Loaded, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let pair = self.pair(&provider)?;
        let client_ca = match &self.client_ca {
            Some(path) => Some(read(CLIENT_CA, path)?),
            None => None,
        };
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(setup)?;
        let builder = match (&self.client_ca, &client_ca) {
            (Some(path), Some(pem)) => {
                builder.with_client_cert_verifier(verifier(path, pem, &provider)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let resolver = rustls::sign::SingleCertAndKey::from(pair);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Tickets hold the session, so that no partition keeps any for another.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = match before {
            Some(before) if before.client_ca == client_ca => Arc::clone(&before.config.ticketer),
            _ => new_ticketer()?,
        };
        Ok(Loaded {
            config: Arc::new(config),
            client_ca,
        })
    }

    /// The certificate with its key.
    fn pair(&self, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
        let chain = certificates(
            CERTIFICATE,
            &self.certificate,
            &read(CERTIFICATE, &self.certificate)?,
        )?;
        let key = self.private_key()?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| CertificateError::UnusableKey {
            path: self.key.clone(),
            reason: error.to_string(),
        })?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::KeyMismatch {
                key: self.key.clone(),
                certificate: self.certificate.clone(),
            }),
            Err(error) => Err(unusable(CERTIFICATE, &self.certificate, &error)),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, CertificateError> {
        let path = self.key.clone();
        let pem = read(KEY, &path)?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
                if memchr::memmem::find(&pem, ENCRYPTED).is_some() {
                    CertificateError::EncryptedKey { path }
                } else {
                    CertificateError::NoKey { path }
                }
            }
            error => bad_pem(KEY, &path, &error),
        })
    }
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    let read = |source: io::Error| CertificateError::Read {
        option,
        path: path.to_owned(),
        source,
    };
    let bytes = read_at_most(path, MAX_FILE_BYTES).map_err(read)?;
    bytes.ok_or_else(|| CertificateError::TooLong {
        option,
        path: path.to_owned(),
        limit_bytes: MAX_FILE_BYTES,
    })
}

/// All certificates of a file; there must be one at least.
fn certificates(
    option: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| bad_pem(option, path, &error))?;
    if found.is_empty() {
        let path = path.to_owned();
        return Err(CertificateError::NoCertificate { option, path });
    }
    Ok(found)
}

/// Who checks the certificates of clients.
fn verifier(
    path: &Path,
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path, pem)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(CLIENT_CA, path, &error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(
            |error: VerifierBuilderError| CertificateError::UnusableCertificate {
                option: CLIENT_CA,
                path: path.to_owned(),
                reason: error.to_string(),
            },
        )
}

/// Tickets whose keys are random, never leave the process and change every six hours.
fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, CertificateError> {
    ring::Ticketer::new().map_err(setup)
}

fn bad_pem(option: &'static str, path: &Path, error: &pem::Error) -> CertificateError {
    CertificateError::Pem {
        option,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn unusable(option: &'static str, path: &Path, error: &rustls::Error) -> CertificateError {
    CertificateError::UnusableCertificate {
        option,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn setup(error: rustls::Error) -> CertificateError {
    CertificateError::Setup {
        reason: error.to_string(),
    }
}
