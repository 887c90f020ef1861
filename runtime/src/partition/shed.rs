//! What a partition turned away and what it gave up on, counted for others to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request or a connection was turned away before work was spent on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShedReason {
    /// `maxConnections` were open: the connection was answered 503 and closed.
    Connections,
    /// `maxInFlight` requests of the partition waited for their replies: 503.
    InFlight,
    /// An operator's own queue was full: 503.
    Rows,
    /// Turns had been longer than `maxQueueDelay`: 503.
    QueueDelay,
    /// As many rows as `teeBufferBytes` allows wait for the sink of the tee: 503.
    Tee,
    /// Its deadline was over before it was called: 504.
    Deadline,
}

impl ShedReason {
    pub(crate) const ALL: [ShedReason; 6] = [
        ShedReason::Connections,
        ShedReason::InFlight,
        ShedReason::Rows,
        ShedReason::QueueDelay,
        ShedReason::Tee,
        ShedReason::Deadline,
    ];

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ShedReason::Connections => "connections",
            ShedReason::InFlight => "in_flight",
            ShedReason::Rows => "rows",
            ShedReason::QueueDelay => "queue_delay",
            ShedReason::Tee => "tee",
            ShedReason::Deadline => "deadline",
        }
    }
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutKind {
    /// The head of a request: `headerTimeout`.
    Header,
    /// The body of a request: `bodyTimeout` and `minBodyRate`.
    Body,
    /// The next request of a connection: `keepAliveTimeout`.
    KeepAlive,
    /// A client that takes no bytes of its replies: `writeTimeout`.
    Write,
    /// The end of a connection to which everything was said: `lingerTimeout`.
    Linger,
    /// The reply of a deferred request: `requestTimeout`, or the request's own deadline.
    Request,
}

impl TimeoutKind {
    pub(crate) const ALL: [TimeoutKind; 6] = [
        TimeoutKind::Header,
        TimeoutKind::Body,
        TimeoutKind::KeepAlive,
        TimeoutKind::Write,
        TimeoutKind::Linger,
        TimeoutKind::Request,
    ];

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TimeoutKind::Header => "header",
            TimeoutKind::Body => "body",
            TimeoutKind::KeepAlive => "keep_alive",
            TimeoutKind::Write => "write",
            TimeoutKind::Linger => "linger",
            TimeoutKind::Request => "request",
        }
    }
}

/// Counters with one writer, the partition, which anyone may read at any time.
///
/// Counting is a plain load, add and store in a cache line that no request touches otherwise.
#[derive(Debug, Default)]
pub(crate) struct Shed {
    shed: [AtomicU64; ShedReason::ALL.len()],
    timeouts: [AtomicU64; TimeoutKind::ALL.len()],
}

impl Shed {
    /// Counts what was turned away. For the one writer.
    pub(crate) fn count(&self, reason: ShedReason) {
        add_one(&self.shed[reason as usize]);
    }

    /// Counts what took too long. For the one writer.
    pub(crate) fn count_timeout(&self, kind: TimeoutKind) {
        add_one(&self.timeouts[kind as usize]);
    }

    /// How much was turned away for this reason since the start.
    pub(crate) fn shed(&self, reason: ShedReason) -> u64 {
        self.shed[reason as usize].load(Ordering::Relaxed)
    }

    /// How much of this kind took too long since the start.
    pub(crate) fn timeouts(&self, kind: TimeoutKind) -> u64 {
        self.timeouts[kind as usize].load(Ordering::Relaxed)
    }
}

fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_kind_has_a_counter_and_a_name_of_its_own() {
        let shed = Shed::default();
        for (index, reason) in ShedReason::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| shed.count(reason));
        }
        for (index, kind) in TimeoutKind::ALL.into_iter().enumerate() {
            (0..=10 + index).for_each(|_| shed.count_timeout(kind));
        }
        assert_eq!(
            ShedReason::ALL.map(|reason| shed.shed(reason)),
            [1, 2, 3, 4, 5, 6]
        );
        let timeouts = TimeoutKind::ALL.map(|kind| shed.timeouts(kind));
        assert_eq!(timeouts, [11, 12, 13, 14, 15, 16]);
        let mut names: Vec<_> = ShedReason::ALL.iter().map(|reason| reason.name()).collect();
        names.extend(TimeoutKind::ALL.iter().map(|kind| kind.name()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12);
    }
}
