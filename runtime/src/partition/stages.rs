//! How long deferred operators take, and how large their batches are.

use std::time::Duration;

use super::buckets::{Buckets, BucketsSeen};

/// The deferring operators of a pipeline that are told apart; those beyond count as the last.
const MAX_STAGES: usize = 8;

/// From 10 µs to 30 s.
pub(crate) const DURATION_BOUNDS_NS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];
const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];

/// What the deferred operators of a partition did. One writer, the partition.
#[derive(Debug)]
pub(crate) struct Stages {
    durations: [Buckets; MAX_STAGES],
    batches: Buckets,
}

impl Stages {
    pub(crate) fn new() -> Self {
        Stages {
            durations: std::array::from_fn(|_| Buckets::new(DURATION_BOUNDS_NS)),
            batches: Buckets::new(BATCH_BOUNDS),
        }
    }

    /// A row went on from the deferring operator of this number, after so long.
    pub(crate) fn passed(&self, stage: u8, duration_ns: u64) {
        let stage = usize::from(stage).min(MAX_STAGES - 1);
        let longest_ns = Duration::from_secs(86_400).as_nanos() as u64;
        self.durations[stage].record(duration_ns.min(longest_ns));
    }

    /// A batch of so many rows was run.
    pub(crate) fn ran_batch(&self, rows: usize) {
        self.batches.record(rows as u64);
    }

    /// The durations of the stages that rows have passed, with their numbers.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (usize, BucketsSeen)> {
        let seen = self.durations.iter().map(Buckets::read).enumerate();
        seen.filter(|(_, seen)| seen.count > 0)
    }

    pub(crate) fn batches(&self) -> BucketsSeen {
        self.batches.read()
    }
}
