//! Replies, from bytes to what the load generator needs of them: where each ends, whether it is
//! the expected one.

use std::ops::Range;

use memchr::memchr2;

use super::chunks;

/// Where a reply lies in a buffer that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 100 to 999. Interim replies (1xx) are skipped, never given.
    pub status: u16,
    /// Where its body lies, with the framing of its chunks when it comes in such.
    pub body: Range<usize>,
    /// Whether it comes in chunks.
    pub is_chunked: bool,
    /// Whether the server will close the connection after it.
    pub closes: bool,
    /// Whether it says when to ask again (`Retry-After`).
    pub retry_after: bool,
}

impl Reply {
    /// Whether its body, which is `body` as it was sent, says what is expected.
    #[inline]
    pub fn says(&self, body: &[u8], expected: &[u8]) -> bool {
        if !self.is_chunked {
            return body == expected;
        }
        let mut rest = Some(expected);
        let walked = chunks::walk(body, |chunk| {
            rest = rest.and_then(|rest| rest.strip_prefix(chunk));
        });
        walked.is_ok() && rest == Some(b"")
    }
}

/// Bytes that are no HTTP/1 reply, or one whose end cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent what is no HTTP/1 reply with a Content-Length or in chunks")]
pub struct MalformedReply;

/// Headers of a reply; more than that is malformed.
const MAX_HEADERS: usize = 64;

/// Finds replies, one after the other. One that is like the one before but for the values of fields
/// that say nothing to a load generator, such as dates and ids, is not parsed again. So a server whose
/// replies differ costs the generator no more than one whose replies are all the same, and is not
/// measured as slower for it (250 ns a request).
#[derive(Debug, Default)]
pub struct ReplyParser {
    last: Option<Parsed>,
}

/// A reply, and which of its bytes another like it may have otherwise.
#[derive(Debug)]
struct Parsed {
    bytes: Vec<u8>,
    /// In their order, inside of lines.
    varying: Vec<Range<usize>>,
    reply: Reply,
}

impl Parsed {
    /// Whether `input` begins with a reply that means the same. Where a value has another length, or
    /// holds the end of a line, it is not looked at.
    #[inline]
    fn is_like(&self, input: &[u8]) -> bool {
        let Some(input) = input.get(..self.bytes.len()) else {
            return false;
        };
        let mut from = 0;
        for varying in &self.varying {
            let before = from..varying.start;
            if input[before.clone()] != self.bytes[before]
                || memchr2(b'\r', b'\n', &input[varying.clone()]).is_some()
            {
                return false;
            }
            from = varying.end;
        }
        input[from..] == self.bytes[from..]
    }
}

impl ReplyParser {
    /// The reply that `input` begins with, or nothing when its end has not arrived. It takes
    /// [`Reply::body`]`.end` bytes.
    ///
    /// # Errors
    /// What is there is no reply, or one whose status has a body but that does not say where it ends.
    #[inline]
    pub fn parse(&mut self, input: &[u8]) -> Result<Option<&Reply>, MalformedReply> {
        if !self.last.as_ref().is_some_and(|last| last.is_like(input)) {
            let Some(parsed) = parse(input)? else {
                return Ok(None);
            };
            self.last = Some(parsed);
        }
        Ok(self.last.as_ref().map(|last| &last.reply))
    }
}

