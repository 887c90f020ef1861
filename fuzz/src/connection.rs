//! A whole connection: several requests, split anywhere, under limits that are easily passed.

use snapback::internals::{Event, Limits, replay};

use crate::head::without_continue;
use crate::model;

/// How many bytes at the beginning tell where the others are split.
const SPLITS: usize = 4;

/// The first bytes are lengths of pieces, taken in turn, in which the others arrive.
///
/// # Panics
///
/// If the answer depends on how the bytes were split, the framing is not the model's, or a request
/// is served that is larger than it may be.
pub fn run(bytes: &[u8]) {
    let Some((lengths, bytes)) = bytes.split_first_chunk::<SPLITS>() else {
        return;
    };
    let limits = Limits {
        max_head_bytes: 200,
        max_headers: 6,
        max_body_bytes: 64,
    };
    let whole = replay([bytes], &limits);
    model::check(bytes, &whole);
    assert_eq!(
        without_continue(&whole),
        without_continue(&replay(pieces(bytes, lengths), &limits)),
        "in pieces of {lengths:?}: \"{}\"",
        bytes.escape_ascii()
    );
    for event in &whole {
        if let Event::Request(request) = event {
            assert!(request.headers.len() <= limits.max_headers, "{request}");
            assert!(request.body.len() <= limits.max_body_bytes, "{request}");
        }
    }
}

fn pieces<'b>(mut rest: &'b [u8], lengths: &[u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(usize::from(*length).clamp(1, rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
