//! The secret that the admin listener asks for.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use subtle::ConstantTimeEq;

use super::error::AdminError;
use crate::options::Options;

/// The environment variable that may hold the token.
pub(crate) const VARIABLE: &str = "SNAPBACK_ADMIN_TOKEN";
/// A shorter one could be guessed.
pub(crate) const MIN_BYTES: usize = 16;
/// No token is longer; a file that is one is something else.
const MAX_BYTES: u64 = 4096;

/// The token, and where it came from.
///
/// A file is read again for each request that shows a token, so that a new one holds at once; while
/// it cannot be read, the last good one holds.
pub(super) struct Token {
    file: Option<PathBuf>,
    last: Mutex<Vec<u8>>,
}

impl Token {
    /// The token that the options or the environment name, if any.
    pub(super) fn of(options: &Options) -> Result<Option<Token>, AdminError> {
        if let Some(file) = &options.admin_token_file {
            let bytes = read(file).map_err(|reason| AdminError::Token {
                place: format!("adminTokenFile {file}"),
                reason,
            })?;
            return Ok(Some(Token {
                file: Some(file.into()),
                last: Mutex::new(bytes),
            }));
        }
        let Some(value) = std::env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let bytes = check(value.as_encoded_bytes()).map_err(|reason| AdminError::Token {
            place: format!("the environment variable {VARIABLE}"),
            reason,
        })?;
        Ok(Some(Token {
            file: None,
            last: Mutex::new(bytes),
        }))
    }

    /// Whether this is the token. How long the answer takes depends on no byte of it.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file {
            match read(file) {
                Ok(bytes) => *last = bytes,
                Err(reason) => {
                    tracing::warn!(file = %file.display(), reason, "cannot read the admin token anew; the last one holds");
                }
            }
        }
        last.ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn read(file: impl AsRef<std::path::Path>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    check(&bytes)
}

fn check(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let token = bytes.trim_ascii();
    if token.len() < MIN_BYTES {
        return Err(format!("has {} bytes", token.len()));
    }
    // What cannot stand in a header after `Bearer` could never be shown.
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("has bytes that are no visible ASCII".to_owned());
    }
    Ok(token.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(file: &std::path::Path) -> Result<Option<Token>, AdminError> {
        let mut options = Options::default();
        options.set("adminTokenFile", file.display()).unwrap();
        Token::of(&options)
    }

    #[test]
    fn a_new_token_holds_at_once_and_an_unreadable_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "a-token-of-some-length\n").unwrap();
        let token = token(&file).unwrap().unwrap();
        assert!(token.is(b"a-token-of-some-length"));
        for wrong in ["", "a-token-of-some-lengt", "a-token-of-some-length\n"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
        fs::write(&file, "another-one-as-long-as-it").unwrap();
        assert!(!token.is(b"a-token-of-some-length"));
        assert!(token.is(b"another-one-as-long-as-it"));
        fs::remove_file(&file).unwrap();
        assert!(token.is(b"another-one-as-long-as-it"));
        let shown = format!("{token:?}");
        assert!(!shown.contains("another"), "{shown}");
    }

    #[test]
    fn a_token_of_no_use_is_refused_without_a_word_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let long = "x".repeat(5000);
        for bad in ["", "hunter2", "hunter2 hunter2 hunter2 hunter2", &long] {
            fs::write(&file, bad).unwrap();
            let error = token(&file).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("token"), "{error}");
        }
        fs::remove_file(&file).unwrap();
        let error = token(&file).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
