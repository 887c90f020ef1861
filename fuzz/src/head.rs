//! The head of a request, whole and byte by byte.

use snapback::internals::{Event, Limits, replay};

use crate::model;

/// Any bytes as what a connection receives first.
///
/// # Panics
///
/// If the answer depends on how the bytes were split, or the framing is not the model's.
pub fn run(bytes: &[u8]) {
    let limits = Limits::default();
    let whole = replay([bytes], &limits);
    model::check(bytes, &whole);
    assert_eq!(
        without_continue(&whole),
        without_continue(&replay(bytes.chunks(1), &limits)),
        "byte by byte: \"{}\"",
        bytes.escape_ascii()
    );
    for event in &whole {
        if let Event::Request(request) = event {
            let targets = request.target.starts_with('/') || request.target == "*";
            assert!(targets, "{request}");
            assert!(request.headers.len() <= limits.max_headers, "{request}");
        }
    }
}

/// A 100 is sent only to a client that made the server wait, which depends on the split.
pub(crate) fn without_continue(events: &[Event]) -> Vec<&Event> {
    let says_more = |event: &&Event| **event != Event::Continue;
    events.iter().filter(says_more).collect()
}
