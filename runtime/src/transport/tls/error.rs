//! What can be wrong with the files of a certificate.

use std::io;
use std::path::PathBuf;

/// Why the certificates of a service cannot be used. Nothing of a private key is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {option} {}: {source}; {}", path.display(), way_out(source))]
    Read {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is far too long for what it is to hold.
    #[error("{option} {} is longer than {limit_bytes} bytes: it is no PEM file of certificates or keys", path.display())]
    TooLong {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The longest file that is read.
        limit_bytes: u64,
    },
    /// A file is not in the PEM format, or damaged.
    #[error("{option} {} is no good PEM file: {reason}", path.display())]
    Pem {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file holds no certificate.
    #[error(
        "there is no certificate in {option} {}: it must hold a section `BEGIN CERTIFICATE`",
        path.display()
    )]
    NoCertificate {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key that can be read.
    #[error(
        "there is no private key in tlsKeyFile {}: it must hold a section `BEGIN PRIVATE KEY`, `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted.
    #[error(
        "the private key in tlsKeyFile {} is encrypted: decrypt it with `openssl pkey -in FILE -out PLAIN`, and let only the service read the result",
        path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is of a kind that is not known.
    #[error(
        "the private key in tlsKeyFile {} cannot be used: {reason}; RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 can",
        path.display()
    )]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key belongs to another certificate.
    #[error(
        "the private key in tlsKeyFile {} does not belong to the first certificate in tlsCertFile {}: give the pair, and put the service's own certificate first",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// A certificate cannot be used.
    #[error("a certificate in {option} {} cannot be used: {reason}", path.display())]
    UnusableCertificate {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS itself cannot be set up.
    #[error("cannot set TLS up: {reason}")]
    Setup {
        /// What is wrong.
        reason: String,
    },
    /// The query does not speak TLS.
    #[error("this query does not speak TLS: give it the options tlsCertFile and tlsKeyFile")]
    NotInUse,
}

fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "give the path of a PEM file that exists",
        io::ErrorKind::PermissionDenied => "give the user of this process the right to read it",
        _ => "give the path of a PEM file",
    }
}
