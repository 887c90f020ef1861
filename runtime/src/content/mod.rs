//! Content codings: the bodies of requests that were sent compressed (RFC 9110, section 8.4).
//!
//! Nothing here reads a socket or a clock. The codec hands over a whole body, without its framing;
//! it is decoded slice by slice, so that whoever drives it can look after others in between:
//!
//! ```text
//! let mut decoding = Decoding::new(codings_of(content_encoding, accepted)?, limit);
//! while !decoding.run(body, &mut budget)? { give the others their turn }
//! decoding.body()
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `coding` | the names of the codings, and what a `Content-Encoding` asks for |
//! | `decoding` | one body on its way through its codings |
//! | `inflate`, `brotli`, `zstd` | one decoder each, around a library |
//! | `fault` | everything that can be wrong with an encoded body, and its status |
//!
//! A body may grow as far as `maxRequestBytes` and not a byte further: what would come behind is not
//! decoded, so a bomb costs what a body of the largest size costs. The memory of one body is what
//! was received, what was decoded of it, with several codings one stage between, and the decoder:
//! at most [`MAX_WINDOW_BYTES`] and some tables.

mod brotli;
mod coding;
mod decoding;
mod fault;
mod inflate;
mod zstd;

#[cfg(test)]
mod tests;

pub use coding::ContentCoding;
pub(crate) use coding::{codings_of, names_of};
pub(crate) use decoding::Decoding;
pub(crate) use fault::Fault;

/// How many codings one body may have. More than two serve nobody but those who attack.
pub(crate) const MAX_CODINGS: usize = 3;

/// The largest window of a `zstd` body, the one that RFC 9659 asks for.
const MAX_WINDOW_BYTES: u64 = 8 << 20;
