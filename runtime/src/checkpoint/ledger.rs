//! The checkpoint of a stream that another crate runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Checkpoint, CheckpointError, Location, Marks};

/// The checkpoint of a stream that does not serve: how far it came, epoch by epoch. It lies on disk as
/// that of a service does, with a lock and with the same steps.
///
/// ```no_run
/// use snapback::checkpoint::Ledger;
///
/// let (mut ledger, start) = Ledger::open("/var/lib/counts", "counts")?;
/// let (epoch, offset) = start.committed.map_or((0, 0), |(epoch, offset)| (epoch + 1, offset));
/// // … works on what is there from `offset` on, and then:
/// ledger.commit(epoch, offset + 100)?;
/// # Ok::<(), snapback::CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct Ledger {
    checkpoint: Checkpoint,
    path: PathBuf,
    run_id: String,
}

/// Where a stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerStart {
    /// The same over all runs of the stream.
    pub query_id: String,
    /// The newest committed epoch, and the offset that it says; none if there is none yet.
    pub committed: Option<(u64, u64)>,
}

impl Ledger {
    /// So many of the newest epochs stay. When the newest is damaged an opening goes back to one of them,
    /// so whoever keeps files of its own for each epoch keeps those of so many.
    pub const RETAINED_EPOCHS: u64 = 100;

    /// Opens the checkpoint of the stream of this name, or begins it, and locks it.
    ///
    /// # Errors
    ///
    /// A location that cannot be used, another holder or owner, a newer version, or damage that no older
    /// epoch heals.
    pub fn open(location: &str, name: &str) -> Result<(Ledger, LedgerStart), CheckpointError> {
        let location = Location::parse(location)?;
        let path = location.path().to_owned();
        let (checkpoint, recovered) =
            Checkpoint::open(&location, name, Self::RETAINED_EPOCHS as usize)?;
        let offset = recovered.partitions.get(&0).map_or(0, |marks| marks.next);
        let start = LedgerStart {
            query_id: recovered.query_id.to_string(),
            committed: recovered.last_epoch.map(|epoch| (epoch, offset)),
        };
        let ledger = Ledger {
            checkpoint,
            path,
            run_id: uuid::Uuid::now_v7().simple().to_string(),
        };
        Ok((ledger, start))
    }

    /// Its directory, where the stream may keep files of its own.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of this run, which no other has.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Commits an epoch, durably, with the offset at which the next one begins.
    ///
    /// # Errors
    ///
    /// What the file system refuses. The epoch is then not committed, and may be tried again.
    ///
    /// # Panics
    ///
    /// If the epoch is not newer than the last one, or the offset went back.
    pub fn commit(&mut self, epoch: u64, offset: u64) -> Result<(), CheckpointError> {
        let marks = Marks {
            next: offset,
            settled: offset,
        };
        let marks = BTreeMap::from([(0, marks)]);
        self.checkpoint.commit(&self.run_id, epoch, &marks, true)?;
        Ok(())
    }
}
