//! The head of a request: what its lines say about framing, persistence and expectation.

use super::decode::{HeaderTable, Limits};
use super::fault::{Reject, shown};
use super::host::is_host;
use super::marks::Marks;
use super::target::path_of;

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
    pub(super) marks: Marks,
    /// How long the client waits for the reply; [`u64::MAX`] when it does not say.
    pub(super) timeout_ms: u64,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes; no body is a length of 0.
    Length(usize),
    /// After the last chunk and the trailers.
    Chunked,
}

impl Default for Framing {
    fn default() -> Self {
        Framing::Length(0)
    }
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
// Inlined also where it has a second caller, which is cold: a call costs the hot one its registers.
#[inline(always)]
pub(super) fn parse<'h, 'b>(
    buf: &'b [u8],
    start: usize,
    table: &'h mut HeaderTable<'b>,
    limits: &Limits,
) -> Result<Parsed<'h, 'b>, Reject> {
    let table = &mut table.parsed[..limits.max_headers.min(super::MAX_HEADERS)];
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
        target: path_of(method, target, fields.host)?,
        headers,
        minor,
        end,
        framing,
        keep_alive: !fields.close && (minor > 0 || fields.keep_alive),
        expects_continue: fields.expects_continue && minor > 0,
        marks: fields.marks,
        timeout_ms: fields.timeout_ms,
    }))
}

/// The fields that the codec itself heeds.
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
    marks: Marks,
    timeout_ms: u64,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Fields {
            host: None,
            length: None,
            coding: None,
            chunked: false,
            unknown_coding: false,
            close: false,
            keep_alive: false,
            expects_continue: false,
            marks: Marks::default(),
            timeout_ms: u64::MAX,
        }
    }
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
            let name = header.name.as_bytes();
            match name.len() {
                4 if is(name, b"host") => fields.host(header.value)?,
                6 if is(name, b"expect") && minor > 0 => fields.expect(header.value)?,
                10 if is(name, b"connection") => fields.connection(header.value),
                11 if is(name, b"traceparent") => fields.marks.add(Marks::TRACEPARENT),
                12 if is(name, b"x-request-id") => fields.marks.add(Marks::REQUEST_ID),
                14 if is(name, b"content-length") => fields.content_length(header.value)?,
                16 if is(name, b"content-encoding") => fields.marks.add(Marks::CONTENT_ENCODING),
                17 if is(name, b"transfer-encoding") => fields.transfer_encoding(header.value)?,
                20 if is(name, b"x-request-timeout-ms") => fields.timeout(header.value)?,
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

    /// RFC 9110, section 8.6, would take equal ones for one; they are refused too.
    #[inline]
    fn content_length(&mut self, value: &'b [u8]) -> Result<(), Reject> {
        match self.length.replace(value) {
            Some(_) => Err(Reject::ContentLengthRepeated),
            None => Ok(()),
        }
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

    /// Of several ones the shortest counts: each may only shorten the time of the request.
    #[cold]
    fn timeout(&mut self, value: &[u8]) -> Result<(), Reject> {
        match decimal(value) {
            Some(timeout_ms) => self.timeout_ms = self.timeout_ms.min(timeout_ms),
            None => {
                return Err(Reject::RequestTimeout {
                    value: shown(value),
                });
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

/// Whether a field name is this one, given in lower case. No token but an upper-case letter
/// becomes a letter or a hyphen by the bit, so this is exact, and it compiles to a few wide
/// instructions where `eq_ignore_ascii_case` walks the bytes.
#[inline]
fn is<const LEN: usize>(name: &[u8], lower: &[u8; LEN]) -> bool {
    <&[u8; LEN]>::try_from(name).is_ok_and(|name| {
        let differs = |(ours, theirs): (&u8, &u8)| (ours | 0x20) ^ theirs;
        name.iter()
            .zip(lower)
            .map(differs)
            .fold(0, |all, bits| all | bits)
            == 0
    })
}

/// `1*DIGIT` that fits 64 bits (RFC 9110, section 8.6).
#[inline]
fn decimal(value: &[u8]) -> Option<u64> {
    /// As many digits as can never overflow.
    const SAFE_DIGITS: usize = 19;
    if value.is_empty() {
        return None;
    }
    let (safe, rest) = value.split_at(value.len().min(SAFE_DIGITS));
    let mut number = 0;
    for byte in safe {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    rest.iter().try_fold(number, |number: u64, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
