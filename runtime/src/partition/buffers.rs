//! The buffers that the connections of a partition take turns with.

use crate::http1::HeadMemo;
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::transport::Scratch;

/// How many buffers of each kind wait to be used.
const KEPT: usize = 32;
/// A larger buffer is given back to the allocator.
const KEPT_BYTES: usize = 1 << 20;

/// A connection holds a buffer only while there is something in it. So an idle connection costs no
/// buffer, and a busy partition works in the same few, which stay in the core's cache.
// Boxes move between here and the connections, which hold a pointer each.
#[expect(clippy::vec_box)]
#[derive(Default)]
pub(crate) struct Buffers {
    inboxes: Vec<Box<Inbox>>,
    outboxes: Vec<Box<Outbox>>,
    /// For what stands between a socket and HTTP.
    pub(crate) scratch: Scratch,
    /// The head that came last, on any connection.
    pub(crate) memo: HeadMemo,
}

impl Buffers {
    #[inline]
    pub(crate) fn inbox(&mut self) -> Box<Inbox> {
        self.inboxes.pop().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn outbox(&mut self) -> Box<Outbox> {
        self.outboxes.pop().unwrap_or_default()
    }

    /// Moves the small rest of an inbox into one that has room for a read.
    pub(crate) fn enlarge(&mut self, rest: Box<Inbox>) -> Box<Inbox> {
        if !rest.is_small() {
            return rest;
        }
        let mut inbox = self.inbox();
        inbox.append(rest.unparsed());
        inbox
    }

    /// Moves a small rest into a buffer of its size, so that a connection which sends a request
    /// slowly does not hold a large one.
    pub(crate) fn shrink(&mut self, mut inbox: Box<Inbox>) -> Box<Inbox> {
        match inbox.split_small_rest() {
            Some(rest) => {
                self.take_inbox(inbox);
                rest
            }
            None => inbox,
        }
    }

    #[inline]
    pub(crate) fn take_inbox(&mut self, mut inbox: Box<Inbox>) {
        if self.inboxes.len() < KEPT && inbox.capacity_bytes() <= KEPT_BYTES {
            inbox.clear();
            self.inboxes.push(inbox);
        }
    }

    #[inline]
    pub(crate) fn take_outbox(&mut self, mut outbox: Box<Outbox>) {
        if self.outboxes.len() < KEPT && outbox.capacity_bytes() <= KEPT_BYTES {
            outbox.clear();
            self.outboxes.push(outbox);
        }
    }
}
