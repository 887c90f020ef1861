//! TLS under a connection, by rustls.

mod certificates;
mod error;
mod files;
mod stream;
mod watch;

pub(crate) use certificates::Certificates;
pub use error::CertificateError;
pub(crate) use files::TlsFiles;
pub(crate) use stream::{MAX_REST_BYTES, SEAL_BYTES, TlsError, TlsStream};
