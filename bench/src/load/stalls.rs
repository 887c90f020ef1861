//! When the machine held the load generator up: a record of its own core.

use serde::Serialize;

/// Without an event a turn of a load generator that spins takes about 1 µs: who has its core for
/// itself never waits so long, and who waits longer was not running.
const LIMIT_NS: u64 = 100_000;

/// What each socket that a wait finds ready may add to its time.
const READY_NS: u64 = 1_000;

/// How many are kept with their time; later ones only count.
const MAX_KEPT: usize = 10_000;

/// How long, and when, the load generator could not run though it wanted to: the hypervisor or the
/// scheduler gave its core to others. A latency from such a time says nothing about the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stalls {
    /// How many there were in the window.
    pub count: u64,
    /// All of them together.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Each, in their order; of more than 10,000 the first ones.
    pub kept: Vec<Stall>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// When it began, since the window began.
    pub at_ns: u64,
    /// How long it was.
    pub length_ns: u64,
}

impl Stalls {
    /// Nothing yet, with the memory for all that is kept.
    pub(super) fn new() -> Stalls {
        Stalls {
            kept: Vec::with_capacity(MAX_KEPT),
            ..Stalls::default()
        }
    }

    /// Between two looks at the clock with nothing but a wait between them, which does not sleep
    /// and found so many sockets ready, so much time passed.
    #[inline]
    pub(super) fn waited(&mut self, at_ns: u64, length_ns: u64, ready: usize) {
        if length_ns > LIMIT_NS + READY_NS * ready as u64 {
            self.record(at_ns, length_ns);
        }
    }

    #[cold]
    fn record(&mut self, at_ns: u64, length_ns: u64) {
        self.count += 1;
        self.total_ns += length_ns;
        self.max_ns = self.max_ns.max(length_ns);
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Stall { at_ns, length_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_stall_when_it_is_longer_than_its_events_explain() {
        let mut stalls = Stalls::new();
        stalls.waited(1, LIMIT_NS, 0);
        stalls.waited(2, LIMIT_NS + 1, 0);
        stalls.waited(3, LIMIT_NS + 1, 64);
        stalls.waited(4, 3_000_000, 64);
        let kept = [(2, LIMIT_NS + 1), (4, 3_000_000)]
            .map(|(at_ns, length_ns)| Stall { at_ns, length_ns });
        assert_eq!(stalls.kept, kept);
        assert_eq!((stalls.count, stalls.total_ns), (2, LIMIT_NS + 3_000_001));
        assert_eq!(stalls.max_ns, 3_000_000);
    }

    #[test]
    fn the_list_has_an_end_and_the_count_has_not() {
        let mut stalls = Stalls::new();
        for at_ns in 0..MAX_KEPT as u64 + 5 {
            stalls.waited(at_ns, 200_000, 0);
        }
        assert_eq!(stalls.kept.len(), MAX_KEPT);
        assert_eq!(stalls.kept.capacity(), MAX_KEPT);
        assert_eq!(stalls.count, MAX_KEPT as u64 + 5);
    }
}
