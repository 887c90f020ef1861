//! The head that was parsed last, so that one like it need not be parsed again.
//!
//! A client on a kept connection sends the same head with each request, byte by byte; so do many
//! clients of one make. To compare them costs a tenth of what parsing one costs.

use std::mem::ManuallyDrop;
use std::ops::Range;

use arrayvec::ArrayVec;

use super::head::{Framing, Head};
use super::marks::Marks;

/// A longer head is not remembered.
const MOST_BYTES: usize = 1 << 10;
/// Nor is one with more fields.
const MOST_FIELDS: usize = 24;
/// Whenever so many heads in a row were other ones than the remembered, each is different, and
/// remembering them costs more than it brings: then only each [`SELDOM`]th is.
const PATIENCE: u32 = 8;
const SELDOM: u32 = 64;

/// Where the fields of a head are listed when it is not parsed: nowhere initialised before there are some,
/// and never moved; the two cost 7 % of a request. Nothing in it is to be dropped, and a type that drops
/// nothing may be forgotten while what it borrows is changed.
pub(super) type RecalledFields<'b> = ManuallyDrop<ArrayVec<httparse::Header<'b>, MOST_FIELDS>>;

/// One head, and what parsing it gave.
///
/// What a head means depends on nothing but its bytes and the limits, so a memo belongs to one set
/// of limits; the connections of a partition share theirs.
#[derive(Debug, Default)]
pub(crate) struct HeadMemo {
    /// The bytes of the head up to its empty line; none when nothing is remembered. They are UTF-8,
    /// so that names, method and target are texts without a second look.
    text: String,
    meaning: Meaning,
    /// Names and values.
    fields: Vec<(Range<u16>, Range<u16>)>,
    /// How many heads in a row were others.
    misses: u32,
}

/// What is said of a head beside its fields.
#[derive(Debug, Default)]
struct Meaning {
    method: Range<u16>,
    target: Range<u16>,
    framing: Framing,
    minor: u8,
    keep_alive: bool,
    expects_continue: bool,
    marks: Marks,
    timeout_ms: u64,
}

impl HeadMemo {
    /// Whether the head that begins at `start` is the one that is remembered.
    #[inline]
    pub(super) fn knows(&self, buf: &[u8], start: usize) -> bool {
        let head = buf.get(start..start + self.text.len());
        !self.text.is_empty() && head == Some(self.text.as_bytes())
    }

    /// The remembered head, which [`knows`](Self::knows) has found at `start`.
    #[inline]
    pub(super) fn recall<'h, 'b>(
        &'b mut self,
        start: usize,
        recalled: &'h mut RecalledFields<'b>,
    ) -> Head<'h, 'b> {
        self.misses = 0;
        let HeadMemo {
            text,
            meaning,
            fields,
            ..
        } = self;
        recalled.clear();
        recalled.extend(fields.iter().map(|(name, value)| httparse::Header {
            name: part(text, name),
            value: bytes_of(text, value),
        }));
        Head {
            method: part(text, &meaning.method),
            target: part(text, &meaning.target),
            headers: recalled,
            minor: meaning.minor,
            end: start + text.len(),
            framing: meaning.framing,
            keep_alive: meaning.keep_alive,
            expects_continue: meaning.expects_continue,
            marks: meaning.marks,
            timeout_ms: meaning.timeout_ms,
        }
    }

    /// Takes note of a head that was parsed, which begins at `start`.
    #[inline]
    pub(super) fn note(&mut self, buf: &[u8], start: usize, head: &Head<'_, '_>) {
        self.misses = self.misses.wrapping_add(1);
        if self.misses <= PATIENCE || self.misses.is_multiple_of(SELDOM) {
            self.remember(buf, start, head);
        }
    }

    #[inline(never)]
    fn remember(&mut self, buf: &[u8], start: usize, head: &Head<'_, '_>) {
        self.text.clear();
        self.fields.clear();
        let Some(bytes) = buf.get(start..head.end) else {
            return;
        };
        let is_small = bytes.len() <= MOST_BYTES && head.headers.len() <= MOST_FIELDS;
        let (true, Ok(text)) = (is_small, std::str::from_utf8(bytes)) else {
            return;
        };
        let place = |part: &[u8]| place_in(bytes, part);
        // The path of an absolute target without one does not stand in it.
        let (Some(method), Some(target)) =
            (place(head.method.as_bytes()), place(head.target.as_bytes()))
        else {
            return;
        };
        for field in head.headers {
            let (Some(name), Some(value)) = (place(field.name.as_bytes()), place(field.value))
            else {
                return;
            };
            self.fields.push((name, value));
        }
        self.text.push_str(text);
        self.meaning = Meaning {
            method,
            target,
            framing: head.framing,
            minor: head.minor,
            keep_alive: head.keep_alive,
            expects_continue: head.expects_continue,
            marks: head.marks,
            timeout_ms: head.timeout_ms,
        };
    }
}

