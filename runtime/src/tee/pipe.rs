//! Between a partition and the tee's thread: sealed rows one way, emptied buffers the other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use super::served::Served;
use crate::checkpoint::Marks;

/// One part is asked for at a time; a partition that panics and one that ends leave one each.
const PARTS: usize = 4;
/// How many notes of deferred requests wait to be filled again, and how large one may be.
const SPARE_NOTES: usize = 1024;
const SPARE_NOTE_BYTES: usize = 64 << 10;

/// Rows that a partition handed over.
#[derive(Debug)]
pub(crate) struct Part {
    /// The epoch, as the partition's mailbox counts them, that it was sealed for; none when the
    /// partition left it behind unasked.
    pub(super) sealed: Option<(u64, Marks)>,
    pub(crate) rows: Served,
}

/// No side ever waits for the other.
#[derive(Debug)]
pub(crate) struct Pipe {
    parts: ArrayQueue<Part>,
    spare: ArrayQueue<Served>,
    /// Emptied notes of deferred requests.
    notes: ArrayQueue<Box<Served>>,
    /// Bytes of rows that are handed over and not yet in the sink.
    pending_bytes: AtomicUsize,
    /// Bytes of requests whose replies are still to come.
    stashed_bytes: AtomicUsize,
    dropped: AtomicU64,
    has_ended: AtomicBool,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        Pipe {
            parts: ArrayQueue::new(PARTS),
            spare: ArrayQueue::new(2),
            notes: ArrayQueue::new(SPARE_NOTES),
            pending_bytes: AtomicUsize::new(0),
            stashed_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
        }
    }

    /// For the partition: hands rows over; gives them back when too many parts wait.
    #[expect(clippy::result_large_err, reason = "once an epoch")]
    pub(super) fn hand_over(&self, part: Part) -> Result<(), Part> {
        let bytes = part.rows.bytes();
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.parts.push(part).inspect_err(|part| {
            let bytes = part.rows.bytes();
            self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// For the partition: an emptied buffer, if one came back.
    pub(super) fn take_spare(&self) -> Option<Served> {
        self.spare.pop()
    }

    /// For the tee's thread: the oldest part.
    pub(crate) fn take(&self) -> Option<Part> {
        self.parts.pop()
    }

    /// For the tee's thread: these rows are in the sink.
    pub(crate) fn give_back(&self, mut rows: Served) {
        self.pending_bytes
            .fetch_sub(rows.bytes(), Ordering::Relaxed);
        rows.clear();
        let _ = self.spare.push(rows);
    }

    /// Bytes that left the partition's open buffer, or are not in it yet, and are in no sink.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed) + self.stashed_bytes.load(Ordering::Relaxed)
    }

    /// For the partition: an empty note.
    pub(super) fn take_note(&self) -> Box<Served> {
        self.notes.pop().unwrap_or_default()
    }

    /// For the partition: so many bytes are in a note.
    pub(super) fn stash(&self, bytes: usize) {
        self.stashed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// For the partition: they are not any more.
    pub(super) fn unstash(&self, mut note: Box<Served>, bytes: usize) {
        self.stashed_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if bytes <= SPARE_NOTE_BYTES {
            note.clear();
            let _ = self.notes.push(note);
        }
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many rows were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The partition's thread is about to end, and has handed over all it had.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}
