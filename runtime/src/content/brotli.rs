//! `br`.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::decoding::Step;
use super::{ContentCoding, Fault};

/// The largest window that is served, as a power of two. The format knows larger ones, but the
/// decoder gives nothing before its window is full, and a turn would wait for that.
const MAX_WINDOW_BITS: u32 = 22;

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

#[derive(Default)]
pub(super) struct Brotli {
    /// `None` before the first step.
    state: Option<Box<State>>,
}

impl Brotli {
    pub(super) fn step(
        &mut self,
        rest: &[u8],
        output: &mut Vec<u8>,
        room: usize,
    ) -> Result<Step, Fault> {
        let state = match &mut self.state {
            Some(state) => state,
            None => self.state.insert(begin(rest)?),
        };
        let (start, before) = (output.len(), decoded_bytes(state));
        output.resize(start + room, 0);
        let rest = &rest[..rest.len().min(room.max(1 << 10))];
        let (mut available_in, mut consumed) = (rest.len(), 0);
        let (mut available_out, mut written, mut total) = (room, 0, 0);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut consumed,
            rest,
            &mut available_out,
            &mut written,
            &mut output[start..],
            &mut total,
            state,
        );
        output.truncate(start + written);
        if matches!(result, BrotliResult::ResultFailure) {
            return Err(Fault::Malformed {
                coding: ContentCoding::Br,
            });
        }
        Ok(Step {
            consumed,
            // What waits in the window was decoded all the same.
            cost_bytes: decoded_bytes(state).saturating_sub(before),
            is_end: matches!(result, BrotliResult::ResultSuccess),
        })
    }
}

/// How much was decoded, whether it was given out or not.
fn decoded_bytes(state: &State) -> usize {
    let rounds = state.rb_roundtrips as usize;
    rounds.saturating_mul(state.ringbuffer_size as usize) + state.pos as usize
}

fn begin(start: &[u8]) -> Result<Box<State>, Fault> {
    let window_bits = window_bits(start).ok_or(Fault::Malformed {
        coding: ContentCoding::Br,
    })?;
    if window_bits > MAX_WINDOW_BITS {
        return Err(Fault::Window {
            coding: ContentCoding::Br,
            window_bytes: 1 << window_bits,
            limit_bytes: 1 << MAX_WINDOW_BITS,
        });
    }
    let alloc = StandardAlloc::default;
    Ok(Box::new(State::new_strict(alloc(), alloc(), alloc())))
}

/// The window of a stream, as a power of two (RFC 7932, section 9.1); `None` for the large windows
/// that the RFC does not know.
fn window_bits(start: &[u8]) -> Option<u32> {
    let bits = u32::from(*start.first()?);
    Some(match (bits & 1, bits >> 1 & 7, bits >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, 1) => return None,
        (_, 0, n) => 8 + n,
        (_, n, _) => 17 + n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 7932, section 9.1.
    #[test]
    fn windows_are_read_from_the_first_byte() {
        for (byte, bits) in [
            (0b000_0000, Some(16)),
            (0b000_0001, Some(17)),
            (0b000_0011, Some(18)),
            (0b000_1001, Some(21)),
            (0b000_1011, Some(22)),
            (0b000_1111, Some(24)),
            (0b010_0001, Some(10)),
            (0b111_0001, Some(15)),
            (0b001_0001, None),
        ] {
            assert_eq!(window_bits(&[byte]), bits, "{byte:#b}");
        }
        assert_eq!(window_bits(&[]), None);
    }
}
