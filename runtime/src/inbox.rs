//! The bytes of a connection that are not yet requests.

use std::io;

use crate::io::socket::{Read, Socket};

/// How much one read may bring when nothing is known of the request.
const READ_BYTES: usize = 64 << 10;
/// A rest up to this is moved to a buffer of its own size.
const SMALL_BYTES: usize = 4 << 10;

/// Received bytes; those before `parsed` are done with.
///
/// Invariant: `parsed ≤ bytes.len() ≤ bytes.capacity()`.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    parsed: usize,
}

impl Inbox {
    /// Reads once. `wanted_bytes` is how much the request at hand needs in all, when that is known;
    /// room grows by doubling up to it, so that a client must send what it announced before it
    /// costs memory. Also tells whether the socket was read empty.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        socket: &Socket,
        wanted_bytes: usize,
    ) -> io::Result<(Read, bool)> {
        let len = self.bytes.len();
        let target = wanted_bytes.min(len * 2).max(READ_BYTES);
        if self.bytes.capacity() < target {
            self.bytes.reserve_exact(target - len);
        } else if self.bytes.capacity() == len {
            // Only a rest of pipelined requests, all of which wait for their turn, is so long.
            self.bytes.reserve(READ_BYTES);
        }
        let room = self.bytes.capacity() - len;
        let read = socket.read(&mut self.bytes)?;
        self.invariants();
        Ok((read, read != Read::Bytes(room)))
    }

    /// The bytes that wait to be parsed.
    #[inline]
    pub(crate) fn unparsed(&self) -> &[u8] {
        &self.bytes[self.parsed..]
    }

    /// The same, for a parser that works in place.
    pub(crate) fn unparsed_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.parsed..]
    }

    /// Keeps only so many of the bytes that wait to be parsed.
    pub(crate) fn truncate(&mut self, unparsed_bytes: usize) {
        self.bytes.truncate(self.parsed + unparsed_bytes);
    }

    /// Marks bytes as done with.
    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.parsed += bytes;
        self.invariants();
    }

    /// Forgets all bytes.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.parsed = 0;
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.parsed == self.bytes.len()
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes what is left into a box of its own size, if it is small; else closes the gap before it.
    pub(crate) fn split_small_rest(&mut self) -> Option<Box<Inbox>> {
        let rest = self.unparsed();
        if rest.len() <= SMALL_BYTES {
            return Some(Box::new(Inbox {
                bytes: rest.to_vec(),
                parsed: 0,
            }));
        }
        self.bytes.drain(..self.parsed);
        self.parsed = 0;
        None
    }

    pub(crate) fn is_small(&self) -> bool {
        self.bytes.capacity() <= SMALL_BYTES
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn invariants(&self) {
        debug_assert!(
            self.parsed <= self.bytes.len(),
            "parsed {} bytes",
            self.parsed
        );
        debug_assert!(self.bytes.len() <= self.bytes.capacity());
    }
}
