//! The lines of a head that is not whole or not well: where they end, and what is wrong with them.

use memchr::{memchr, memchr_iter};

use super::decode::Limits;
use super::fault::{Reject, shown};

/// How many empty lines may stand before a request line (RFC 9112, section 2.2, asks for one).
const MAX_EMPTY_LINES: usize = 4;

/// Where the request line begins: behind a few empty lines (RFC 9112, section 2.2).
///
/// # Errors
///
/// Too many of them, or a CR or LF alone.
#[inline]
pub(super) fn skip_empty_lines(buf: &[u8]) -> Result<usize, Reject> {
    match buf.first() {
        Some(b'\r' | b'\n') => skip_some_empty_lines(buf),
        _ => Ok(0),
    }
}

#[cold]
fn skip_some_empty_lines(buf: &[u8]) -> Result<usize, Reject> {
    let mut start = 0;
    loop {
        match &buf[start..] {
            [b'\r', b'\n', ..] if start == 2 * MAX_EMPTY_LINES => {
                return Err(Reject::EmptyLines {
                    limit: MAX_EMPTY_LINES,
                });
            }
            [b'\r', b'\n', ..] => start += 2,
            [b'\n', ..] | [b'\r', _, ..] => return Err(Reject::LineBreak),
            _ => return Ok(start),
        }
    }
}

/// The end of the first empty line that follows a line end at or behind `from`.
///
/// # Errors
///
/// There is none yet; the error is from where to look again when more has arrived.
pub(super) fn end_of_lines(buf: &[u8], from: usize) -> Result<usize, usize> {
    for at in memchr_iter(b'\n', &buf[from..]) {
        let at = from + at;
        match &buf[at + 1..] {
            [b'\n', ..] => return Ok(at + 2),
            [b'\r', b'\n', ..] => return Ok(at + 3),
            [] | [b'\r'] => return Err(at),
            _ => {}
        }
    }
    Err(buf.len())
}

/// Checks a request line that has arrived with its LF, although its head has not.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check_request_line(line: &[u8]) -> Result<(), Reject> {
    if !line.ends_with(b"\r\n") {
        return Err(Reject::LineBreak);
    }
    let Err(error) = httparse::Request::new(&mut []).parse(line) else {
        return Ok(());
    };
    let line = &line[..line.len() - 2];
    if memchr(b'\r', line).is_some() {
        return Err(Reject::LineBreak);
    }
    // RFC 9110, section 6.2, would have HTTP/1.2 answered as HTTP/1.1; nothing sends it.
    match (error, line.splitn(3, |byte| *byte == b' ').nth(2)) {
        (
            httparse::Error::Version,
            Some(version @ [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']),
        ) => Err(Reject::Version {
            version: shown(version),
        }),
        _ => Err(Reject::RequestLine { line: shown(line) }),
    }
}

/// Says what is wrong with a whole head that did not parse and whose request line is well.
#[cold]
pub(super) fn fault(head: &[u8], error: Option<httparse::Error>, limits: &Limits) -> Reject {
    if error == Some(httparse::Error::TooManyHeaders) {
        return Reject::TooManyHeaders {
            limit: limits.max_headers.min(super::MAX_HEADERS),
        };
    }
    head.split_inclusive(|byte| *byte == b'\n')
        .skip(1)
        .find_map(field_fault)
        .unwrap_or(Reject::LineBreak)
}

/// What is wrong with one header or trailer line, given with its line end.
pub(super) fn field_fault(line: &[u8]) -> Option<Reject> {
    match httparse::parse_headers(line, &mut [httparse::EMPTY_HEADER; 1]) {
        Ok(_) if line.ends_with(b"\r\n") => None,
        Ok(_) | Err(httparse::Error::NewLine) => Some(Reject::LineBreak),
        Err(httparse::Error::HeaderValue) => {
            let name = line.split(|byte| *byte == b':').next().unwrap_or(line);
            Some(Reject::HeaderValue { name: shown(name) })
        }
        // Of a line without a good name nothing behind the colon is shown: it may be a secret.
        Err(_) => {
            let line = line.split(|byte| *byte == b':').next().unwrap_or(line);
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            Some(Reject::HeaderName { line: shown(line) })
        }
    }
}
