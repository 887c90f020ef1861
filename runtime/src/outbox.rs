//! The bytes of a connection that are not yet sent.

use std::collections::VecDeque;
use std::io;

use crate::io::socket::Socket;

/// Sent bytes are cut off the front once they are so many and the larger part.
const COMPACT_BYTES: usize = 64 << 10;

/// Replies in the order of their requests; those before `sent` are with the kernel.
///
/// Invariant: `sent ≤ bytes.len()`; `ends` grow, lie in `sent..=bytes.len()`, and so do their
/// offsets.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the reply to each unanswered request ends, and the request's offset.
    ends: VecDeque<(usize, u64)>,
}

impl Outbox {
    /// Where replies are written. Only bytes behind the present end may be changed.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Notes that the reply to the request at `offset` ends here.
    #[inline]
    pub(crate) fn end_reply(&mut self, offset: u64) {
        self.ends.push_back((self.bytes.len(), offset));
        self.invariants();
    }

    /// Gives the kernel what it takes.
    #[inline]
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.sent += socket.write(&self.bytes[self.sent..])?;
        if self.is_empty() {
            self.clear();
        } else {
            self.after_partial_write();
        }
        Ok(())
    }

    #[cold]
    fn after_partial_write(&mut self) {
        while self.ends.front().is_some_and(|(end, _)| *end <= self.sent) {
            self.ends.pop_front();
        }
        if self.sent > COMPACT_BYTES && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            for (end, _) in &mut self.ends {
                *end -= self.sent;
            }
            self.sent = 0;
        }
        self.invariants();
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.ends.clear();
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// How many requests wait for the end of their reply to be sent.
    #[inline]
    pub(crate) fn unanswered(&self) -> usize {
        self.ends.len()
    }

    /// The offset of the first of them.
    #[inline]
    pub(crate) fn oldest_unanswered(&self) -> Option<u64> {
        self.ends.front().map(|(_, offset)| *offset)
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn invariants(&self) {
        debug_assert!(self.sent <= self.bytes.len());
        debug_assert!(self.ends.iter().is_sorted());
        debug_assert!(
            self.ends
                .iter()
                .all(|(end, _)| (self.sent..=self.bytes.len()).contains(end))
        );
    }
}
