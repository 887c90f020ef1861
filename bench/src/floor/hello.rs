//! The workload, from bytes to bytes: no sockets and no clock but the cached date.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

use crate::HELLO_PATH;

/// Answers requests of the workload; holds the head of the reply, with the date in it.
#[derive(Debug)]
pub(super) struct Hello {
    /// Up to the value of `Content-Length`.
    head: Vec<u8>,
    /// The second that the date in `head` tells, since the epoch of Unix.
    date_s: i64,
}

/// What became of a buffer of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Each complete request, `consumed` bytes of them, has its reply.
    All {
        /// Where the first incomplete request begins.
        consumed: usize,
    },
    /// Something is no HTTP request; its reply is the last one, and the connection must end.
    Malformed,
}

/// The row of the workload.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    foo: Cow<'a, str>,
    #[expect(
        dead_code,
        reason = "the workload parses and checks it, its reply has no use for it"
    )]
    bar: i64,
}

/// Headers of a request that are looked at; more than that is answered 400.
const MAX_HEADERS: usize = 32;

const BEFORE_DATE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: ";
const AFTER_DATE: &[u8] = b"\r\nContent-Length: ";
const BEFORE_LENGTH: &[u8] = b"\r\n\r\n{\"fooLength\":";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const BAD_BODY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
const MALFORMED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

impl Hello {
    pub(super) fn new() -> Hello {
        let mut hello = Hello {
            head: Vec::new(),
            date_s: i64::MIN,
        };
        hello.refresh_date();
        hello
    }

    /// Writes the date anew when its second has passed. Formatting it for each reply would cost
    /// 96 ns; reading the coarse clock once a turn costs 3.
    #[inline]
    pub(super) fn refresh_date(&mut self) {
        let now_s = clock_gettime(ClockId::RealtimeCoarse).tv_sec;
        if now_s != self.date_s {
            self.write_head(now_s);
        }
    }

    #[cold]
    fn write_head(&mut self, now_s: i64) {
        let since_epoch = Duration::from_secs(now_s.try_into().unwrap_or(0));
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch);
        self.head.clear();
        for part in [BEFORE_DATE, date.as_bytes(), AFTER_DATE] {
            self.head.extend_from_slice(part);
        }
        self.date_s = now_s;
    }

    /// Appends the reply of each complete request in `input` to `output`.
    #[inline]
    pub(super) fn answer(&self, input: &[u8], output: &mut Vec<u8>) -> Answered {
        let mut consumed = 0;
        while consumed < input.len() {
            match self.answer_one(&input[consumed..], output) {
                Ok(Some(length)) => consumed += length,
                Ok(None) => break,
                Err(Malformed) => {
                    output.extend_from_slice(MALFORMED);
                    return Answered::Malformed;
                }
            }
        }
        Answered::All { consumed }
    }

    /// Gives the length of the request, or nothing when its end is not there.
    #[inline]
    fn answer_one(&self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Malformed> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(input, &mut headers);
        let head_bytes = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed),
        };
        let body_bytes = content_length(request.headers)?;
        let Some(body) = input[head_bytes..].get(..body_bytes) else {
            return Ok(None);
        };
        if request.path == Some(HELLO_PATH) && request.method == Some("POST") {
            self.reply(body, output);
        } else {
            output.extend_from_slice(NOT_FOUND);
        }
        Ok(Some(head_bytes + body_bytes))
    }

    #[inline]
    fn reply(&self, body: &[u8], output: &mut Vec<u8>) {
        // Checking the text as a whole is cheaper than string by string, as `from_slice` does.
        let row = str::from_utf8(body)
            .ok()
            .and_then(|t| serde_json::from_str::<Row<'_>>(t).ok());
        let Some(row) = row else {
            output.extend_from_slice(BAD_BODY);
            return;
        };
        let mut digits = itoa::Buffer::new();
        let foo_length = digits.format(row.foo.len());
        // `{"fooLength":` and the closing brace around the digits.
        let body_bytes = 14 + foo_length.len();
        output.extend_from_slice(&self.head);
        output.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
        output.extend_from_slice(BEFORE_LENGTH);
        output.extend_from_slice(foo_length.as_bytes());
        output.push(b'}');
    }
}

/// The bytes are no HTTP request, or not one that can be told from the next.
struct Malformed;

#[inline]
fn content_length(headers: &[httparse::Header<'_>]) -> Result<usize, Malformed> {
    let mut length = None;
    for header in headers {
        // Only two names matter, and their lengths tell them from nearly all others.
        match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                if length.is_some() {
                    return Err(Malformed);
                }
                length = Some(decimal(header.value).ok_or(Malformed)?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => return Err(Malformed),
            _ => {}
        }
    }
    Ok(length.unwrap_or(0))
}

/// A number of digits alone: no sign, no spaces. Reading it by way of `str` costs 50 instructions
/// more.
#[inline]
fn decimal(text: &[u8]) -> Option<usize> {
    // Eight digits do not overflow, and are more than a request of the workload has.
    if text.is_empty() || text.len() > 8 {
        return None;
    }
    text.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + usize::from(digit))
    })
}
