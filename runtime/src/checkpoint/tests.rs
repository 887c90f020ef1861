mod corruption;
mod crash;
mod crash_store;
mod layout;
mod local;
mod location;
mod random;

use std::collections::BTreeMap;

use super::log::Log;
use super::recovery::{COMMITS, OFFSETS};
use super::store::Store;
use super::{CheckpointError, Marks, Recovered};
use crash_store::{CrashStore, Disk};

const RUN: &str = "0190d6a4-8f0e-7c3a-b2d1-5e6f708192a3";

type Partitions = BTreeMap<u32, Marks>;

/// What a checkpoint can be recovered to: the last epoch and its marks.
type State = (Option<u64>, Partitions);

fn marks(entries: &[(u32, u64, u64)]) -> Partitions {
    let marks = |&(partition, next, settled)| (partition, Marks { next, settled });
    entries.iter().map(marks).collect()
}

/// Two partitions, both further with every epoch.
fn marks_of(epoch: u64) -> Partitions {
    marks(&[
        (0, epoch * 100 + 7, epoch * 100),
        (1, epoch * 10, epoch * 10),
    ])
}

fn state(recovered: &Recovered) -> State {
    (recovered.last_epoch, recovered.partitions.clone())
}

fn open(disk: &Disk) -> Result<(CrashStore, Log<CrashStore>, Recovered), CheckpointError> {
    let store = CrashStore::new(disk.clone());
    let (log, recovered) = Log::open(store.clone(), "my_api", 3)?;
    Ok((store, log, recovered))
}

/// A disk with the epochs 1 to `last` committed.
fn disk_with_epochs(last: u64) -> Disk {
    let (store, mut log, _) = open(&Disk::default()).unwrap();
    for epoch in 1..=last {
        assert!(log.commit(RUN, epoch, &marks_of(epoch)).unwrap());
    }
    store.disk()
}

/// The names in the directories of epochs, sorted.
fn epoch_files(store: &CrashStore) -> Vec<String> {
    let mut names = Vec::new();
    for dir in [OFFSETS, COMMITS] {
        let listed = store.list(dir).unwrap();
        names.extend(listed.iter().map(|name| format!("{dir}/{name}")));
    }
    names.sort();
    names
}