fn parse(input: &[u8]) -> Result<Option<Parsed>, MalformedReply> {
    let mut begin = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&input[begin..]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(MalformedReply),
        };
        begin += length;
        let status = head.code.ok_or(MalformedReply)?;
        if status < 200 {
            continue;
        }
        let framing = Framing::of(head.headers, head.version == Some(0))?;
        let body_bytes = match (status, framing.content_length) {
            (204 | 304, _) => 0,
            _ if framing.is_chunked => match chunks::walk(&input[begin..], |_| {})? {
                Some(length) => length,
                None => return Ok(None),
            },
            (_, Some(length)) => length,
            (_, None) => return Err(MalformedReply),
        };
        let end = begin.checked_add(body_bytes).ok_or(MalformedReply)?;
        if end > input.len() {
            return Ok(None);
        }
        let says_nothing = head
            .headers
            .iter()
            .filter(|header| !is_framing(header.name));
        let varying = says_nothing.filter(|header| !header.value.is_empty());
        let varying = varying.map(|header| {
            let start = header.value.as_ptr().addr() - input.as_ptr().addr();
            start..start + header.value.len()
        });
        return Ok(Some(Parsed {
            varying: varying.collect(),
            bytes: input[..end].to_vec(),
            reply: Reply {
                status,
                body: begin..end,
                is_chunked: framing.is_chunked,
                closes: framing.closes,
                retry_after: framing.retry_after,
            },
        }));
    }
}

/// The fields that [`Framing`] looks at.
const FRAMING: [&str; 4] = [
    "content-length",
    "connection",
    "retry-after",
    "transfer-encoding",
];

fn is_framing(name: &str) -> bool {
    FRAMING.iter().any(|field| name.eq_ignore_ascii_case(field))
}

struct Framing {
    content_length: Option<usize>,
    is_chunked: bool,
    closes: bool,
    retry_after: bool,
}

