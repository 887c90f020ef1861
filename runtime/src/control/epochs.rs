//! What the epoch thread tells of its commits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::partition::buckets::{Buckets, BucketsSeen};
use crate::partition::stages::DURATION_BOUNDS_NS;

/// How far a query's checkpoint is behind, and how its commits went.
///
/// The epoch thread says it is behind before it begins to commit, so a commit that hangs is seen.
#[derive(Debug)]
pub(crate) struct EpochWatch {
    state: Mutex<Epochs>,
    durations: Buckets,
}

/// The commits of a query since it started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epochs {
    /// Since when there is something that no committed epoch says.
    pub(crate) behind_since: Option<Instant>,
    /// How many epochs were cut since then.
    pub(crate) epochs_behind: u64,
    /// How many commits failed.
    pub(crate) failed: u64,
    /// Why the last one failed, until one succeeds.
    pub(crate) failure: Option<String>,
}

impl EpochWatch {
    pub(crate) fn new() -> Self {
        EpochWatch {
            state: Mutex::default(),
            durations: Buckets::new(DURATION_BOUNDS_NS),
        }
    }

    /// An epoch was cut that says something new.
    pub(crate) fn cut(&self, now: Instant) {
        let mut epochs = self.lock();
        epochs.behind_since.get_or_insert(now);
        epochs.epochs_behind += 1;
    }

    /// A commit succeeded after so long: everything up to the last cut is durable.
    pub(crate) fn committed(&self, took: Duration) {
        self.durations.record(took.as_nanos() as u64);
        let mut epochs = self.lock();
        (epochs.behind_since, epochs.epochs_behind, epochs.failure) = (None, 0, None);
    }

    /// A commit failed.
    pub(crate) fn failed(&self, reason: String) {
        let mut epochs = self.lock();
        epochs.failed += 1;
        epochs.failure = Some(reason);
    }

    /// How long the commits took that succeeded.
    pub(crate) fn durations(&self) -> BucketsSeen {
        self.durations.read()
    }

    pub(crate) fn read(&self) -> Epochs {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Epochs> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Epochs {
    /// For how long there has been something that no committed epoch says.
    pub(crate) fn lag(&self, now: Instant) -> Duration {
        self.behind_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
