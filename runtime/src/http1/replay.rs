//! Replays the cases of `tests/wire/` in every split, behind other requests, and before others.

use std::collections::BTreeSet;

use crate::internals::{Event, Limits, replay};

/// Beside the cases lies what reads them, since tests over sockets read them too.
#[path = "../../tests/wire/mod.rs"]
mod wire;

use wire::{Case, NEIGHBOUR};

/// How many cases there are at least that send something of their own, so that none is lost unseen.
const CASES: usize = 690;

/// What the codec makes of the request before or behind a case.
const NEIGHBOUR_SERVED: &str = "GET /neighbour HTTP/1.1 keep-alive {Host: a} \"\"";

/// A 100 is sent only to a client that made the server wait, which depends on the split.
fn without_continue(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| *event != Event::Continue);
    events
}

/// Replays `bytes` whole, split at every byte, and byte by byte; all must tell the same.
fn replay_all_splits(bytes: &[u8], limits: &Limits) -> Vec<Event> {
    let whole = replay([bytes], limits);
    let expected = without_continue(whole.clone());
    for at in 0..=bytes.len() {
        let (first, rest) = bytes.split_at(at);
        let split = without_continue(replay([first, rest], limits));
        assert_eq!(split, expected, "split behind \"{}\"", first.escape_ascii());
    }
    let single = without_continue(replay(bytes.chunks(1), limits));
    assert_eq!(single, expected, "byte by byte");
    whole
}

fn limits(case: &Case) -> Limits {
    let usual = Limits::default();
    Limits {
        max_head_bytes: case.max_head_bytes.unwrap_or(usual.max_head_bytes),
        max_headers: case.max_headers.unwrap_or(usual.max_headers),
        max_body_bytes: case.max_body_bytes.unwrap_or(usual.max_body_bytes),
    }
}

fn lines(events: &[Event]) -> Vec<String> {
    events.iter().map(Event::to_string).collect()
}

/// Runs `got` for every case, and fails with all that is not as `expected`.
fn check(got: impl Fn(&Case) -> Vec<String>, expected: impl Fn(&Case) -> Option<Vec<String>>) {
    let cases = Case::all();
    let distinct: BTreeSet<_> = cases.iter().map(|case| case.bytes.as_slice()).collect();
    assert!(distinct.len() >= CASES, "only {} cases", distinct.len());
    let mut failures = Vec::new();
    for case in &cases {
        let Some(expected) = expected(case) else {
            continue;
        };
        let Ok(got) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| got(case))) else {
            failures.push(format!("{}\n  panics\n", case.place));
            continue;
        };
        if got != expected {
            let (expected, got) = (expected.join("\n    "), got.join("\n    "));
            let place = &case.place;
            failures.push(format!(
                "{place}\n  expected\n    {expected}\n  got\n    {got}\n"
            ));
        }
    }
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} failures\n{}",
        failures.join("\n")
    );
}

#[test]
fn every_wire_case_in_every_split() {
    check(
        |case| lines(&replay_all_splits(&case.bytes, &limits(case))),
        |case| Some(case.expected.clone()),
    );
}

/// What was served before changes nothing.
#[test]
fn every_wire_case_behind_a_request() {
    let fits = |case: &Case| case.max_head_bytes.is_none_or(|max| max >= NEIGHBOUR.len());
    check(
        |case| {
            let bytes = [NEIGHBOUR, &case.bytes].concat();
            lines(&replay_all_splits(&bytes, &limits(case)))
        },
        |case| {
            let neighbour = [NEIGHBOUR_SERVED.to_owned()];
            fits(case).then(|| [&neighbour, case.expected.as_slice()].concat())
        },
    );
}

/// Behind a refusal nothing is served, whatever it looks like; behind a whole request the next one.
#[test]
fn every_wire_case_before_a_request() {
    let fits = |case: &Case| case.max_head_bytes.is_none_or(|max| max >= NEIGHBOUR.len());
    let ends_whole = |case: &Case| !matches!(case.expected.last(), Some(last) if last == "more");
    check(
        |case| {
            let bytes = [&case.bytes, NEIGHBOUR].concat();
            lines(&replay([bytes.as_slice()], &limits(case)))
        },
        |case| {
            let mut expected = case.expected.clone();
            if !is_refused(case) {
                expected.push(NEIGHBOUR_SERVED.to_owned());
            }
            (fits(case) && ends_whole(case)).then_some(expected)
        },
    );
}

fn is_refused(case: &Case) -> bool {
    let last = case.expected.last().expect("a case expects something");
    last.starts_with(|c: char| c.is_ascii_digit())
}

/// Bodies, and what stands behind a refusal, hold requests to `/smuggled`; none is ever served.
#[test]
fn no_byte_of_a_body_is_a_request() {
    let cases = Case::all();
    let traps = cases
        .iter()
        .filter(|case| case.bytes.windows(9).any(|bytes| bytes == b"/smuggled"));
    let mut count = 0;
    for case in traps {
        count += 1;
        let limits = limits(case);
        let splits = [case.bytes.len(), 1, 2, 3, 5, 7, 11, 64];
        for events in splits.map(|bytes| replay(case.bytes.chunks(bytes), &limits)) {
            let is_smuggled = |event: &Event| matches!(event, Event::Request(request) if request.target.contains("/smuggled"));
            assert!(!events.iter().any(is_smuggled), "{}", case.place);
        }
    }
    assert!(
        count >= TRAPS,
        "only {count} cases hold a request in a body"
    );
}

/// How many cases try to smuggle at least.
const TRAPS: usize = 150;

/// Byte by byte each request that expects a 100 makes the server wait exactly once.
#[test]
fn a_client_that_waits_is_told_once() {
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let both = [request.as_slice(), chunked, request].concat();
    let events = replay(both.chunks(1), &Limits::default());
    let shown: Vec<_> = events
        .iter()
        .map(|event| matches!(event, Event::Continue))
        .collect();
    assert_eq!(shown, [true, false, true, false, true, false]);
    // Whoever sends the body at once does not wait.
    let events = replay([both.as_slice()], &Limits::default());
    assert!(
        events.len() == 3 && !events.contains(&Event::Continue),
        "{events:?}"
    );
}
