//! One query per checkpoint: an exclusive `flock` on the file `lock`.
//!
//! The lock belongs to the open file, so a second query of the same process is refused like one of
//! another process, and the kernel lets go of it when the process dies in whatever way. The file is
//! never removed: two processes could then hold two files of the same name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::CheckpointError;

/// Holds the checkpoint for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the checkpoint at `root`, or says who has it.
    pub(crate) fn take(root: &Path, service: &str) -> Result<Lock, CheckpointError> {
        let path = root.join("lock");
        let failed = |action, source| CheckpointError::Io {
            action,
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CheckpointError::InUse {
                    path: root.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        let entry = format!("{} {service}", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(entry.as_bytes()))
            .map_err(|error| failed("write", error))?;
        Ok(Lock { _file: file })
    }
}

/// The process that holds the lock of the checkpoint at `root`, as the lock file says.
pub(super) fn holder_pid(root: &Path) -> Option<u32> {
    let entry = std::fs::read_to_string(root.join("lock")).ok()?;
    entry.split_once(' ')?.0.parse().ok()
}

/// Who wrote the lock file. It is written just after the lock was taken, so it may still be empty.
fn holder(file: &mut File) -> String {
    let mut entry = String::new();
    let read = file.take(4096).read_to_string(&mut entry);
    match entry.split_once(' ') {
        Some((pid, service)) if read.is_ok() && pid.parse::<u32>().is_ok() => {
            format!("process {pid} (service `{service}`)")
        }
        _ => "another process, which does not say its id".to_owned(),
    }
}
