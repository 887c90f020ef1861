//! The log of committed epochs: how one is written so that a crash at any step leaves the epoch
//! before it or the new one.
//!
//! Each file is written under a temporary name, synced, renamed, and its directory is synced;
//! `offsets/N` is done before `commits/N` begins. The rename of `commits/N` is the moment at which
//! the epoch is committed, and the sync of its directory the one from which it stays so.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::layout::{self, Commit, Identity, Offsets};
use super::recovery::{self, COMMITS, Found, METADATA, OFFSETS, failed, in_dir};
use super::store::Store;
use super::{CheckpointError, Marks, Recovered};

/// How many old epochs one commit removes at most. More than one, so that a lowered
/// `minEpochsToRetain` is reached in the end; few, so that no commit takes long.
const REMOVALS_PER_COMMIT: usize = 8;

/// Invariant: the newest retained epoch is the last committed one; an attempt is newer than both.
#[derive(Debug)]
pub(crate) struct Log<S> {
    store: S,
    retain: usize,
    last: Option<Last>,
    /// The epochs that have a commit, oldest first.
    retained: BTreeSet<u64>,
    /// An epoch whose commit failed: some of its files may be there, and may even be durable.
    attempt: Option<u64>,
}

#[derive(Debug)]
struct Last {
    epoch: u64,
    partitions: BTreeMap<u32, Marks>,
}

impl<S: Store> Log<S> {
    /// Commits the epoch; `false` if nothing changed since the last one, and nothing was written.
    ///
    /// A partition that `marks` does not name keeps what was last committed of it. After an error
    /// the epoch is not committed, and the same or a later one may be tried with newer marks.
    ///
    /// # Panics
    ///
    /// If the epoch is not newer than the last one, or a mark went back.
    pub(crate) fn commit(
        &mut self,
        run_id: &str,
        epoch: u64,
        marks: &BTreeMap<u32, Marks>,
    ) -> Result<bool, CheckpointError> {
        let last = self.last.as_ref();
        let same = |last: &Last| last.partitions == self.advanced(epoch, marks);
        if self.attempt.is_none() && last.is_some_and(same) {
            return Ok(false);
        }
        self.commit_always(run_id, epoch, marks).map(|()| true)
    }

    /// The same, though nothing may have changed but what others keep of the epoch.
    pub(crate) fn commit_always(
        &mut self,
        run_id: &str,
        epoch: u64,
        marks: &BTreeMap<u32, Marks>,
    ) -> Result<(), CheckpointError> {
        let partitions = self.advanced(epoch, marks);
        self.take_back_attempt()?;

        let (offsets, checksum) = layout::encode_offsets(&Offsets {
            epoch,
            run_id: run_id.to_owned(),
            previous: self.last.as_ref().map(|last| last.epoch),
            partitions: partitions.clone(),
        });
        let commit = layout::encode_commit(&Commit {
            epoch,
            offsets: checksum,
        });
        self.attempt = Some(epoch);
        write_durably(&mut self.store, OFFSETS, &epoch.to_string(), &offsets)?;
        write_durably(&mut self.store, COMMITS, &epoch.to_string(), &commit)?;
        self.attempt = None;

        self.last = Some(Last { epoch, partitions });
        self.retained.insert(epoch);
        self.remove_old_epochs();
        self.invariants();
        Ok(())
    }

    /// Opens the log of `service`, or begins it.
    ///
    /// What belongs to another service, is of a newer version, or has no whole epoch left is
    /// refused before anything is changed.
    pub(crate) fn open(
        mut store: S,
        service: &str,
        retain: usize,
    ) -> Result<(Log<S>, Recovered), CheckpointError> {
        let known = recovery::read_identity(&store)?;
        if let Some(found) = known.as_ref().filter(|known| known.service != service) {
            return Err(CheckpointError::OtherService {
                path: store.locate(""),
                found: found.service.clone(),
                wanted: service.to_owned(),
            });
        }
        let found = recovery::recover(&store)?;

        for dir in [OFFSETS, COMMITS] {
            let created = store.create_dir(dir);
            created.map_err(failed(&store, "create", dir))?;
        }
        let identity = match known {
            Some(identity) => identity,
            None => begin(&mut store, service)?,
        };
        // A process that was killed may have renamed and removed without syncing. What is resumed
        // from must not vanish in a later power loss, nor a commit come back whose offsets are
        // about to be removed.
        sync_dirs(&mut store)?;
        clear_away(&mut store, &found)?;
        sync_dirs(&mut store)?;

        let last = found.newest.map(|offsets| Last {
            epoch: offsets.epoch,
            partitions: offsets.partitions,
        });
        let recovered = Recovered {
            query_id: identity.query_id,
            last_epoch: last.as_ref().map(|last| last.epoch),
            partitions: last
                .as_ref()
                .map(|last| last.partitions.clone())
                .unwrap_or_default(),
        };
        let log = Log {
            store,
            retain: retain.max(1),
            last,
            retained: found.committed,
            attempt: None,
        };
        log.invariants();
        Ok((log, recovered))
    }

    /// What the epoch says of every partition: the last marks, overwritten by the new ones.
    fn advanced(&self, epoch: u64, marks: &BTreeMap<u32, Marks>) -> BTreeMap<u32, Marks> {
        let mut partitions = BTreeMap::new();
        if let Some(last) = &self.last {
            let done = last.epoch;
            assert!(epoch > done, "epoch {epoch} after epoch {done}");
            partitions.clone_from(&last.partitions);
        }
        for (&partition, &new) in marks {
            let old = partitions.insert(partition, new).unwrap_or_default();
            assert!(
                old.next <= new.next && old.settled <= new.settled && new.settled <= new.next,
                "partition {partition} went from {old:?} to {new:?}",
            );
        }
        partitions
    }

