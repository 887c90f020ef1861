//! What can be wrong with keys.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::keys::{MAX_KEYS, MAX_NAME_BYTES, MAX_TOKEN_BYTES, MIN_TOKEN_BYTES};

/// Why the keys of a service cannot be used. No message has anything of what a line holds.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthKeysError {
    /// The file of keys cannot be read.
    #[error("cannot read the keys in {path:?} (option `authKeysFile`): {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The environment variable is not set, or is not text.
    #[error(
        "the environment variable {variable} (option `authKeysEnv`) is not set, or is not UTF-8"
    )]
    Variable {
        /// Its name.
        variable: String,
    },
    /// A line, or an entry of the variable, is not a key.
    #[error("line {line} of {origin}: {fault}")]
    Line {
        /// The file or the variable.
        origin: String,
        /// The number of the line, or of the entry, from 1 on.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// There is no key at all.
    #[error(
        "there is no key in what `authKeysFile` and `authKeysEnv` name: nobody could send a request"
    )]
    NoKeys,
    /// The thread that watches the file does not start.
    #[error("cannot watch the file of keys: {source}")]
    Watch {
        /// Why not.
        source: Arc<io::Error>,
    },
}

/// What is wrong with a line of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// It is not made of three parts.
    #[error("it is not of the form name:sha256:<64 hexadecimal digits>")]
    Form,
    /// The name does not fit.
    #[error(
        "the name before the first colon is not 1 to {MAX_NAME_BYTES} letters, digits, or -_.@"
    )]
    Name,
    /// The hash does not fit.
    #[error("what follows sha256: is not 64 hexadecimal digits")]
    Hash,
    /// A token stands in a file.
    #[error("a file holds hashes only; write name:sha256:<hash of the token>")]
    TokenInFile,
    /// The token does not fit.
    #[error(
        "what follows token: is not {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} letters, digits, or -._~+/="
    )]
    Token,
    /// Another line has the same key under another name.
    #[error("the same key stands in another line under another name")]
    Repeated,
    /// There are too many.
    #[error("there are more than {MAX_KEYS} keys")]
    TooMany,
}
