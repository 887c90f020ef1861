//! What can be wrong with a checkpoint, each with the way out.

use std::io;
use std::path::PathBuf;

/// Why a checkpoint cannot be opened, written or read.
///
/// Only [`CheckpointError::Io`] can pass by itself: the same commit may be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The location names a store that is not there.
    #[error(
        "checkpointLocation `{location}`: there is no store for `{scheme}:`, only local disk; give a path or `file:///path`"
    )]
    UnknownScheme {
        /// The location as it was given.
        location: String,
        /// Its scheme, such as `s3`.
        scheme: String,
    },
    /// The location is no path of this machine.
    #[error("checkpointLocation `{location}` {reason}; give a path or `file:///path`")]
    BadLocation {
        /// The location as it was given.
        location: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The location, or a part of it, is a file.
    #[error(
        "checkpoint `{path}` cannot be a directory: `{file}` is a file; remove it or give another checkpointLocation"
    )]
    NotADirectory {
        /// The checkpoint's directory.
        path: PathBuf,
        /// The file that is in the way.
        file: PathBuf,
    },
    /// Another query holds the lock: of this process or of another one.
    #[error(
        "checkpoint `{path}` is in use by {holder}; stop that one first, or give this query a checkpointLocation of its own"
    )]
    InUse {
        /// The checkpoint's directory.
        path: PathBuf,
        /// Who holds it, as the lock file says: the process and its service.
        holder: String,
    },
    /// The checkpoint was written by a service of another name.
    #[error(
        "checkpoint `{path}` belongs to the service `{found}`, this one is `{wanted}`; give this query a checkpointLocation of its own, or the name `{found}`"
    )]
    OtherService {
        /// The checkpoint's directory.
        path: PathBuf,
        /// The service that wrote it.
        found: String,
        /// The service that wants to open it.
        wanted: String,
    },
    /// A newer Snapback wrote the file.
    #[error(
        "`{path}` was written by a newer version of Snapback (its format is `{found}`, this one reads `v1`); run that version, or give another checkpointLocation"
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: String,
    },
    /// The file that says whose checkpoint it is cannot be trusted.
    #[error(
        "checkpoint metadata `{path}` {reason}; restore it from a copy, or, to give the offsets up, give a new checkpointLocation"
    )]
    DamagedMetadata {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Epochs were written, and none of them is whole.
    #[error(
        "checkpoint `{path}` has no committed epoch that is whole ({reason}); restore the directory from a copy, or, to give the offsets up, give a new checkpointLocation"
    )]
    NoWholeEpoch {
        /// The checkpoint's directory.
        path: PathBuf,
        /// What is wrong with the newest one.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {action} `{path}`: {source}; {}", way_out(.source))]
    Io {
        /// What was tried: `write`, `sync`, `rename`, …
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space there",
        io::ErrorKind::PermissionDenied => {
            "let the user of this process write there, or give another checkpointLocation"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable, or give another checkpointLocation"
        }
        io::ErrorKind::NotFound => "check the checkpointLocation",
        _ => "check the disk, or give another checkpointLocation",
    }
}
