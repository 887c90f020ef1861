//! The bytes of a connection that are not yet sent.

use std::collections::VecDeque;
use std::io;

use crate::http1::{Echo, Persistence};
use crate::tee::Stash;
use crate::transport::{Scratch, Transport};

/// Sent bytes are cut off the front once they are so many and the larger part.
const COMPACT_BYTES: usize = 64 << 10;
/// How many buffers of slots wait to be used again, and how large one may be.
const SPARE_BUFFERS: usize = 64;
const SPARE_BYTES: usize = 1 << 10;

/// Replies in the order of their requests; those before `sent` are with the kernel.
///
/// A reply that comes later holds a slot; replies made meanwhile wait behind it.
///
/// Invariant: `sent ≤ bytes.len()`; `ends` grow, lie in `sent..=bytes.len()`, and so do their
/// offsets; offsets of `slots` grow and are above those of `ends`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the reply to each unanswered request ends, and the request's offset.
    ends: Ends,
    /// Replies that come later, oldest first.
    slots: VecDeque<Slot>,
    /// Bytes that wait in slots, but for the last one, which is still written to.
    held_bytes: usize,
    /// Replies that wait in slots, or behind them.
    held_replies: usize,
    /// How many bytes the kernel has taken, modulo 2^64.
    taken_bytes: u64,
    /// Not after the time at which any awaited reply is overdue; says nothing without slots.
    first_due_ns: u64,
    /// Emptied buffers of slots.
    spare: Vec<(Vec<u8>, Ends)>,
}

type Ends = VecDeque<(usize, u64)>;

/// The place of a reply that comes later, and what was written behind it meanwhile.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The request's offset, which names the slot.
    pub(crate) offset: u64,
    pub(crate) persistence: Persistence,
    pub(crate) is_head: bool,
    /// When the request was taken on.
    pub(crate) since_ns: u64,
    /// When its time is over.
    pub(crate) due_ns: u64,
    /// How many deferring operators its row has passed, and since when it is in the next one.
    pub(crate) stage: u8,
    pub(crate) stage_since_ns: u64,
    /// The future that works on the reply, if any; it is cancelled when nobody waits any more.
    pub(crate) work: Option<Work>,
    /// What the reply says back of the request; none for most requests.
    pub(crate) echo: Option<Box<Echo>>,
    /// What a tee has noted of the request.
    pub(crate) stash: Option<Stash>,
    /// The reply came, but there is another slot before this one.
    is_filled: bool,
    /// The reply, once it came, then those behind it.
    bytes: Vec<u8>,
    ends: Ends,
}

impl Slot {
    pub(crate) fn new(
        offset: u64,
        persistence: Persistence,
        is_head: bool,
        (since_ns, due_ns): (u64, u64),
        work: Option<Work>,
    ) -> Self {
        Slot {
            offset,
            persistence,
            is_head,
            since_ns,
            due_ns,
            stage: 0,
            stage_since_ns: since_ns,
            work,
            echo: None,
            stash: None,
            is_filled: false,
            bytes: Vec::new(),
            ends: VecDeque::new(),
        }
    }
}

