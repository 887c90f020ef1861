//! `gzip` and `deflate`.

use flate2::{Decompress, FlushDecompress, Status};

use super::decoding::Step;
use super::{ContentCoding, Fault};

/// The window of the format, as a power of two.
const WINDOW_BITS: u8 = 15;

pub(super) struct Inflate {
    decompress: Decompress,
    coding: ContentCoding,
}

impl Inflate {
    pub(super) fn gzip() -> Self {
        Inflate {
            decompress: Decompress::new_gzip(WINDOW_BITS),
            coding: ContentCoding::Gzip,
        }
    }

    /// A body that begins like this: by a zlib header, or else it is taken for bare deflate data.
    pub(super) fn deflate(start: &[u8]) -> Self {
        Inflate {
            decompress: Decompress::new(has_zlib_header(start)),
            coding: ContentCoding::Deflate,
        }
    }

    pub(super) fn coding(&self) -> ContentCoding {
        self.coding
    }

    pub(super) fn step(
        &mut self,
        rest: &[u8],
        output: &mut Vec<u8>,
        room: usize,
    ) -> Result<Step, Fault> {
        let coding = self.coding;
        let (read, written) = (self.decompress.total_in(), self.decompress.total_out());
        let start = output.len();
        output.resize(start + room, 0);
        // What makes no output is bounded too: headers, and blocks with nothing in them.
        let rest = &rest[..rest.len().min(room.max(1 << 10))];
        let status = self
            .decompress
            .decompress(rest, &mut output[start..], FlushDecompress::None);
        let written = self.decompress.total_out() - written;
        output.truncate(start + written as usize);
        let status = status.map_err(|_| Fault::Malformed { coding })?;
        Ok(Step {
            consumed: (self.decompress.total_in() - read) as usize,
            cost_bytes: written as usize,
            is_end: status == Status::StreamEnd,
        })
    }

    /// A gzip file may have several members (RFC 1952, section 2.2).
    pub(super) fn begin_next_member(&mut self) -> bool {
        let may_follow = self.coding == ContentCoding::Gzip;
        if may_follow {
            self.decompress = Decompress::new_gzip(WINDOW_BITS);
        }
        may_follow
    }
}

/// The check of RFC 1950, section 2.2, over the two bytes of a zlib header.
fn has_zlib_header(start: &[u8]) -> bool {
    match start {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}
