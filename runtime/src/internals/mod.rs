//! The parts of the hot path by themselves, for the project's own benches and fuzz targets.
//!
//! Behind the feature `internals`; no promise is made about anything in here.

pub mod image;
mod machine;
mod queues;
mod replay;
mod wheel;

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, CheckpointError, Location, Marks};
use crate::content::{self, ContentCoding, Decoding};
use crate::http1::{self, Decoder, HeadEncoder, HeadMemo, HeaderTable, Persistence, Step};
use crate::partition::Published;
use crate::transport::proxy_header;
use snapback_operators::{Peer, ReplyHead};

pub use machine::{Machine, Replies};
pub use queues::{HandOver, Seals};
pub use replay::{Event, Limits, Received, replay};
pub use wheel::{Wheel, WheelTimer};

/// Decodes the request at the beginning of `bytes`: how long it is, if it is whole and well-formed.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<usize> {
    let mut table = HeaderTable::new();
    let (mut memo, limits) = (HeadMemo::default(), http1::Limits::default());
    match Decoder::default().decode(bytes, &mut memo, &mut table, &limits) {
        Ok(Step::Request(request)) => Some(request.consumed),
        _ => None,
    }
}

/// Feeds `bytes` to a decoder in pieces, as a connection would; counts the requests in them.
#[must_use]
pub fn decode_pieces(bytes: &[u8], piece_bytes: usize) -> usize {
    let (mut decoder, limits) = (Decoder::default(), http1::Limits::default());
    let (mut inbox, mut memo, mut requests) = (Vec::new(), HeadMemo::default(), 0);
    for piece in bytes.chunks(piece_bytes.max(1)) {
        inbox.extend_from_slice(piece);
        loop {
            let mut table = HeaderTable::new();
            let consumed = match decoder.decode(&inbox, &mut memo, &mut table, &limits) {
                Ok(Step::Request(request)) => request.consumed,
                Ok(Step::NeedMore { .. }) => break,
                Ok(Step::Dechunk) => match decoder.dechunk(&mut inbox, &limits) {
                    Ok(len) => {
                        inbox.truncate(len);
                        continue;
                    }
                    Err(_) => return requests,
                },
                Err(_) => return requests,
            };
            inbox.drain(..consumed);
            requests += 1;
        }
    }
    requests
}

/// Reads the PROXY header at the beginning of `bytes`: how long it is and the client that it names,
/// or `None` when more bytes are needed.
///
/// # Errors
///
/// What is wrong with it.
pub fn proxy_header(bytes: &[u8]) -> Result<Option<(usize, Option<Peer>)>, String> {
    match proxy_header::parse(bytes) {
        Ok(header) => Ok(header.map(|header| (header.bytes, header.client))),
        Err(malformed) => Err(malformed.to_string()),
    }
}

/// Decodes a whole body with this `Content-Encoding`, in steps as small as they can be; `None` if it
/// is refused.
#[must_use]
pub fn decode_content(encoding: &str, body: &[u8], limit_bytes: usize) -> Option<Vec<u8>> {
    let lines = std::iter::once(encoding.as_bytes());
    let codings = content::codings_of(lines, &ContentCoding::ALL).ok()?;
    if codings.is_empty() {
        return Some(body.to_vec());
    }
    let mut decoding = Decoding::new(codings, limit_bytes);
    while !decoding.run(body, &mut 1).ok()? {}
    Some(decoding.body().to_vec())
}

/// Writes the heads of replies.
#[derive(Debug)]
pub struct Heads(HeadEncoder);

impl Default for Heads {
    fn default() -> Self {
        Heads(HeadEncoder::new(0))
    }
}

impl Heads {
    /// The head of a reply that goes on.
    pub fn encode(&mut self, head: &ReplyHead, body_bytes: usize) -> &[u8] {
        self.0.encode(head, body_bytes, Persistence::KeepAlive)
    }
}

/// What a partition publishes at the end of a turn.
pub struct Publisher(Published);

impl Default for Publisher {
    fn default() -> Self {
        Publisher(Published::new(0))
    }
}

impl Publisher {
    /// The end of a turn.
    #[inline]
    pub fn publish(&self, next: u64, settled: u64) {
        self.0.publish(next, settled);
    }

    /// Counts the latency of a request.
    #[inline]
    pub fn record(&self, latency_ns: u64) {
        self.0.latencies.record(latency_ns, 1);
    }

    /// What the epoch thread reads.
    #[must_use]
    pub fn offsets(&self) -> (u64, u64) {
        let offsets = self.0.offsets();
        (offsets.next, offsets.settled)
    }
}

/// A checkpoint that commits one epoch after the other.
#[derive(Debug)]
pub struct Committer {
    checkpoint: Checkpoint,
    epoch: u64,
}

impl Committer {
    /// Opens the checkpoint at `location`.
    ///
    /// # Errors
    ///
    /// As at the start of a query.
    pub fn open(location: &str) -> Result<Self, CheckpointError> {
        let (checkpoint, recovered) = Checkpoint::open(&Location::parse(location)?, "bench", 100)?;
        let epoch = recovered.last_epoch.map_or(0, |epoch| epoch + 1);
        Ok(Committer { checkpoint, epoch })
    }

    /// Commits an epoch of two partitions.
    ///
    /// # Errors
    ///
    /// As the file system does.
    pub fn commit(&mut self) -> Result<bool, CheckpointError> {
        let mark = self.epoch + 1;
        let marks = Marks {
            next: mark,
            settled: mark,
        };
        let committed = self.checkpoint.commit(
            "run",
            self.epoch,
            &BTreeMap::from([(0, marks), (1, marks)]),
            false,
        )?;
        self.epoch += 1;
        Ok(committed)
    }
}
