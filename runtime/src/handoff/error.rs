//! What can go wrong when a service is taken over.

use std::io;
use std::path::PathBuf;

use crate::io::listen::AdoptError;

/// Why a service could not be taken over from the process that serves it. That one serves on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The socket of the option `handoffSocket` cannot be used.
    #[error(
        "cannot take over at handoffSocket `{path}`: {source}; the process there serves on. Try \
         again, or stop that process and start this one then"
    )]
    System {
        /// The path.
        path: PathBuf,
        /// What was tried, and what the system said.
        source: io::Error,
    },
    /// Another user listens there.
    #[error(
        "handoffSocket `{path}` belongs to user {found}, and this process runs as user {wanted}; \
         run both as the same user, or give another path"
    )]
    OtherUser {
        /// The path.
        path: PathBuf,
        /// The user there.
        found: u32,
        /// The user here.
        wanted: u32,
    },
    /// The other process speaks another version of the hand-off.
    #[error(
        "the process at handoffSocket `{path}` speaks version {found} of the hand-off, this one \
         version {wanted}; stop that process and start this one then"
    )]
    Version {
        /// The path.
        path: PathBuf,
        /// The version there.
        found: String,
        /// The version here.
        wanted: u32,
    },
    /// What came is no message of a hand-off.
    #[error(
        "the process at handoffSocket `{path}` sent {what}; give a path that is only for hand-offs"
    )]
    Message {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The old process does not hand over now, or not to this one.
    #[error("the process at handoffSocket `{path}` hands nothing over: {reason}")]
    Refused {
        /// The path.
        path: PathBuf,
        /// Its reason, with the way out.
        reason: String,
    },
    /// A descriptor that came is no listening socket.
    #[error("a listener that came over handoffSocket `{path}` cannot be used: {source}")]
    Listener {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: AdoptError,
    },
    /// Somebody removed or replaced the file of a socket while it was handed over.
    #[error(
        "files of the sockets that came over handoffSocket `{path}` are gone, so no client could \
         find them; start this one again"
    )]
    Abandoned {
        /// The path.
        path: PathBuf,
    },
}
