//! What a partition lets others see, each in its own cache line.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::latency::Latencies;
use super::shed::Shed;
use super::stages::Stages;
use super::traffic::Traffic;

/// Written by the partition alone, at the end of its turns; read by anyone at any time.
///
/// Invariant: `settled ≤ next`.
pub(crate) struct Published {
    /// The offset of the first request of this run.
    first: u64,
    next: AtomicU64,
    settled: AtomicU64,
    /// When the present turn began; 0 between turns.
    turn_began_ns: AtomicU64,
    longest_turn_ns: AtomicU64,
    longest_end_of_turn_ns: AtomicU64,
    pub(crate) latencies: Latencies,
    /// Written only by what is turned away or takes too long, so in a cache line of its own.
    pub(crate) shed: CachePadded<Shed>,
    pub(crate) traffic: CachePadded<Traffic>,
    pub(crate) stages: Stages,
}

/// The marks of a partition at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) next: u64,
    pub(crate) settled: u64,
}

impl Published {
    pub(crate) fn new(next: u64) -> Self {
        Published {
            first: next,
            next: AtomicU64::new(next),
            settled: AtomicU64::new(next),
            turn_began_ns: AtomicU64::new(0),
            longest_turn_ns: AtomicU64::new(0),
            longest_end_of_turn_ns: AtomicU64::new(0),
            latencies: Latencies::new(),
            shed: CachePadded::new(Shed::default()),
            traffic: CachePadded::new(Traffic::default()),
            stages: Stages::new(),
        }
    }

    /// Two plain stores: this is all that an epoch costs a partition without state.
    #[inline]
    pub(crate) fn publish(&self, next: u64, settled: u64) {
        debug_assert!(settled <= next, "settled {settled} of {next}");
        self.next.store(next, Ordering::Release);
        self.settled.store(settled, Ordering::Release);
    }

    /// The marks as of the end of some turn. `settled` is read first: what is read after it is at
    /// least as new, so the invariant holds for the pair.
    pub(crate) fn offsets(&self) -> Offsets {
        let settled = self.settled.load(Ordering::Acquire);
        Offsets {
            next: self.next.load(Ordering::Acquire),
            settled,
        }
    }

    /// How many requests got an offset since the start of the run.
    pub(crate) fn requests(&self) -> u64 {
        self.offsets().next.saturating_sub(self.first)
    }

    #[inline]
    pub(crate) fn begin_turn(&self, now_ns: u64) {
        self.turn_began_ns.store(now_ns, Ordering::Relaxed);
    }

    /// For how long the present turn has run, if there is one.
    pub(crate) fn turn_ns(&self, now_ns: u64) -> Option<u64> {
        let began_ns = self.turn_began_ns.load(Ordering::Relaxed);
        (began_ns > 0).then(|| now_ns.saturating_sub(began_ns))
    }

    #[inline]
    pub(crate) fn end_turn(&self, turn_ns: u64) {
        self.turn_began_ns.store(0, Ordering::Relaxed);
        note_longest(&self.longest_turn_ns, turn_ns);
    }

    #[inline]
    pub(crate) fn note_end_of_turn(&self, end_ns: u64) {
        note_longest(&self.longest_end_of_turn_ns, end_ns);
    }

    /// The longest turn since the last epoch was cut.
    pub(crate) fn longest_turn_ns(&self) -> u64 {
        self.longest_turn_ns.load(Ordering::Relaxed)
    }

    /// The longest turn and end of turn since the last call.
    pub(crate) fn take_longest(&self) -> (u64, u64) {
        (
            self.longest_turn_ns.swap(0, Ordering::Relaxed),
            self.longest_end_of_turn_ns.swap(0, Ordering::Relaxed),
        )
    }
}

#[inline]
fn note_longest(longest: &AtomicU64, value: u64) {
    if value > longest.load(Ordering::Relaxed) {
        longest.store(value, Ordering::Relaxed);
    }
}
