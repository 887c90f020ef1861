//! What a partition took in, sent out and holds, counted for others to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// The classes of statuses: `1xx`, which no reply has, to `5xx`.
pub(crate) const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters with one writer, the partition, which anyone may read at any time.
///
/// Counting is a plain load, add and store in cache lines that nobody else writes.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// Replies by the class of their status.
    replies: [AtomicU64; STATUS_CLASSES.len()],
    turns: AtomicU64,
    /// The time in turns: what is left is sleep and looking for work.
    turn_ns: AtomicU64,
    /// How many requests are deferred now.
    waiting: AtomicU64,
    connections: AtomicU64,
    /// When the last turn ended in which requests were turned away because others had waited too
    /// long; 0 before the first.
    overloaded_ns: AtomicU64,
}

/// The counters of a partition at about one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrafficSeen {
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) replies: [u64; STATUS_CLASSES.len()],
    pub(crate) turns: u64,
    pub(crate) turn_ns: u64,
    pub(crate) waiting: u64,
    pub(crate) connections: u64,
}

impl Traffic {
    #[inline]
    pub(crate) fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes as u64);
    }

    #[inline]
    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes as u64);
    }

    /// A reply of this status was made.
    #[inline]
    pub(crate) fn replied(&self, status: u16) {
        let class = (usize::from(status) / 100).saturating_sub(1);
        add(&self.replies[class.min(STATUS_CLASSES.len() - 1)], 1);
    }

    /// A turn has ended, with so many requests that are still deferred.
    #[inline]
    pub(crate) fn end_turn(&self, turn_ns: u64, waiting: usize) {
        add(&self.turns, 1);
        add(&self.turn_ns, turn_ns);
        self.waiting.store(waiting as u64, Ordering::Relaxed);
    }

    /// A turn has ended, now, in which requests were turned away because others had waited too long.
    #[cold]
    pub(crate) fn overloaded(&self, now_ns: u64) {
        self.overloaded_ns.store(now_ns, Ordering::Relaxed);
    }

    /// When that was the last time, if ever.
    pub(crate) fn overloaded_ns(&self) -> Option<u64> {
        let overloaded_ns = self.overloaded_ns.load(Ordering::Relaxed);
        (overloaded_ns > 0).then_some(overloaded_ns)
    }

    /// A connection was taken in.
    pub(crate) fn connected(&self) {
        add(&self.connections, 1);
    }

    pub(crate) fn read(&self) -> TrafficSeen {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficSeen {
            received_bytes: value(&self.received_bytes),
            sent_bytes: value(&self.sent_bytes),
            replies: std::array::from_fn(|class| value(&self.replies[class])),
            turns: value(&self.turns),
            turn_ns: value(&self.turn_ns),
            waiting: value(&self.waiting),
            connections: value(&self.connections),
        }
    }
}

/// For the one writer: no read-modify-write.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        let traffic = Traffic::default();
        for status in [200, 204, 299, 304, 400, 404, 429, 503, 599, 0, 999, 65_535] {
            traffic.replied(status);
        }
        assert_eq!(traffic.read().replies, [1, 3, 1, 3, 4]);
    }

    #[test]
    fn a_turn_says_what_is_left_and_adds_its_time() {
        let traffic = Traffic::default();
        traffic.end_turn(300, 7);
        traffic.end_turn(40, 2);
        traffic.received(10);
        traffic.sent(20);
        traffic.sent(1);
        let seen = traffic.read();
        assert_eq!((seen.turns, seen.turn_ns, seen.waiting), (2, 340, 2));
        assert_eq!((seen.received_bytes, seen.sent_bytes), (10, 21));
    }
}
