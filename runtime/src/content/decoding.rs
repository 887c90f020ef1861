//! One body on its way through its codings.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::brotli::Brotli;
use super::coding::Codings;
use super::inflate::Inflate;
use super::zstd::Zstd;
use super::{ContentCoding, Fault};

/// How much one step decodes at most, but for the granularity of the coding: a `zstd` block (128
/// KiB), or the window of a `br` body.
const STEP_BYTES: usize = 32 << 10;
/// What a step costs at least: beginning a member or a frame is work too, though nothing is in it.
const LEAST_COST_BYTES: usize = 2 << 10;

/// A body that is being decoded, its codings one after the other.
///
/// Invariant: `consumed ≤` the length of what the present decoder reads.
pub(crate) struct Decoding {
    /// The codings that are still to be removed; the last one applied is the first to go.
    codings: Codings,
    /// Removes the last of them; `None` before its first step.
    decoder: Option<Decoder>,
    /// How much the decoder has read of its input: the body, or what the decoder before it made.
    consumed: usize,
    /// What the decoder before made; unused while the body itself is read.
    between: Vec<u8>,
    is_first: bool,
    output: Vec<u8>,
    limit_bytes: usize,
}

/// What one step of a decoder did.
pub(super) struct Step {
    /// How much of its input it has used.
    pub(super) consumed: usize,
    /// What it cost, in decoded bytes.
    pub(super) cost_bytes: usize,
    /// Whether it came to the end of a stream: of the whole one, or of a part that may be followed by
    /// another.
    pub(super) is_end: bool,
}

/// The state of a decoder between two steps.
enum Decoder {
    Inflate(Inflate),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
}

impl Decoding {
    /// A body with these codings, of which there is one at least, that may have `limit_bytes` when it is decoded.
    pub(crate) fn new(codings: Codings, limit_bytes: usize) -> Self {
        Decoding {
            codings,
            decoder: None,
            consumed: 0,
            between: Vec::new(),
            is_first: true,
            output: Vec::new(),
            limit_bytes,
        }
    }

    /// Decodes until the body is whole, which it tells, or until the budget of decoded bytes is used
    /// up. Give the same `body` each time. An empty body has nothing that was encoded.
    ///
    /// # Errors
    ///
    /// A body that is malformed or too large. Do not call it again after that.
    pub(crate) fn run(&mut self, body: &[u8], budget_bytes: &mut usize) -> Result<bool, Fault> {
        if body.is_empty() {
            return Ok(true);
        }
        while let Some(coding) = self.codings.last().copied() {
            if *budget_bytes == 0 {
                return Ok(false);
            }
            if self.step(coding, body, budget_bytes)? {
                self.end_coding();
            }
        }
        Ok(true)
    }

    /// The decoded body, once it is whole.
    pub(crate) fn body(&self) -> &[u8] {
        &self.output
    }

    /// How much memory its buffers hold.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.output.capacity() + self.between.capacity()
    }

    /// One step of the present decoder; tells whether its input is at an end.
    fn step(
        &mut self,
        coding: ContentCoding,
        body: &[u8],
        budget_bytes: &mut usize,
    ) -> Result<bool, Fault> {
        let input = if self.is_first { body } else { &self.between };
        let rest = &input[self.consumed..];
        let before = self.output.len();
        // One byte above the limit tells whether there is more.
        let room = self.limit_bytes.saturating_add(1) - before;
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => self.decoder.insert(Decoder::new(coding, rest)),
        };
        let room = room.min(STEP_BYTES);
        reserve(&mut self.output, room, self.limit_bytes);
        let step = decoder.step(rest, &mut self.output, room)?;
        let cost_bytes = step.cost_bytes.max(LEAST_COST_BYTES);
        *budget_bytes = budget_bytes.saturating_sub(cost_bytes);
        let left = self.limit_bytes.checked_sub(self.output.len());
        if left.is_none_or(|left| decoder.announces_more_than(left)) {
            return Err(Fault::TooLarge {
                limit_bytes: self.limit_bytes,
            });
        }
        self.consumed += step.consumed;
        let is_at_end = self.consumed == input.len();
        if step.is_end {
            if !is_at_end && !decoder.begin_next() {
                return Err(Fault::Trailing { coding });
            }
            return Ok(is_at_end);
        }
        if step.consumed > 0 || self.output.len() > before {
            return Ok(false);
        }
        Err(if is_at_end {
            Fault::Truncated { coding }
        } else {
            Fault::Malformed { coding }
        })
    }

    /// What this decoder made is what the next one reads.
    fn end_coding(&mut self) {
        self.codings.pop();
        self.decoder = None;
        self.consumed = 0;
        self.is_first = false;
        if !self.codings.is_empty() {
            mem::swap(&mut self.between, &mut self.output);
            self.output.clear();
        } else {
            self.between = Vec::new();
        }
    }
}

/// Makes room for so many bytes. It grows by doubling, but not above what may come.
fn reserve(output: &mut Vec<u8>, room: usize, limit_bytes: usize) {
    let needed = output.len() + room;
    if needed > output.capacity() {
        let doubled = output.capacity().saturating_mul(2);
        let target = doubled.min(limit_bytes.saturating_add(1)).max(needed);
        output.reserve_exact(target - output.len());
    }
}

impl Decoder {
    /// A decoder for what begins like this.
    fn new(coding: ContentCoding, start: &[u8]) -> Self {
        match coding {
            ContentCoding::Gzip => Decoder::Inflate(Inflate::gzip()),
            ContentCoding::Deflate => Decoder::Inflate(Inflate::deflate(start)),
            ContentCoding::Br => Decoder::Brotli(Box::default()),
            ContentCoding::Zstd => Decoder::Zstd(Box::default()),
        }
    }

    /// Decodes on, and appends `room` bytes at most, unless the coding comes in larger pieces.
    ///
    /// The decoders are libraries that read what anybody sends: a panic in one of them is the fault
    /// of this body, and no other request's.
    fn step(&mut self, rest: &[u8], output: &mut Vec<u8>, room: usize) -> Result<Step, Fault> {
        let coding = self.coding();
        let step = AssertUnwindSafe(|| match self {
            Decoder::Inflate(inflate) => inflate.step(rest, output, room),
            Decoder::Brotli(brotli) => brotli.step(rest, output, room),
            Decoder::Zstd(zstd) => zstd.step(rest, output),
        });
        catch_unwind(step).unwrap_or(Err(Fault::Malformed { coding }))
    }

    /// After the end of a stream: makes ready for another one behind it, if the coding allows that.
    fn begin_next(&mut self) -> bool {
        match self {
            Decoder::Inflate(inflate) => inflate.begin_next_member(),
            Decoder::Brotli(_) => false,
            Decoder::Zstd(_) => true,
        }
    }

    /// Whether the stream says that more is to come than this.
    fn announces_more_than(&self, left: usize) -> bool {
        match self {
            Decoder::Zstd(zstd) => zstd.announced_bytes() > left as u64,
            Decoder::Inflate(_) | Decoder::Brotli(_) => false,
        }
    }

    fn coding(&self) -> ContentCoding {
        match self {
            Decoder::Inflate(inflate) => inflate.coding(),
            Decoder::Brotli(_) => ContentCoding::Br,
            Decoder::Zstd(_) => ContentCoding::Zstd,
        }
    }
}
