//! HTTP/1.1 without sockets: bytes in, requests out; replies in, bytes out.
//!
//! Nothing here reads a clock, a socket or a file, so every case can be replayed split at every
//! byte. One connection uses the room like this:
//!
//! ```text
//! loop {
//!     match decoder.decode(inbox, memo, &mut table, limits)? {
//!         Request(request) => answer it, then drop `request.consumed` bytes of the inbox,
//!         NeedMore { .. }  => read from the socket,
//!         Dechunk          => let len = decoder.dechunk(inbox, limits)?; truncate the inbox to len,
//!     }
//! }
//! ```
//!
//! A [`Reject`] ends the connection: send [`HeadEncoder::encode_reject`] behind the replies that
//! are still owed, then close. Where the next request begins is unknown after it.
//!
//! | file | holds |
//! |---|---|
//! | `decode` | the decoder: which part of a request is awaited, and nothing else |
//! | `head` | request line and header fields: what they mean for framing and persistence |
//! | `memo` | the head that came last: one that is the same is not parsed again |
//! | `lines` | where lines end, and what is wrong with those that do not parse |
//! | `target` | the four forms of a request target |
//! | `host` | hosts with ports |
//! | `marks` | which fields that concern the server, but not the framing, a request has |
//! | `chunked` | chunk framing, removed in place |
//! | `fault` | everything that can be wrong with a request, and the one table from fault to status |
//! | `encode` | heads of replies |
//!
//! Where the RFCs leave a choice between tolerance and one meaning, this codec takes the latter:
//! a message that a proxy in front might frame in another way is refused.

mod chunked;
mod decode;
mod encode;
mod fault;
mod head;
mod host;
mod lines;
mod marks;
mod memo;
mod target;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod replay;

pub(crate) use decode::{Decoded, Decoder, HeaderTable, Limits, MAX_HEADERS, Step};
pub(crate) use encode::{CONTINUE, Echo, HeadEncoder, Persistence, has_no_body};
pub(crate) use fault::Reject;
pub(crate) use marks::Marks;
pub(crate) use memo::HeadMemo;