impl Framing {
    fn of(headers: &[httparse::Header<'_>], http10: bool) -> Result<Framing, MalformedReply> {
        let mut framing = Framing {
            content_length: None,
            is_chunked: false,
            closes: http10,
            retry_after: false,
        };
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = str::from_utf8(header.value).map_err(|_| MalformedReply)?;
                framing.content_length = Some(text.trim().parse().map_err(|_| MalformedReply)?);
            } else if header.name.eq_ignore_ascii_case("connection") {
                framing.closes = header.value.eq_ignore_ascii_case(b"close")
                    || (http10 && !header.value.eq_ignore_ascii_case(b"keep-alive"));
            } else if header.name.eq_ignore_ascii_case("retry-after") {
                // Of its two forms only the seconds; a date would need a clock to be checked.
                framing.retry_after =
                    !header.value.is_empty() && header.value.iter().all(u8::is_ascii_digit);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(MalformedReply);
                }
                framing.is_chunked = true;
            }
        }
        Ok(framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `input` as it arrives, cut at every byte, and gives the replies, which must be the
    /// same for every cut.
    fn check(input: &str, expect: Result<&[(u16, &str, bool)], MalformedReply>) {
        let bytes = input.as_bytes();
        let whole = all(&[bytes]);
        let expect = expect.map(|replies| {
            let owned = |&(status, body, closes): &(u16, &str, bool)| (status, body.into(), closes);
            replies.iter().map(owned).collect::<Vec<_>>()
        });
        assert_eq!(whole, expect, "{input:?}");
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(all(&[head, tail]), expect, "{input:?} cut at {cut}");
        }
    }

    fn all(parts: &[&[u8]]) -> Result<Vec<(u16, String, bool)>, MalformedReply> {
        let mut parser = ReplyParser::default();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for part in parts {
            buffer.extend_from_slice(part);
            while let Some(reply) = parser.parse(&buffer)? {
                let body = String::from_utf8_lossy(&buffer[reply.body.clone()]).into_owned();
                let end = reply.body.end;
                found.push((reply.status, body, reply.closes));
                buffer.drain(..end);
            }
        }
        Ok(found)
    }

    #[test]
    fn replies_are_found_wherever_they_are_cut() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            Ok(&[(200, "hi", false)]),
        );
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Ok(&[(200, "", false)]),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok(&[(204, "", false)]));
        check(
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            Ok(&[(304, "", false)]),
        );
        check(
            "HTTP/1.1 503 Busy\r\nConnection: Close\r\nContent-Length: 4\r\n\r\nbusy",
            Ok(&[(503, "busy", true)]),
        );
        check(
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
            Ok(&[(200, "x", true)]),
        );
        check(
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            Ok(&[(200, "x", false)]),
        );
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            Ok(&[(200, "x", false)]),
        );
    }

    #[test]
    fn chunked_replies_say_what_their_chunks_say() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunks = "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        check(
            &format!("{head}{chunks}{head}{chunks}"),
            Ok(&[(200, chunks, false); 2]),
        );
        let bytes = format!("{head}{chunks}");
        let mut parser = ReplyParser::default();
        let reply = parser
            .parse(bytes.as_bytes())
            .expect("a reply")
            .expect("a whole one");
        let body = &bytes.as_bytes()[reply.body.clone()];
        for (expected, says) in [
            ("hello", true),
            ("hell", false),
            ("hello!", false),
            ("", false),
        ] {
            assert_eq!(reply.says(body, expected.as_bytes()), says, "{expected}");
        }
    }

    #[test]
    fn pipelined_replies_are_told_apart() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhoHTTP/1.1 204 No Content\r\n\r\n",
            Ok(&[
                (200, "hi", false),
                (200, "hi", false),
                (200, "ho", false),
                (204, "", false),
            ]),
        );
    }

    /// Whether the second reply is taken for one like the first, and what it is then.
    fn seen_after(first: &str, second: &str) -> (bool, Result<Option<Reply>, MalformedReply>) {
        let mut parser = ReplyParser::default();
        assert!(
            matches!(parser.parse(first.as_bytes()), Ok(Some(_))),
            "{first:?}"
        );
        let last = parser.last.as_ref();
        let is_like = last.is_some_and(|last| last.is_like(second.as_bytes()));
        let reply = parser.parse(second.as_bytes());
        (is_like, reply.map(|reply| reply.cloned()))
    }

    #[test]
    fn what_is_like_the_last_reply_means_the_same() {
        let reply = |date: &str, id: &str, end: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nDate: {date}\r\nx-id:{id}\r\nx-empty:\r\nContent-Length: {end}"
            )
        };
        let first = reply("Monday", "7-41", "2\r\n\r\nhi");
        for (second, expected) in [
            (first.clone(), true),
            (reply("Friday", "7-42", "2\r\n\r\nhi"), true),
            (reply("Monday", "7-100", "2\r\n\r\nhi"), false),
            (reply("Monday", "7-41", "2\r\n\r\nho"), false),
            (reply("Monday", "7-41", "1\r\n\r\nhi"), false),
            (reply("\r\na: b", "7-41", "2\r\n\r\nhi"), false),
            (reply("Monday", "7-41", "2\r\n\r\nh"), false),
            (reply("Monday", "7-41", "x\r\n\r\nhi"), false),
        ] {
            let fresh = ReplyParser::default()
                .parse(second.as_bytes())
                .map(|it| it.cloned());
            assert_eq!(seen_after(&first, &second), (expected, fresh), "{second:?}");
        }
        let closes = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let stays = closes.replace("close", "other");
        let (is_like, reply) = seen_after(closes, &stays);
        assert!(!is_like && reply.is_ok_and(|reply| reply.is_some_and(|reply| !reply.closes)));
    }

    #[test]
    fn a_reply_says_when_to_ask_again_or_does_not() {
        let says = |header: &str| {
            let bytes = format!("HTTP/1.1 503 Busy\r\n{header}Content-Length: 0\r\n\r\n");
            parse(bytes.as_bytes()).map(|parsed| parsed.map(|parsed| parsed.reply.retry_after))
        };
        assert_eq!(says("Retry-After: 1\r\n"), Ok(Some(true)));
        assert_eq!(says("Retry-After: soon\r\n"), Ok(Some(false)));
        assert_eq!(says(""), Ok(Some(false)));
    }

    #[test]
    fn what_has_no_end_is_malformed() {
        check("HTTP/1.1 200 OK\r\n\r\n", Err(MalformedReply));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
            Err(MalformedReply),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            Err(MalformedReply),
        );
        check("SSH-2.0-x\r\n", Err(MalformedReply));
    }
}
