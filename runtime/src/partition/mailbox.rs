//! What others tell a partition: here is a connection, drain, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use std::task::Wake;

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use super::bell::Bell;
use crate::io::event_fd::EventFd;
use crate::transport::Arrival;

/// Accepted sockets that wait for their partition. When it is full, the partition that accepted
/// keeps the socket.
const ACCEPTED: usize = 1024;

/// The count of connections of a partition that takes none any more: it is never the fewest.
const RETIRED: usize = usize::MAX;

/// The life of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Serve.
    Serving = 0,
    /// Accept no more; every reply says `Connection: close`; end with the last connection.
    Draining = 1,
    /// End now.
    Stopping = 2,
}

/// The one way into a partition. Sending takes no lock.
#[derive(Debug)]
pub(crate) struct Mailbox {
    accepted: ArrayQueue<Arrival>,
    phase: AtomicU8,
    /// How many epochs were cut, in a cache line that nobody writes in between.
    epoch: CachePadded<AtomicU64>,
    bell: CachePadded<Bell>,
    wake: EventFd,
    /// A future has ended since the partition looked.
    completed: AtomicBool,
    /// How many connections the partition has or is about to get.
    connections: CachePadded<AtomicUsize>,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Mailbox {
            accepted: ArrayQueue::new(ACCEPTED),
            phase: AtomicU8::new(Phase::Serving as u8),
            epoch: CachePadded::new(AtomicU64::new(0)),
            bell: CachePadded::new(Bell::new()),
            wake: EventFd::new()?,
            completed: AtomicBool::new(false),
            connections: CachePadded::new(AtomicUsize::new(0)),
        })
    }

    /// Hands a socket over; gives it back when the queue is full.
    pub(crate) fn hand_over(&self, arrival: Arrival) -> Result<(), Arrival> {
        self.accepted.push(arrival)?;
        self.ring();
        Ok(())
    }

    /// Moves the partition on in its life; it never goes back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Release);
        self.ring();
    }

    /// Notes that an epoch was cut, and gives its number. A partition that has nothing to hand over
    /// is not woken for it.
    pub(crate) fn note_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many epochs were cut.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Tells the partition that there is news, and wakes it if it sleeps.
    pub(crate) fn ring(&self) {
        if self.bell.ring() {
            self.wake.raise();
        }
    }

    /// For the partition: the next socket that was handed over.
    pub(crate) fn take_accepted(&self) -> Option<Arrival> {
        self.accepted.pop()
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// For the partition: what is to be watched, and cleared, to be woken.
    pub(crate) fn wake(&self) -> &EventFd {
        &self.wake
    }

    /// For the partition: whether anything was sent since the last call: a socket, a phase, the end
    /// of a future.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.bell.take_ring()
    }

    /// For the partition: whether a future has ended since the last call.
    pub(crate) fn take_completed(&self) -> bool {
        self.completed.swap(false, Ordering::Acquire)
    }

    /// For the partition, before it sleeps: whether it may.
    #[inline]
    pub(crate) fn may_sleep(&self) -> bool {
        self.bell.prepare_sleep()
    }

    #[inline]
    pub(crate) fn awake(&self) {
        self.bell.awake();
    }

    /// How many connections the partition has or is about to get.
    pub(crate) fn connections(&self) -> usize {
        match self.connections.load(Ordering::Relaxed) {
            RETIRED => 0,
            connections => connections,
        }
    }

    /// For the partition, when it has drained: nobody picks it any more. Fails, so that it must
    /// serve on, when it is about to get another connection than the `held` ones.
    pub(crate) fn retire(&self, held: usize) -> bool {
        let relaxed = Ordering::Relaxed;
        self.connections
            .compare_exchange(held, RETIRED, relaxed, relaxed)
            .is_ok()
    }

    /// Whether the partition has [retired](Self::retire); its connections are not counted any more.
    pub(crate) fn is_retired(&self) -> bool {
        self.connections.load(Ordering::Relaxed) == RETIRED
    }

    /// Counts a connection that ended.
    pub(crate) fn connection_ended(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Picks the partition with the fewest connections, and counts one more for it. No lock: an
    /// acceptor whose pick was overtaken by another one's looks again.
    pub(crate) fn fewest_connections(mailboxes: &[Arc<Mailbox>]) -> &Mailbox {
        loop {
            let counts = mailboxes
                .iter()
                .map(|mailbox| (mailbox.connections.load(Ordering::Relaxed), mailbox));
            let (count, mailbox) = counts
                .min_by_key(|(count, _)| *count)
                .expect("a query has a partition at least");
            let counter = &mailbox.connections;
            let picked =
                counter.compare_exchange(count, count + 1, Ordering::Relaxed, Ordering::Relaxed);
            if picked.is_ok() {
                return mailbox;
            }
        }
    }

    /// Counts one more connection for this partition, where nobody picks.
    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future has ended: its output is where its operator finds it.
impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.completed.store(true, Ordering::Release);
        self.ring();
    }
}
