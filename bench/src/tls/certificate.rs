//! A certificate for measurements.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

/// A certificate for `localhost` that nobody signed but itself (ECDSA P-256), in a folder that goes
/// with it.
#[derive(Debug)]
pub struct SelfSigned {
    folder: TempDir,
    certificate: CertificateDer<'static>,
}

impl SelfSigned {
    /// Makes one, with a key of its own.
    ///
    /// # Errors
    ///
    /// No folder can be made for the files.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let signed = SelfSigned {
            folder: tempfile::tempdir()?,
            certificate: made.cert.der().clone(),
        };
        fs::write(signed.certificate_file(), made.cert.pem())?;
        fs::write(signed.key_file(), made.signing_key.serialize_pem())?;
        Ok(signed)
    }

    /// The file of the certificate.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The file of its key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The certificate, for clients to trust.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}