    /// Removes what a failed commit left, its commit durably before its offsets change: it vouches
    /// for those of that attempt and for no others.
    fn take_back_attempt(&mut self) -> Result<(), CheckpointError> {
        let Some(epoch) = self.attempt else {
            return Ok(());
        };
        remove(&mut self.store, &in_dir(COMMITS, epoch))?;
        let synced = self.store.sync_dir(COMMITS);
        synced.map_err(failed(&self.store, "sync", COMMITS))?;
        remove(&mut self.store, &in_dir(OFFSETS, epoch))?;
        self.attempt = None;
        Ok(())
    }

    /// The epoch is committed already, so what fails here is only said, and tried again.
    fn remove_old_epochs(&mut self) {
        for _ in 0..REMOVALS_PER_COMMIT {
            if self.retained.len() <= self.retain {
                return;
            }
            let Some(&oldest) = self.retained.first() else {
                return;
            };
            let removed = remove(&mut self.store, &in_dir(COMMITS, oldest))
                .and_then(|()| remove(&mut self.store, &in_dir(OFFSETS, oldest)));
            if let Err(error) = removed {
                tracing::warn!("an old epoch stays in the checkpoint: {error}");
                return;
            }
            self.retained.pop_first();
        }
    }

    fn invariants(&self) {
        let last = self.last.as_ref().map(|last| last.epoch);
        debug_assert_eq!(self.retained.last().copied(), last);
        debug_assert!(self.attempt.is_none_or(|attempt| Some(attempt) > last));
    }
}

fn sync_dirs<S: Store>(store: &mut S) -> Result<(), CheckpointError> {
    for dir in ["", OFFSETS, COMMITS] {
        let synced = store.sync_dir(dir);
        synced.map_err(failed(store, "sync", dir))?;
    }
    Ok(())
}

/// Writes who the checkpoint belongs to.
fn begin<S: Store>(store: &mut S, service: &str) -> Result<Identity, CheckpointError> {
    let identity = Identity {
        query_id: Uuid::new_v4(),
        service: service.to_owned(),
    };
    write_durably(store, "", METADATA, &layout::encode_identity(&identity))?;
    Ok(identity)
}

/// Makes the directories say what was recovered, before anything new is written: temporary files
/// and uncommitted offsets go, damaged epochs are set aside as `<epoch>.damaged`, for whoever wants
/// to look at them. Nothing removes those.
fn clear_away<S: Store>(store: &mut S, found: &Found) -> Result<(), CheckpointError> {
    for dir in ["", OFFSETS, COMMITS] {
        let names = store.list(dir).map_err(failed(store, "list", dir))?;
        for name in names.iter().filter(|name| is_temporary(dir, name)) {
            remove(store, &join(dir, name))?;
        }
    }
    for damage in &found.damaged {
        let path = store.locate(&damage.file);
        let (path, reason) = (path.display(), &damage.reason);
        let back_to = found.newest.as_ref().map(|offsets| offsets.epoch);
        tracing::warn!(
            "checkpoint file `{path}` {reason}; falling back to epoch {}",
            back_to.unwrap_or_default(),
        );
        for dir in [COMMITS, OFFSETS] {
            let file = in_dir(dir, damage.epoch);
            match store.rename(&file, &format!("{file}.damaged")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(store, "rename", &file)(error));
                }
                _ => {}
            }
        }
    }
    for &epoch in &found.uncommitted {
        remove(store, &in_dir(OFFSETS, epoch))?;
    }
    Ok(())
}

/// Writes `dir/name` so that after a crash at any step the old or the new file is there.
fn write_durably<S: Store>(
    store: &mut S,
    dir: &str,
    name: &str,
    bytes: &[u8],
) -> Result<(), CheckpointError> {
    let temporary = join(dir, &format!(".{name}.tmp"));
    let target = join(dir, name);
    // Each step names what it failed at; after the last of the three there is no temporary file.
    let renamed = 'steps: {
        let file = match store.write(&temporary, bytes) {
            Ok(file) => file,
            Err(error) => break 'steps Err(failed(store, "write", &target)(error)),
        };
        if let Err(error) = store.sync(file) {
            break 'steps Err(failed(store, "sync", &target)(error));
        }
        let renamed = store.rename(&temporary, &target);
        renamed.map_err(failed(store, "rename", &target))
    };
    if renamed.is_err() {
        // If this fails too, the next opening removes it.
        let _ = store.remove(&temporary);
        return renamed;
    }
    let synced = store.sync_dir(dir);
    synced.map_err(failed(store, "sync", dir))
}

/// Only names that `write_durably` gives: the location may hold files of others.
fn is_temporary(dir: &str, name: &str) -> bool {
    let written = name.strip_prefix('.').and_then(|n| n.strip_suffix(".tmp"));
    written.is_some_and(|name| match dir {
        "" => name == METADATA,
        _ => name.parse::<u64>().is_ok(),
    })
}

/// Removes the file if it is there.
fn remove<S: Store>(store: &mut S, name: &str) -> Result<(), CheckpointError> {
    match store.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed(store, "remove", name)(error))
        }
        _ => Ok(()),
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        return name.to_owned();
    }
    format!("{dir}/{name}")
}