/// A future on the session's runtime; dropping this cancels it.
#[derive(Debug)]
pub(crate) struct Work(pub(crate) tokio::task::AbortHandle);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Outbox {
    /// Where the next reply is written. Only bytes behind the present end may be changed.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        match self.slots.back_mut() {
            None => &mut self.bytes,
            Some(slot) => &mut slot.bytes,
        }
    }

    /// Notes that the reply to the request at `offset` ends here.
    #[inline]
    pub(crate) fn end_reply(&mut self, offset: u64) {
        match self.slots.back_mut() {
            None => self.ends.push_back((self.bytes.len(), offset)),
            Some(slot) => {
                self.held_replies += 1;
                slot.ends.push_back((slot.bytes.len(), offset));
            }
        }
        self.invariants();
    }

    /// Keeps the place of a reply that comes later.
    pub(crate) fn defer(&mut self, mut slot: Slot) {
        if let Some((bytes, ends)) = self.spare.pop() {
            (slot.bytes, slot.ends) = (bytes, ends);
        }
        if let Some(last) = self.slots.back_mut() {
            self.held_bytes += last.bytes.len();
        }
        self.held_replies += 1;
        self.first_due_ns = if self.slots.is_empty() {
            slot.due_ns
        } else {
            self.first_due_ns.min(slot.due_ns)
        };
        self.slots.push_back(slot);
        self.invariants();
    }

    /// Lets the last reply say that the connection closes, if it is still to come and nothing is
    /// written behind it; whether that is so.
    pub(crate) fn end_with_last_slot(&mut self) -> bool {
        match self.slots.back_mut() {
            Some(slot) if !slot.is_filled && slot.bytes.is_empty() => {
                slot.persistence = Persistence::Close;
                true
            }
            _ => false,
        }
    }

    /// The slot of the request at `offset`, while its reply is awaited.
    pub(crate) fn awaited(&mut self, offset: u64) -> Option<&mut Slot> {
        let index = self
            .slots
            .binary_search_by_key(&offset, |slot| slot.offset)
            .ok()?;
        self.slots.get_mut(index).filter(|slot| !slot.is_filled)
    }

    /// Puts a reply that came into its slot. If it is the first one, its reply and those behind it
    /// up to the next awaited one may be sent.
    pub(crate) fn fill(&mut self, offset: u64, reply: &[u8]) {
        let Ok(index) = self.slots.binary_search_by_key(&offset, |slot| slot.offset) else {
            return;
        };
        let slot = &mut self.slots[index];
        if slot.is_filled {
            return;
        }
        slot.is_filled = true;
        slot.work = None;
        if index > 0 {
            slot.bytes.splice(0..0, reply.iter().copied());
            for (end, _) in &mut slot.ends {
                *end += reply.len();
            }
            slot.ends.push_front((reply.len(), offset));
            if index + 1 < self.slots.len() {
                self.held_bytes += reply.len();
            }
            return;
        }
        self.bytes.extend_from_slice(reply);
        self.ends.push_back((self.bytes.len(), offset));
        self.held_replies -= 1;
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.is_filled) {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&slot.bytes);
            self.ends
                .extend(slot.ends.iter().map(|(end, offset)| (start + end, *offset)));
            self.held_replies -= slot.ends.len();
            if !self.slots.is_empty() {
                self.held_bytes -= slot.bytes.len();
            }
            self.keep_buffers(slot);
        }
        self.invariants();
    }

    fn keep_buffers(&mut self, slot: Slot) {
        let Slot {
            mut bytes,
            mut ends,
            ..
        } = slot;
        let is_worth_it = 1..=SPARE_BYTES;
        if self.spare.len() < SPARE_BUFFERS && is_worth_it.contains(&bytes.capacity()) {
            bytes.clear();
            ends.clear();
            self.spare.push((bytes, ends));
        }
    }

    /// The slots whose replies are awaited.
    pub(crate) fn awaited_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_filled)
    }

    /// When the time of the first awaited reply may be over; [`u64::MAX`] when none is awaited.
    pub(crate) fn first_due_ns(&self) -> u64 {
        if self.slots.is_empty() {
            u64::MAX
        } else {
            self.first_due_ns
        }
    }

    /// Gives the offsets of the awaited replies whose time is over to `overdue`.
    pub(crate) fn take_overdue(&mut self, now_ns: u64, mut overdue: impl FnMut(u64)) {
        let mut first_due_ns = u64::MAX;
        for slot in self.awaited_slots() {
            if slot.due_ns <= now_ns {
                overdue(slot.offset);
            } else {
                first_due_ns = first_due_ns.min(slot.due_ns);
            }
        }
        self.first_due_ns = first_due_ns;
    }

    /// Gives the kernel what it takes, and tells how many bytes that was.
    #[inline]
    pub(crate) fn flush(
        &mut self,
        transport: &mut Transport,
        scratch: &mut Scratch,
    ) -> io::Result<usize> {
        if self.sent == self.bytes.len() {
            return Ok(0);
        }
        let taken = transport.write(&self.bytes[self.sent..], scratch)?;
        self.sent += taken;
        self.taken_bytes = self.taken_bytes.wrapping_add(taken as u64);
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            self.ends.clear();
        } else {
            self.after_partial_write();
        }
        Ok(taken)
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

    /// Forgets everything, and cancels what works on replies.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.ends.clear();
        self.slots.clear();
        self.held_bytes = 0;
        self.held_replies = 0;
    }

    /// Whether no reply waits: neither to be sent nor to be made.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.is_flushed() && self.slots.is_empty()
    }

    /// Whether the kernel took all that may be sent.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// How many bytes the kernel has taken, modulo 2^64: it tells whether it took some meanwhile.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn unsent_bytes(&self) -> usize {
        let last_bytes = self.slots.back().map_or(0, |slot| slot.bytes.len());
        self.bytes.len() - self.sent + self.held_bytes + last_bytes
    }

    /// How many requests wait for the end of their reply to be sent.
    #[inline]
    pub(crate) fn unanswered(&self) -> usize {
        self.ends.len() + self.held_replies
    }

    /// The offset of the first of them.
    #[inline]
    pub(crate) fn oldest_unanswered(&self) -> Option<u64> {
        let first = self.ends.front().map(|(_, offset)| *offset);
        first.or_else(|| self.slots.front().map(|slot| slot.offset))
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn invariants(&self) {
        debug_assert!(self.sent <= self.bytes.len());
        debug_assert!(self.ends.iter().is_sorted());
        let sendable = self.sent..=self.bytes.len();
        debug_assert!(self.ends.iter().all(|(end, _)| sendable.contains(end)));
        debug_assert!(self.slots.iter().map(|slot| slot.offset).is_sorted());
        debug_assert!(self.slots.front().is_none_or(|slot| !slot.is_filled));
        debug_assert!(!self.slots.is_empty() || self.held_bytes == 0 && self.held_replies == 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(offset: u64) -> Slot {
        Slot::new(offset, Persistence::KeepAlive, false, (0, u64::MAX), None)
    }

    /// What has no offset, a 404 or a 100, costs memory all the same while it waits behind a slot.
    #[test]
    fn bytes_behind_slots_are_counted() {
        let mut outbox = Outbox::default();
        outbox.defer(slot(0));
        outbox.bytes().extend_from_slice(&[0; 100]);
        assert_eq!(outbox.unsent_bytes(), 100);
        outbox.defer(slot(1));
        outbox.bytes().extend_from_slice(&[0; 10]);
        outbox.end_reply(2);
        outbox.fill(1, &[0; 1000]);
        assert_eq!(outbox.unsent_bytes(), 1110);
        outbox.defer(slot(3));
        outbox.fill(0, &[0; 5]);
        assert_eq!(outbox.unsent_bytes(), outbox.bytes.len());
        assert_eq!((outbox.unsent_bytes(), outbox.unanswered()), (1115, 4));
        outbox.fill(3, &[]);
        assert_eq!((outbox.held_bytes, outbox.held_replies), (0, 0));
    }

    proptest! {
        /// Whatever is put off, and in whatever order the replies come: they leave in the order of
        /// their requests, and the oldest unanswered one is known at each step.
        #[test]
        fn replies_leave_in_order(
            deferred in proptest::collection::vec(any::<bool>(), 1..40),
            order in any::<u64>(),
        ) {
            let mut outbox = Outbox::default();
            let reply = |offset: u64| format!("<{offset}{}>", "x".repeat(offset as usize % 5));
            let mut awaited = Vec::new();
            for (offset, deferred) in (0..).zip(&deferred) {
                if *deferred {
                    outbox.defer(slot(offset));
                    awaited.push(offset);
                } else {
                    outbox.bytes().extend_from_slice(reply(offset).as_bytes());
                    outbox.end_reply(offset);
                }
            }
            prop_assert_eq!(outbox.unanswered(), deferred.len());
            let mut seed = order;
            while !awaited.is_empty() {
                prop_assert!(outbox.awaited_slots().map(|slot| slot.offset).eq(awaited.iter().copied()));
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let offset = awaited.remove((seed >> 33) as usize % awaited.len());
                prop_assert!(outbox.awaited(offset).is_some());
                outbox.fill(offset, reply(offset).as_bytes());
                prop_assert!(outbox.awaited(offset).is_none());
                outbox.fill(offset, b"a second reply to one request");
                let sendable: String = (0..awaited.first().copied().unwrap_or(deferred.len() as u64))
                    .map(reply)
                    .collect();
                prop_assert_eq!(String::from_utf8_lossy(&outbox.bytes), sendable);
            }
            prop_assert_eq!(outbox.unanswered(), deferred.len());
            prop_assert_eq!(outbox.unsent_bytes(), outbox.bytes.len());
            prop_assert_eq!(outbox.oldest_unanswered(), Some(0));
        }
    }
}
