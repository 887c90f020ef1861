//! Properties of the codec over generated input.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::internals::{Event, Limits, Received, replay};

/// A request as a client would mean it.
#[derive(Clone, Debug)]
struct Meant {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// Lengths of chunks, in turn; empty for a Content-Length.
    chunks: Vec<usize>,
}

impl Meant {
    fn headers(&self) -> Vec<(String, String)> {
        let framing = if self.chunks.is_empty() {
            ("Content-Length".to_owned(), self.body.len().to_string())
        } else {
            ("Transfer-Encoding".to_owned(), "chunked".to_owned())
        };
        let host = ("Host".to_owned(), "localhost:8888".to_owned());
        [host]
            .into_iter()
            .chain(self.fields.clone())
            .chain([framing])
            .collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in self.headers() {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if self.chunks.is_empty() {
            out.extend_from_slice(&self.body);
            return out;
        }
        let mut rest = self.body.as_slice();
        for len in self.chunks.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at(rest.len().min(*len));
            out.extend_from_slice(format!("{:x};name=\"a b\"\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
            rest = tail;
        }
        out.extend_from_slice(b"0\r\ntrailer: dropped\r\n\r\n");
        out
    }

    /// What a connection makes of it, when it ends at this place of all that was sent.
    fn event(&self, end: usize) -> Event {
        Event::Request(Received {
            method: self.method.clone(),
            target: self.target.clone(),
            minor: 1,
            keep_alive: true,
            headers: self
                .headers()
                .into_iter()
                .map(|(name, value)| (name, value.into_bytes()))
                .collect(),
            body: self.body.clone(),
            end,
        })
    }
}

fn meant() -> impl Strategy<Value = Meant> {
    (
        "[A-Z]{1,8}".prop_filter("asks for a tunnel", |method| method != "CONNECT"),
        "/[a-z0-9/._~%-]{0,20}(\\?[a-z0-9=&+]{0,20})?",
        vec(("x-[a-zA-Z0-9]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..6),
        vec(any::<u8>(), 0..200),
        vec(1usize..40, 0..4),
    )
        .prop_map(|(method, target, fields, body, chunks)| Meant {
            method,
            target,
            fields,
            body,
            chunks,
        })
}

/// Pieces of `bytes` with these lengths, in turn.
fn split<'b>(bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let (mut rest, mut parts) = (bytes, Vec::new());
    for len in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, tail) = rest.split_at(rest.len().min(*len));
        parts.push(part);
        rest = tail;
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pipelined requests come out as they were meant, in order, each with its own bytes only.
    #[test]
    fn requests_round_trip_in_any_split(
        requests in vec(meant(), 1..5),
        lengths in vec(1usize..300, 1..6),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(Meant::bytes).collect();
        let mut end = 0;
        let expected: Vec<_> = requests
            .iter()
            .map(|meant| {
                end += meant.bytes().len();
                meant.event(end)
            })
            .collect();
        prop_assert_eq!(&replay([bytes.as_slice()], &Limits::default()), &expected);
        prop_assert_eq!(&replay(split(&bytes, &lengths), &Limits::default()), &expected);
    }

    /// However a body is cut into chunks, it is the same body.
    #[test]
    fn chunking_does_not_change_the_body(
        body in vec(any::<u8>(), 1..2000),
        chunks in vec(1usize..500, 1..10),
        lengths in vec(1usize..700, 1..6),
    ) {
        let request = |chunks| Meant {
            method: "POST".into(),
            target: "/".into(),
            fields: Vec::new(),
            body: body.clone(),
            chunks,
        };
        let meant = request(chunks);
        let bytes = meant.bytes();
        // Thousands of chunks have more in extensions than the default lets pass.
        let limits = Limits { max_head_bytes: 1 << 20, ..Limits::default() };
        prop_assert_eq!(replay(split(&bytes, &lengths), &limits), vec![meant.event(bytes.len())]);
    }

    /// A request that is cut short is neither served nor refused.
    #[test]
    fn a_prefix_is_incomplete(meant in meant(), cut in any::<prop::sample::Index>()) {
        let bytes = meant.bytes();
        let events = replay([&bytes[..cut.index(bytes.len())]], &Limits::default());
        prop_assert!(events.is_empty() || events == [Event::More], "{events:?}");
    }

    /// Nonsense is answered the same however it arrives, and never with a panic.
    #[test]
    fn any_bytes_in_any_split(
        bytes in vec(any::<u8>(), 0..300),
        lengths in vec(1usize..50, 1..6),
    ) {
        let limits = Limits { max_head_bytes: 128, max_headers: 4, max_body_bytes: 64 };
        prop_assert_eq!(replay(split(&bytes, &lengths), &limits), replay([bytes.as_slice()], &limits));
    }

    /// So is a request of which some bytes were changed, where faults are less obvious.
    #[test]
    fn damaged_requests_in_any_split(
        requests in vec(meant(), 1..3),
        damage in vec((any::<prop::sample::Index>(), prop::sample::select(DAMAGE)), 1..4),
        lengths in vec(1usize..50, 1..6),
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(Meant::bytes).collect();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let limits = Limits { max_head_bytes: 200, max_headers: 5, max_body_bytes: 150 };
        prop_assert_eq!(replay(split(&bytes, &lengths), &limits), replay([bytes.as_slice()], &limits));
    }
}

/// Bytes that mean something to some part of the codec.
const DAMAGE: &[u8] = b"\r\n\0 :;,\"=0f9xA\t\x80\xff";
