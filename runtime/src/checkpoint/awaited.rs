//! The checkpoint of a process that is being taken over from: it stays the only writer until its
//! last commit, and its successor waits for the lock.

use uuid::Uuid;

use super::{Checkpoint, CheckpointError, Location, Recovered, committed_in, lock, recovery};
use crate::checkpoint::store::LocalStore;

/// A checkpoint that was opened, or that another process still writes.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It is ours.
    Held(Checkpoint),
    /// It will be.
    Awaited(Awaited),
}

/// A checkpoint whose lock is awaited.
#[derive(Debug)]
pub(crate) struct Awaited {
    location: Location,
    service: String,
    retain: usize,
    /// Who has the lock: the process and its service.
    holder: String,
}

impl Opened {
    /// Opens the checkpoint as [`Checkpoint::open`] does. When `predecessor`, a process, holds the
    /// lock, it is awaited, and what is recovered is what was committed so far: where this run
    /// begins to count, no more.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::open`], also when any other process holds the lock.
    pub(crate) fn after(
        predecessor: Option<u32>,
        location: Location,
        service: &str,
        retain: usize,
    ) -> Result<(Opened, Recovered), CheckpointError> {
        let holder = match Checkpoint::open(&location, service, retain) {
            Ok((checkpoint, recovered)) => return Ok((Opened::Held(checkpoint), recovered)),
            Err(CheckpointError::InUse { holder, .. })
                if predecessor.is_some() && predecessor == lock::holder_pid(location.path()) =>
            {
                holder
            }
            Err(error) => return Err(error),
        };
        let recovered = committed_so_far(&location, service)?;
        let awaited = Awaited {
            location,
            service: service.to_owned(),
            retain,
            holder,
        };
        Ok((Opened::Awaited(awaited), recovered))
    }
}

impl Awaited {
    /// Opens the checkpoint, if its lock is free by now.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::open`], but for the lock that is still held.
    pub(crate) fn try_open(&self) -> Result<Option<(Checkpoint, Recovered)>, CheckpointError> {
        match Checkpoint::open(&self.location, &self.service, self.retain) {
            Ok(opened) => Ok(Some(opened)),
            Err(CheckpointError::InUse { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who has the lock: the process and its service.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }
}

/// What can be read while another process writes. Epochs come and go meanwhile, so the newest one
/// may be missed: an older one serves as well.
fn committed_so_far(location: &Location, service: &str) -> Result<Recovered, CheckpointError> {
    let store = LocalStore::at(location.path());
    let identity = recovery::read_identity(&store)?;
    if let Some(found) = identity.as_ref().filter(|found| found.service != service) {
        return Err(CheckpointError::OtherService {
            path: location.path().to_owned(),
            found: found.service.clone(),
            wanted: service.to_owned(),
        });
    }
    let newest = committed_in(&store)?.pop();
    Ok(Recovered {
        query_id: identity.map_or_else(Uuid::new_v4, |identity| identity.query_id),
        last_epoch: newest.as_ref().map(|newest| newest.epoch),
        partitions: newest.map(|newest| newest.partitions).unwrap_or_default(),
    })
}
