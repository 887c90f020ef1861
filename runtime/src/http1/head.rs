//! The head of a request: what its lines say about framing, persistence and expectation.

use memchr::{memchr_iter, memrchr};

use super::decode::{HeaderTable, Limits};
use super::fault::{Reject, shown};
use super::target::{is_host, path_of};

/// How many empty lines may stand before a request line (RFC 9112, section 2.2, asks for one).
const MAX_EMPTY_LINES: usize = 4;

/// A whole head.
pub(super) struct Head<'h, 'b> {
    pub(super) method: &'b str,
    /// Path and query.
    pub(super) target: &'b str,
    pub(super) headers: &'h [httparse::Header<'b>],
    pub(super) minor: u8,
    /// Where the body begins in the buffer.
    pub(super) end: usize,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes; no body is a length of 0.
    Length(usize),
    /// After the last chunk and the trailers.
    Chunked,
}

/// What came of parsing a head.
pub(super) enum Parsed<'h, 'b> {
    /// It is whole and well.
    Whole(Head<'h, 'b>),
    /// It is incomplete (`None`), too long (`None`) or malformed.
    Not(Option<httparse::Error>),
}

/// Parses the head that begins at `start` of `buf`.
///
/// # Errors
///
/// A whole head that is well-formed line by line and yet cannot be served.
#[inline]
pub(super) fn parse<'h, 'b>(
    buf: &'b [u8],
    start: usize,
    table: &'h mut HeaderTable<'b>,
    limits: &Limits,
) -> Result<Parsed<'h, 'b>, Reject> {
    let table = &mut table[..limits.max_headers.min(super::MAX_HEADERS)];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(&buf[start..], table) {
        Ok(httparse::Status::Complete(len)) if len <= limits.max_head_bytes => len,
        Ok(_) => return Ok(Parsed::Not(None)),
        Err(error) => return Ok(Parsed::Not(Some(error))),
    };
    let httparse::Request {
        method: Some(method),
        path: Some(target),
        version: Some(minor),
        headers,
    } = request
    else {
        return Ok(Parsed::Not(None));
    };
    let end = start + len;
    let headers: &'h [httparse::Header<'b>] = headers;
    let fields = Fields::read(buf, end, headers, minor)?;
    let framing = fields.framing(minor, limits)?;
    if minor > 0 && fields.host.is_none() {
        return Err(Reject::HostMissing);
    }
    Ok(Parsed::Whole(Head {
        method,
        target: path_of(method, target)?,
        headers,
        minor,
        end,
        framing,
        keep_alive: !fields.close && (minor > 0 || fields.keep_alive),
        expects_continue: fields.expects_continue && minor > 0,
    }))
}

