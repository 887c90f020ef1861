//! The checkpoint: the durable record of committed epochs.
//!
//! A query with a `checkpointLocation` records there, once per epoch, how far each of its
//! partitions came. After a restart, be it a clean one or after a crash, it goes on from the newest
//! committed epoch. The epoch thread writes; the partitions never wait for a disk.
//!
//! [`read_committed`] shows what a checkpoint holds, also while a query uses it; [`inspect`] says also
//! what of it is damaged:
//!
//! ```no_run
//! for epoch in snapback::checkpoint::read_committed("file:///var/lib/my_api")? {
//!     println!("epoch {}: {:?}", epoch.epoch, epoch.partitions);
//! }
//! # Ok::<(), snapback::checkpoint::CheckpointError>(())
//! ```

mod awaited;
mod error;
mod inspect;
mod layout;
mod ledger;
mod location;
mod lock;
pub(crate) mod log;
mod recovery;
pub(crate) mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

pub(crate) use awaited::{Awaited, Opened};
pub use error::CheckpointError;
pub use inspect::{DamagedEpoch, Inspection, inspect};
pub use ledger::{Ledger, LedgerStart};
pub(crate) use location::Location;

use lock::Lock;
use log::Log;
use store::{LocalStore, Store};

/// An open checkpoint, which no other query can open until it is dropped.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    log: Log<LocalStore>,
    _lock: Lock,
}

/// How far a partition came. Both count its requests and never go back.
///
/// Invariant: `settled ≤ next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The offset that its next request gets.
    pub next: u64,
    /// The low-water mark: every request below it is answered.
    pub settled: u64,
}

/// What a checkpoint says when it is opened. The next epoch is the one after `last_epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The same over all runs of the query.
    pub(crate) query_id: Uuid,
    /// The newest committed epoch; `None` if there is none yet.
    pub(crate) last_epoch: Option<u64>,
    /// Every partition that the checkpoint ever knew, also those that are gone.
    pub(crate) partitions: BTreeMap<u32, Marks>,
}

/// A committed epoch, as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEpoch {
    /// Its number.
    pub epoch: u64,
    /// The run of the query that committed it.
    pub run_id: String,
    /// How far each partition had come; those that a later run does not have any more stay.
    pub partitions: BTreeMap<u32, Marks>,
}

impl Checkpoint {
    /// Opens the checkpoint of `service` and locks it, or begins it, with any parents that its
    /// directory lacks. Keeps the newest `retain` epochs.
    ///
    /// # Errors
    ///
    /// A location that cannot be used, another holder or owner, a newer version, or damage that no
    /// older epoch heals. A damaged epoch with a whole one before it is only a warning.
    pub(crate) fn open(
        location: &Location,
        service: &str,
        retain: usize,
    ) -> Result<(Checkpoint, Recovered), CheckpointError> {
        let root = location.path();
        let store = LocalStore::create(root).map_err(|(path, source)| {
            if is_file_in_the_way(&source) {
                let file = root.ancestors().find(|path| path.is_file());
                return CheckpointError::NotADirectory {
                    path: root.to_owned(),
                    file: file.unwrap_or(root).to_owned(),
                };
            }
            CheckpointError::Io {
                action: "create",
                path,
                source,
            }
        })?;
        let lock = Lock::take(root, service)?;
        let (log, recovered) = Log::open(store, service, retain)?;
        Ok((Checkpoint { log, _lock: lock }, recovered))
    }

    /// Commits an epoch, durably; `false` if nothing changed since the last one, which is then not
    /// written, unless a sink has rows of it. Partitions that `marks` does not name keep what was last committed of them.
    ///
    /// # Errors
    ///
    /// What the file system refuses, such as a full disk. The epoch is then not committed, and the
    /// same or a later one may be tried at any time, with newer marks.
    ///
    /// # Panics
    ///
    /// If the epoch is not newer than the last committed one, or a mark went back.
    pub(crate) fn commit(
        &mut self,
        run_id: &str,
        epoch: u64,
        marks: &BTreeMap<u32, Marks>,
        has_rows: bool,
    ) -> Result<bool, CheckpointError> {
        match has_rows {
            true => self.log.commit_always(run_id, epoch, marks).map(|()| true),
            false => self.log.commit(run_id, epoch, marks),
        }
    }
}

/// The committed epochs of the checkpoint at `location` that are whole, oldest first.
///
/// Only reads, and takes no lock: a query may be using the checkpoint. An epoch that is damaged,
/// or is removed while this reads, is left out.
///
/// # Errors
///
/// A location that is no directory or cannot be read, or a file of a newer version.
pub fn read_committed(location: &str) -> Result<Vec<CommittedEpoch>, CheckpointError> {
    committed_in(&LocalStore::at(Location::parse(location)?.path()))
}

fn committed_in(store: &LocalStore) -> Result<Vec<CommittedEpoch>, CheckpointError> {
    let listed = store.list("");
    listed.map_err(recovery::failed(store, "list", ""))?;
    let mut epochs = Vec::new();
    for epoch in recovery::epochs_in(store, recovery::COMMITS)? {
        if let Ok(offsets) = recovery::read_epoch(store, epoch)? {
            epochs.push(CommittedEpoch {
                epoch,
                run_id: offsets.run_id,
                partitions: offsets.partitions,
            });
        }
    }
    Ok(epochs)
}

fn is_file_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}
