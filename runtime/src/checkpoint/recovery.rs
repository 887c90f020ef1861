//! What a checkpoint says: which epoch is the newest that is committed and whole.
//!
//! Reads only; what follows from it is done by [`super::log`].

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;

use super::CheckpointError;
use super::layout::{self, Flaw, Identity, Offsets};
use super::store::Store;

pub(crate) const METADATA: &str = "metadata";
pub(crate) const OFFSETS: &str = "offsets";
pub(crate) const COMMITS: &str = "commits";

/// What was found in the directories of epochs.
pub(crate) struct Found {
    /// The newest committed epoch that is whole; `None` only if none was ever committed.
    pub(crate) newest: Option<Offsets>,
    /// The epochs with a commit, up to the newest whole one.
    pub(crate) committed: BTreeSet<u64>,
    /// What is newer and has a commit, but is not whole: newest first.
    pub(crate) damaged: Vec<Damage>,
    /// Epochs with offsets but no commit: the process died between the two.
    pub(crate) uncommitted: BTreeSet<u64>,
}

/// A committed epoch that cannot be used.
pub(crate) struct Damage {
    pub(crate) epoch: u64,
    /// The file that is at fault.
    pub(crate) file: String,
    /// Completes "the file …".
    pub(crate) reason: String,
}

/// Looks for the newest committed epoch that is whole, from the newest down.
///
/// That a commit got lost is seen by the epochs after it, which name the one before them: offsets
/// that once were committed are never taken for a fresh start.
pub(crate) fn recover<S: Store>(store: &S) -> Result<Found, CheckpointError> {
    let mut committed = epochs_in(store, COMMITS)?;
    let mut uncommitted = epochs_in(store, OFFSETS)?;
    uncommitted.retain(|epoch| !committed.contains(epoch));
    let mut damaged = Vec::new();
    let mut newest = None;
    while let Some(&epoch) = committed.last() {
        match read_epoch(store, epoch)? {
            Ok(offsets) => {
                newest = Some(offsets);
                break;
            }
            Err(damage) => {
                damaged.push(damage);
                committed.pop_last();
            }
        }
    }
    let newest_epoch = newest.as_ref().map(|offsets| offsets.epoch);
    let later = newest_epoch.map_or(0, |epoch| epoch.saturating_add(1));
    for &epoch in uncommitted.range(later..) {
        let lost = match read_file(store, &in_dir(OFFSETS, epoch), layout::parse_offsets)? {
            Ok((offsets, _)) => offsets
                .previous
                .filter(|&previous| Some(previous) > newest_epoch),
            // Never committed, so nothing that it said is missed, as long as another epoch vouches
            // that this was not the only one.
            Err(_) if newest.is_some() => None,
            Err(damage) => {
                damaged.push(Damage { epoch, ..damage });
                continue;
            }
        };
        if let Some(lost) = lost
            && !damaged.iter().any(|damage| damage.epoch == lost)
        {
            damaged.push(Damage {
                epoch: lost,
                file: in_dir(COMMITS, lost),
                reason: format!("is missing, although epoch {epoch} followed it"),
            });
        }
    }
    if newest.is_none()
        && let Some(damage) = damaged.first()
    {
        return Err(CheckpointError::NoWholeEpoch {
            path: store.locate(""),
            reason: format!("`{}` {}", damage.file, damage.reason),
        });
    }
    Ok(Found {
        newest,
        committed,
        damaged,
        uncommitted,
    })
}

/// Reads one committed epoch.
pub(crate) fn read_epoch<S: Store>(
    store: &S,
    epoch: u64,
) -> Result<Result<Offsets, Damage>, CheckpointError> {
    let (commit_file, offsets_file) = (in_dir(COMMITS, epoch), in_dir(OFFSETS, epoch));
    let damaged = |file: &str, reason: String| {
        let file = file.to_owned();
        Ok(Err(Damage {
            epoch,
            file,
            reason,
        }))
    };
    let commit = match read_file(store, &commit_file, layout::parse_commit)? {
        Ok(commit) => commit,
        Err(damage) => return Ok(Err(Damage { epoch, ..damage })),
    };
    let (offsets, checksum) = match read_file(store, &offsets_file, layout::parse_offsets)? {
        Ok(read) => read,
        Err(damage) => return Ok(Err(Damage { epoch, ..damage })),
    };
    for (file, says) in [(&commit_file, commit.epoch), (&offsets_file, offsets.epoch)] {
        if says != epoch {
            return damaged(file, format!("is of epoch {says}"));
        }
    }
    if checksum != commit.offsets {
        let reason = "vouches for other offsets than those that are there";
        return damaged(&commit_file, reason.to_owned());
    }
    Ok(Ok(offsets))
}

/// Reads whose checkpoint this is; `None` if nobody's yet.
pub(crate) fn read_identity<S: Store>(store: &S) -> Result<Option<Identity>, CheckpointError> {
    let damaged = |reason: String| CheckpointError::DamagedMetadata {
        path: store.locate(METADATA),
        reason,
    };
    match read_file(store, METADATA, layout::parse_identity)? {
        Ok(identity) => Ok(Some(identity)),
        Err(damage) if damage.reason == MISSING => {
            for dir in [COMMITS, OFFSETS] {
                if !epochs_in(store, dir)?.is_empty() {
                    return Err(damaged("is missing, although there are epochs".to_owned()));
                }
            }
            Ok(None)
        }
        Err(damage) => Err(damaged(damage.reason)),
    }
}

/// The epochs that have a file in the directory, whole or not. The last number is no epoch: none
/// could follow it.
pub(crate) fn epochs_in<S: Store>(store: &S, dir: &str) -> Result<BTreeSet<u64>, CheckpointError> {
    let names = match store.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(store, "list", dir)(error)),
    };
    let epoch = |name: &String| {
        name.parse()
            .ok()
            .filter(|epoch: &u64| epoch.to_string() == *name && *epoch < u64::MAX)
    };
    Ok(names.iter().filter_map(epoch).collect())
}

pub(crate) fn in_dir(dir: &str, epoch: u64) -> String {
    format!("{dir}/{epoch}")
}

/// Turns what the system said about `name` into the error that says so.
pub(crate) fn failed<S: Store>(
    store: &S,
    action: &'static str,
    name: &str,
) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = store.locate(name);
    move |source| CheckpointError::Io {
        action,
        path,
        source,
    }
}

const MISSING: &str = "is missing";

fn read_file<S: Store, T>(
    store: &S,
    name: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, Flaw>,
) -> Result<Result<T, Damage>, CheckpointError> {
    let reason = match store.read(name) {
        Ok(bytes) => match parse(&bytes) {
            Ok(read) => return Ok(Ok(read)),
            Err(Flaw::Newer(found)) => {
                let path = store.locate(name);
                return Err(CheckpointError::NewerVersion { path, found });
            }
            Err(Flaw::Damaged(reason)) => reason,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => MISSING.to_owned(),
        Err(error) if is_damage(&error) => format!("cannot be read: {error}"),
        Err(error) => return Err(failed(store, "read", name)(error)),
    };
    Ok(Err(Damage {
        epoch: 0,
        file: name.to_owned(),
        reason,
    }))
}

/// Whether the medium lost the file. All else (no permission, no descriptors left) may pass, and
/// an older epoch is no answer to it.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN | Errno::ISDIR)
    )
}
