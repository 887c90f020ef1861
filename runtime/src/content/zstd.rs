//! `zstd`.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::decoding::Step;
use super::{ContentCoding, Fault, MAX_WINDOW_BYTES};

const CODING: ContentCoding = ContentCoding::Zstd;
/// The magic number and the length of a skippable frame (RFC 8878, section 3.1.2).
const SKIPPABLE_HEADER_BYTES: usize = 8;

/// A block has this many decoded bytes at most (RFC 8878, section 3.1.1.2.4).
const BLOCK_BYTES: usize = 128 << 10;
/// What a compressed block costs at least, though little may be in it.
const BLOCK_COST_BYTES: usize = 16 << 10;

/// Frames, one behind the other. A step decodes one block.
pub(super) struct Zstd {
    frame: FrameDecoder,
    is_in_frame: bool,
    /// How many bytes of the frame were given out.
    given_bytes: u64,
}

impl Default for Zstd {
    fn default() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(MAX_WINDOW_BYTES);
        Zstd {
            frame,
            is_in_frame: false,
            given_bytes: 0,
        }
    }
}

impl Zstd {
    /// How much of the frame is still to come, as far as its header tells.
    pub(super) fn announced_bytes(&self) -> u64 {
        if self.is_in_frame {
            self.frame.content_size().saturating_sub(self.given_bytes)
        } else {
            0
        }
    }

    pub(super) fn step(&mut self, mut rest: &[u8], output: &mut Vec<u8>) -> Result<Step, Fault> {
        if rest.is_empty() {
            return Err(Fault::Truncated { coding: CODING });
        }
        if !self.is_in_frame {
            return self.begin_frame(rest);
        }
        let (before, block_bytes) = (rest.len(), block_cost(rest));
        self.frame
            .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|error| fault(&error, rest))?;
        let start = output.len();
        self.frame
            .collect_to_writer(&mut *output)
            .map_err(|_| Fault::Malformed { coding: CODING })?;
        let given_bytes = output.len() - start;
        self.given_bytes += given_bytes as u64;
        let is_end = self.frame.is_finished();
        if is_end {
            self.end_frame()?;
        }
        Ok(Step {
            consumed: before - rest.len(),
            // Giving it out copies it and works out its checksum.
            cost_bytes: block_bytes + given_bytes / 4,
            is_end,
        })
    }

    fn begin_frame(&mut self, mut rest: &[u8]) -> Result<Step, Fault> {
        let before = rest.len();
        let (consumed, is_end) = match self.frame.reset(&mut rest) {
            Ok(()) => {
                self.is_in_frame = true;
                self.given_bytes = 0;
                (before - rest.len(), false)
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => (SKIPPABLE_HEADER_BYTES.saturating_add(length as usize), true),
            Err(error) => return Err(fault(&error, rest)),
        };
        if consumed > before {
            return Err(Fault::Truncated { coding: CODING });
        }
        Ok(Step {
            consumed,
            cost_bytes: 0,
            is_end,
        })
    }

    /// The library compares neither the checksum nor the size that the header states.
    fn end_frame(&mut self) -> Result<(), Fault> {
        self.is_in_frame = false;
        let (stated_bytes, stated) = (
            self.frame.content_size(),
            self.frame.get_checksum_from_data(),
        );
        let is_other_size = stated_bytes != 0 && stated_bytes != self.given_bytes;
        let is_damaged = stated.is_some() && stated != self.frame.get_calculated_checksum();
        if is_other_size || is_damaged {
            return Err(Fault::Malformed { coding: CODING });
        }
        Ok(())
    }
}

/// What decoding the next block costs, in bytes of a stream that is decoded at the usual pace. How
/// many bytes it makes is not known before, and not shown after: they stay in the window at first.
fn block_cost(rest: &[u8]) -> usize {
    let [low, middle, high, ..] = *rest else {
        return 0;
    };
    let header = u32::from_le_bytes([low, middle, high, 0]);
    let (kind, size) = (header >> 1 & 3, (header >> 3) as usize);
    match kind {
        // Bytes as they are, and one byte again and again: they are only copied.
        0 | 1 => size / 4,
        _ => BLOCK_COST_BYTES.saturating_add(4 * size).min(BLOCK_BYTES),
    }
}

/// What an error of the library is; `rest` is what was not read when it happened.
fn fault(error: &FrameDecoderError, rest: &[u8]) -> Fault {
    match error {
        FrameDecoderError::WindowSizeTooBig { requested, .. } => Fault::Window {
            coding: CODING,
            window_bytes: *requested,
            limit_bytes: MAX_WINDOW_BYTES,
        },
        _ if rest.is_empty() => Fault::Truncated { coding: CODING },
        _ => Fault::Malformed { coding: CODING },
    }
}