/// Where a part of the head lies in it.
fn place_in(head: &[u8], part: &[u8]) -> Option<Range<u16>> {
    if part.is_empty() {
        return Some(0..0);
    }
    let from = part.as_ptr().addr().checked_sub(head.as_ptr().addr())?;
    let to = from.checked_add(part.len())?;
    (to <= head.len()).then_some(())?;
    Some(u16::try_from(from).ok()?..u16::try_from(to).ok()?)
}

#[inline]
fn part<'b>(text: &'b str, place: &Range<u16>) -> &'b str {
    text.get(usize::from(place.start)..usize::from(place.end))
        .unwrap_or_default()
}

#[inline]
fn bytes_of<'b>(text: &'b str, place: &Range<u16>) -> &'b [u8] {
    let bytes = text.as_bytes();
    bytes
        .get(usize::from(place.start)..usize::from(place.end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, HeaderTable, Limits, Step};
    use super::*;

    /// What a decoder says of a request with this memo.
    fn decoded(memo: &mut HeadMemo, bytes: &[u8]) -> String {
        let mut table = HeaderTable::new();
        let step = Decoder::default().decode(bytes, memo, &mut table, &Limits::default());
        match step {
            Ok(Step::Request(request)) => format!("{request:?}"),
            other => format!("{other:?}"),
        }
    }

    const HEADS: [&str; 12] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "HEAD http://a/x HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n",
        "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nx-request-timeout-ms: 5\r\nempty:\r\n\r\n",
        "\r\nGET /\u{fc} HTTP/1.1\r\nHost: a\r\ntraceparent: \u{fc}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ];

    #[test]
    fn what_was_remembered_changes_nothing() {
        let fresh = HEADS.map(|head| decoded(&mut HeadMemo::default(), head.as_bytes()));
        for before in HEADS {
            let mut memo = HeadMemo::default();
            for (head, fresh) in HEADS.iter().zip(&fresh) {
                decoded(&mut memo, before.as_bytes());
                for _ in 0..2 {
                    assert_eq!(decoded(&mut memo, head.as_bytes()), *fresh, "{before:?}");
                }
            }
        }
    }

    #[test]
    fn a_head_is_known_by_all_of_its_bytes() {
        let mut memo = HeadMemo::default();
        let request = HEADS[4].as_bytes();
        assert!(!memo.knows(request, 0), "nothing is remembered");
        decoded(&mut memo, request);
        assert!(memo.knows(request, 0));
        assert!(memo.knows(&[b"\r\n", request].concat(), 2));
        let head_bytes = request.len() - 3;
        assert!(memo.knows(&request[..head_bytes], 0));
        assert!(!memo.knows(&request[..head_bytes - 1], 0));
        for at in 0..head_bytes {
            let mut other = request.to_vec();
            other[at] ^= 0x20;
            assert!(!memo.knows(&other, 0), "byte {at}");
        }
    }

    #[test]
    fn where_each_head_is_another_one_few_are_remembered() {
        let mut memo = HeadMemo::default();
        let mut remembered = 0;
        for number in 0..1000 {
            let request = format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n");
            decoded(&mut memo, request.as_bytes());
            remembered += u32::from(memo.knows(request.as_bytes(), 0));
        }
        assert_eq!(remembered, PATIENCE + 1000 / SELDOM);
        let same = HEADS[0].as_bytes();
        for _ in 0..SELDOM {
            decoded(&mut memo, same);
        }
        assert!(memo.knows(same, 0), "one that repeats is soon found");
    }

    #[test]
    fn what_is_large_is_not_remembered() {
        let fields = "a: b\r\n".repeat(MOST_FIELDS);
        let long = "a".repeat(MOST_BYTES);
        for request in [
            format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let mut memo = HeadMemo::default();
            let first = decoded(&mut memo, request.as_bytes());
            assert!(first.starts_with("Decoded"), "{first}");
            assert!(!memo.knows(request.as_bytes(), 0));
            assert_eq!(decoded(&mut memo, request.as_bytes()), first);
        }
    }
}
