//! The partition's part of a tee: notes requests and their replies.

use std::fmt;
use std::mem;
use std::sync::Arc;

use snapback_operators::{Peer, Request};

use super::pipe::{Part, Pipe};
use super::served::{Fields, Served};
use crate::checkpoint::Marks;
use crate::io::clock::{now_ns, unix_ns};
use crate::options::TeeOverflow;

/// A column counts its bytes in 31 bits; this leaves room for what is added to a row as it is noted.
const MAX_BYTES: usize = (i32::MAX - (1 << 20)) as usize;

/// Notes what a partition serves, until the epoch ends.
pub(crate) struct Recorder {
    fields: Fields,
    overflow: TeeOverflow,
    limit_bytes: usize,
    partition: u32,
    /// The rows of the open epoch.
    open: Served,
    open_bytes: usize,
    /// The last client that was noted, and how it is called: most come again and again.
    client: (Peer, String),
    /// What is added to the monotonic clock to get the time since 1970.
    since_1970_ns: i64,
    pipe: Arc<Pipe>,
}

/// What was noted of a request whose reply comes later.
pub(crate) struct Stash {
    /// Until it goes back to the others.
    noted: Option<Box<Served>>,
    bytes: usize,
    pipe: Arc<Pipe>,
}

impl Recorder {
    pub(crate) fn new(
        fields: Fields,
        overflow: TeeOverflow,
        limit_bytes: usize,
        partition: u32,
        pipe: Arc<Pipe>,
    ) -> Self {
        Recorder {
            fields,
            overflow,
            limit_bytes,
            partition,
            open: Served::of_partition(partition),
            open_bytes: 0,
            client: (Peer::Unix, Peer::Unix.to_string()),
            since_1970_ns: since_1970_ns(),
            pipe,
        }
    }

    /// Whether a request must be refused, since there would be no room for its row.
    #[inline]
    pub(crate) fn sheds(&self) -> bool {
        self.overflow == TeeOverflow::Shed && self.is_full()
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.open_bytes + self.pipe.held_bytes() >= self.limit_bytes
    }

    /// Notes a request that was answered in the turn that brought it, which began at `turn_ns`.
    #[inline(never)]
    pub(crate) fn note(&mut self, request: &Request<'_>, turn_ns: u64, status: u16, reply: &[u8]) {
        if !self.takes(request.body().len() + reply.len()) {
            return;
        }
        let time_ns = self.time_ns(turn_ns);
        self.name_client(request);
        self.open
            .push_request(self.fields, request, &self.client.1, time_ns);
        self.end_row(turn_ns, status, reply);
    }

    /// Notes a request whose reply comes later; none when its row is dropped.
    #[inline(never)]
    pub(crate) fn stash(&mut self, request: &Request<'_>, turn_ns: u64) -> Option<Stash> {
        if !self.takes(request.body().len()) {
            return None;
        }
        let mut noted = self.pipe.take_note();
        self.name_client(request);
        let time_ns = self.time_ns(turn_ns);
        noted.push_request(self.fields, request, &self.client.1, time_ns);
        let bytes = noted.bytes();
        self.pipe.stash(bytes);
        Some(Stash {
            noted: Some(noted),
            bytes,
            pipe: Arc::clone(&self.pipe),
        })
    }

    /// Notes the reply to a request that came at `since_ns`.
    #[inline(never)]
    pub(crate) fn note_reply(&mut self, stash: &Stash, since_ns: u64, status: u16, reply: &[u8]) {
        if !self.has_room_for(stash.bytes + reply.len()) {
            return self.pipe.count_dropped();
        }
        if let Some(noted) = &stash.noted {
            self.open.append_request(noted);
            self.end_row(since_ns, status, reply);
        }
    }

    fn end_row(&mut self, since_ns: u64, status: u16, reply: &[u8]) {
        let duration_ns = now_ns().saturating_sub(since_ns);
        self.open
            .push_reply(self.fields, status, reply, duration_ns);
        self.open_bytes = self.open.bytes();
    }

    /// Whether a row of so many bytes of bodies is noted; else it is counted as dropped. What was
    /// admitted is noted, though its reply may exceed the limit: it was computed.
    fn takes(&self, bytes: usize) -> bool {
        let is_dropped = self.overflow == TeeOverflow::Drop && self.is_full();
        let takes = !is_dropped && self.has_room_for(bytes);
        if !takes {
            self.pipe.count_dropped();
        }
        takes
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.open_bytes + bytes <= MAX_BYTES
    }

    #[inline]
    fn name_client(&mut self, request: &Request<'_>) {
        if self.fields.has(Fields::CLIENT) && self.client.0 != request.peer() {
            self.client = (request.peer(), request.peer().to_string());
        }
    }

    fn time_ns(&self, turn_ns: u64) -> i64 {
        self.since_1970_ns.saturating_add_unsigned(turn_ns)
    }

    /// Hands the rows over: they are those of the epoch, and the marks are those at its end. Tells
    /// whether there was room for them; else they stay, for a later turn.
    pub(crate) fn seal(&mut self, epoch: u64, marks: Marks) -> bool {
        self.hand_over(Some((epoch, marks)))
    }

    fn hand_over(&mut self, sealed: Option<(u64, Marks)>) -> bool {
        let spare = self.pipe.take_spare();
        let empty = spare.unwrap_or_else(|| Served::of_partition(self.partition));
        let rows = mem::replace(&mut self.open, empty);
        match self.pipe.hand_over(Part { sealed, rows }) {
            Ok(()) => {
                self.open_bytes = 0;
                self.since_1970_ns = since_1970_ns();
                true
            }
            Err(part) => {
                self.open = part.rows;
                false
            }
        }
    }
}

/// A partition that ends, or panicked, leaves its rows behind.
impl Drop for Recorder {
    fn drop(&mut self) {
        let rows = self.open.len();
        if rows > 0 && !self.hand_over(None) {
            tracing::error!(
                rows,
                "the rows of a partition that ended did not get to its sink"
            );
        }
    }
}

impl Drop for Stash {
    fn drop(&mut self) {
        if let Some(noted) = self.noted.take() {
            self.pipe.unstash(noted, self.bytes);
        }
    }
}

impl fmt::Debug for Stash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies of clients are in no log.
        f.debug_struct("Stash")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

fn since_1970_ns() -> i64 {
    unix_ns().cast_signed() - now_ns().cast_signed()
}
