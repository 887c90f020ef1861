//! The buffers that the connections of a partition take turns with.

use crate::inbox::Inbox;
use crate::outbox::Outbox;

/// How many buffers of each kind wait to be used.
const KEPT: usize = 32;
/// A larger buffer is given back to the allocator.
const KEPT_BYTES: usize = 1 << 20;

/// A connection holds a buffer only while there is something in it. So an idle connection costs no
/// buffer, and a busy partition works in the same few, which stay in the core's cache.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    inboxes: Vec<Box<Inbox>>,
    outboxes: Vec<Box<Outbox>>,
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
