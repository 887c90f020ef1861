//! A chunked body behind a head that is well.

use snapback::internals::{Limits, replay};

use crate::head::without_continue;
use crate::model;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The first byte tells how long the pieces are in which the others arrive as a body.
///
/// # Panics
///
/// If the answer depends on how the bytes were split, the framing is not the model's, or a body is
/// longer than it may be.
pub fn run(bytes: &[u8]) {
    let Some((piece_bytes, body)) = bytes.split_first() else {
        return;
    };
    let limits = Limits {
        max_body_bytes: 100,
        ..Limits::default()
    };
    let bytes = [HEAD, body].concat();
    let whole = replay([bytes.as_slice()], &limits);
    model::check(&bytes, &whole);
    let piece_bytes = usize::from(*piece_bytes).max(1);
    for piece_bytes in [1, piece_bytes] {
        let pieces = [HEAD].into_iter().chain(body.chunks(piece_bytes));
        assert_eq!(
            without_continue(&whole),
            without_continue(&replay(pieces, &limits)),
            "in pieces of {piece_bytes}: \"{}\"",
            body.escape_ascii()
        );
    }
}
