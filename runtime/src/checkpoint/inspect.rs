//! What lies in a checkpoint, whole or not, for people.

use super::store::LocalStore;
use super::{CheckpointError, CommittedEpoch, Location, committed_in, recovery};

/// What lies in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The service whose offsets these are; none where nothing was ever written.
    pub service: Option<String>,
    /// The query's id, the same over all of its runs.
    pub query_id: Option<String>,
    /// The committed epochs that are whole, oldest first.
    pub epochs: Vec<CommittedEpoch>,
    /// The committed epochs that are not, oldest first.
    pub damaged: Vec<DamagedEpoch>,
    /// Epochs that were begun and not committed: the process ended between the two, or is between
    /// them now.
    pub uncommitted: Vec<u64>,
    /// Why no query can start from it; none when one can.
    pub unusable: Option<String>,
}

/// A committed epoch that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedEpoch {
    /// Its number.
    pub epoch: u64,
    /// The file that is at fault, below the location.
    pub file: String,
    /// What is wrong; completes "the file …".
    pub reason: String,
}

/// Reads all of the checkpoint at `location`, and says what is whole.
///
/// Only reads, and takes no lock: a query may be using the checkpoint. While one does, an epoch that
/// it removes meanwhile may be told as damaged; look again.
///
/// # Errors
///
/// A location that is no directory or cannot be read, or a file of a newer version.
///
/// ```no_run
/// let found = snapback::checkpoint::inspect("file:///var/lib/my_api")?;
/// assert!(found.damaged.is_empty() && found.unusable.is_none());
/// # Ok::<(), snapback::checkpoint::CheckpointError>(())
/// ```
pub fn inspect(location: &str) -> Result<Inspection, CheckpointError> {
    let store = LocalStore::at(Location::parse(location)?.path());
    let epochs = committed_in(&store)?;
    let (identity, mut unusable) = match recovery::read_identity(&store) {
        Ok(identity) => (identity, None),
        Err(error @ CheckpointError::DamagedMetadata { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let mut damaged = Vec::new();
    for epoch in recovery::epochs_in(&store, recovery::COMMITS)? {
        if let Err(damage) = recovery::read_epoch(&store, epoch)? {
            damaged.push(DamagedEpoch::from(damage));
        }
    }
    let uncommitted = match recovery::recover(&store) {
        Ok(found) => {
            for damage in found.damaged.into_iter().map(DamagedEpoch::from) {
                if !damaged.iter().any(|known| known.epoch == damage.epoch) {
                    damaged.push(damage);
                }
            }
            found.uncommitted.into_iter().collect()
        }
        Err(error @ CheckpointError::NoWholeEpoch { .. }) => {
            unusable = unusable.or(Some(error.to_string()));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    damaged.sort_by_key(|damage| damage.epoch);
    Ok(Inspection {
        service: identity.as_ref().map(|identity| identity.service.clone()),
        query_id: identity.map(|identity| identity.query_id.to_string()),
        epochs,
        damaged,
        uncommitted,
        unusable,
    })
}

impl From<recovery::Damage> for DamagedEpoch {
    fn from(damage: recovery::Damage) -> Self {
        DamagedEpoch {
            epoch: damage.epoch,
            file: damage.file,
            reason: damage.reason,
        }
    }
}