/// The fields that the codec itself heeds.
#[derive(Default)]
struct Fields<'b> {
    host: Option<&'b [u8]>,
    length: Option<&'b [u8]>,
    /// The last `Transfer-Encoding` line, for messages.
    coding: Option<&'b [u8]>,
    chunked: bool,
    unknown_coding: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl<'b> Fields<'b> {
    /// One pass over the fields, which also sees to it that each line ends with CRLF: httparse
    /// takes a lone LF too. The byte two before a name belongs to the end of the line before.
    #[inline]
    fn read(
        buf: &[u8],
        end: usize,
        headers: &[httparse::Header<'b>],
        minor: u8,
    ) -> Result<Self, Reject> {
        let mut fields = Fields::default();
        for header in headers {
            let at = header
                .name
                .as_ptr()
                .addr()
                .wrapping_sub(buf.as_ptr().addr());
            if buf.get(at.wrapping_sub(2)) != Some(&b'\r') {
                return Err(Reject::LineBreak);
            }
            let is = |name| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("host") => fields.host(header.value)?,
                6 if is("expect") && minor > 0 => fields.expect(header.value)?,
                10 if is("connection") => fields.connection(header.value),
                14 if is("content-length") => {
                    if fields.length.replace(header.value).is_some() {
                        return Err(Reject::ContentLengthRepeated);
                    }
                }
                17 if is("transfer-encoding") => fields.transfer_encoding(header.value)?,
                _ => {}
            }
        }
        if !buf[..end].ends_with(b"\r\n\r\n") {
            return Err(Reject::LineBreak);
        }
        Ok(fields)
    }

    /// RFC 9112, section 3.2.
    #[inline]
    fn host(&mut self, value: &'b [u8]) -> Result<(), Reject> {
        if self.host.replace(value).is_some() {
            return Err(Reject::HostRepeated);
        }
        if !is_host(value) {
            return Err(Reject::Host {
                value: shown(value),
            });
        }
        Ok(())
    }

    /// RFC 9110, section 10.1.1. HTTP/1.0 has no expectations.
    fn expect(&mut self, value: &[u8]) -> Result<(), Reject> {
        for expectation in list(value) {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expects_continue = true;
            } else if !expectation.is_empty() {
                return Err(Reject::Expectation {
                    value: shown(expectation),
                });
            }
        }
        Ok(())
    }

    /// RFC 9112, section 9.3.
    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112, section 6.1. Several lines are one list. An empty element is refused although
    /// RFC 9110, section 5.6.1.2, would skip it: implementations differ, and framing must not.
    fn transfer_encoding(&mut self, value: &'b [u8]) -> Result<(), Reject> {
        self.coding = Some(value);
        for coding in list(value) {
            if self.chunked || coding.is_empty() {
                return Err(Reject::TransferEncoding {
                    value: shown(value),
                });
            } else if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else {
                self.unknown_coding = true;
            }
        }
        Ok(())
    }

    /// RFC 9112, section 6.3, where whatever two readers could frame differently is refused.
    #[inline]
    fn framing(&self, minor: u8, limits: &Limits) -> Result<Framing, Reject> {
        if let Some(value) = self.coding {
            return match () {
                _ if minor == 0 => Err(Reject::CodingInHttp10),
                _ if self.length.is_some() => Err(Reject::LengthAndCoding),
                _ if !self.chunked => Err(Reject::TransferEncoding {
                    value: shown(value),
                }),
                _ if self.unknown_coding => Err(Reject::Coding {
                    value: shown(value),
                }),
                _ => Ok(Framing::Chunked),
            };
        }
        let Some(value) = self.length else {
            return Ok(Framing::Length(0));
        };
        let Some(length) = decimal(value) else {
            return Err(Reject::ContentLength {
                value: shown(value),
            });
        };
        match usize::try_from(length) {
            Ok(length) if length <= limits.max_body_bytes => Ok(Framing::Length(length)),
            _ => Err(Reject::BodyTooLarge {
                limit_bytes: limits.max_body_bytes,
            }),
        }
    }
}

/// The elements of a comma-separated list, without white space around them; some may be empty.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(|element| element.trim_ascii())
}

/// `1*DIGIT` that fits 64 bits (RFC 9110, section 8.6).
#[inline]
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

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
    match httparse::Request::new(&mut []).parse(line) {
        Ok(_) => Ok(()),
        Err(httparse::Error::NewLine) => Err(Reject::LineBreak),
        Err(error) => {
            let line = line.trim_ascii_end();
            let version = &line[memrchr(b' ', line).map_or(0, |space| space + 1)..];
            // HTTP/1.2 and above would be answered as HTTP/1.1 by RFC 9110, section 6.2; nothing
            // sends them, and the answer names the way out.
            match (error, version) {
                (
                    httparse::Error::Version,
                    [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'],
                ) => Err(Reject::Version {
                    version: shown(version),
                }),
                _ => Err(Reject::RequestLine { line: shown(line) }),
            }
        }
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
            Some(Reject::HeaderName {
                line: shown(line.trim_ascii_end()),
            })
        }
    }
}
