//! Chunked bodies (RFC 9112, section 7.1), decoded in place.

use memchr::memchr;

use super::decode::Limits;
use super::fault::{Reject, shown};
use super::lines::{end_of_lines, field_fault};

/// How many digits a chunk size may have: as many as fit 64 bits.
const MAX_SIZE_DIGITS: usize = 16;

/// How far the body of one request is decoded.
///
/// The buffer holds `head | body so far | what is not decoded yet`, with no gap between them.
#[derive(Debug)]
pub(super) struct Chunks {
    stage: Stage,
    /// The length of head and empty lines before it, below 4 GiB since heads are bounded.
    head_bytes: u32,
    /// Extensions so far. They and the trailers share one budget, the bytes of a head: a body in
    /// chunks of one byte could carry any amount of them otherwise.
    extension_bytes: u32,
    /// The length of the body so far.
    body_bytes: usize,
    /// What this counts depends on the stage.
    amount: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A line with a size is next. `amount`: undecoded bytes that hold no line end.
    Size,
    /// `amount` bytes of the chunk are still to come.
    Data,
    /// The CRLF behind the data. `amount`: undecoded bytes that were looked at.
    DataEnd,
    /// Trailers up to an empty line. `amount`: undecoded bytes that were looked at.
    Trailers,
    /// The body is whole. `amount`: bytes of framing left between it and the next request.
    Done,
}

impl Chunks {
    /// A body of which nothing is decoded, behind a head of this length.
    pub(super) fn new(head_bytes: usize) -> Self {
        Chunks {
            stage: Stage::Size,
            head_bytes: u32::try_from(head_bytes).unwrap_or(u32::MAX),
            extension_bytes: 0,
            body_bytes: 0,
            amount: 0,
        }
    }

    /// A body that is whole, and has framing behind it.
    pub(super) fn done(head_bytes: usize, body_bytes: usize, framing_bytes: usize) -> Self {
        Chunks {
            stage: Stage::Done,
            body_bytes,
            amount: framing_bytes,
            ..Chunks::new(head_bytes)
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Only a longer buffer has anything new.
    pub(super) fn seen_bytes(&self) -> usize {
        let undecoded = if self.stage == Stage::Data {
            0
        } else {
            self.amount
        };
        self.end_of_body() + undecoded
    }

    /// A lower bound of the buffer's length when the request is whole.
    pub(super) fn needed_bytes(&self) -> usize {
        match self.stage {
            Stage::Data => self.end_of_body().saturating_add(self.amount) + b"\r\n0\r\n\r\n".len(),
            _ => self.seen_bytes() + 1,
        }
    }

    /// The whole body, and where the next request begins.
    pub(super) fn body<'b>(&self, buf: &'b [u8]) -> (&'b [u8], usize) {
        debug_assert!(self.is_done());
        let end = self.end_of_body();
        (&buf[self.head_bytes as usize..end], end + self.amount)
    }

    fn end_of_body(&self) -> usize {
        self.head_bytes as usize + self.body_bytes
    }

    /// See [`Decoder::dechunk`](super::Decoder::dechunk).
    pub(super) fn remove_framing(
        &mut self,
        buf: &mut [u8],
        limits: &Limits,
    ) -> Result<usize, Reject> {
        // Invariant: head_bytes ≤ write ≤ read ≤ buf.len(); the body ends at `write`.
        let mut write = self.end_of_body();
        let mut read = write;
        loop {
            let rest = &buf[read..];
            match self.stage {
                Stage::Size => {
                    let Some(line) = self.size_line(rest, limits)? else {
                        self.amount = rest.len();
                        break;
                    };
                    read += line.len() + b"\r\n".len();
                    let size = self.size(line, limits)?;
                    self.amount = size;
                    self.stage = if size == 0 {
                        Stage::Trailers
                    } else {
                        Stage::Data
                    };
                }
                Stage::Data => {
                    let arrived = rest.len().min(self.amount);
                    // A large chunk arrives in many pieces, and all but the first lie in place.
                    if write != read {
                        buf.copy_within(read..read + arrived, write);
                    }
                    write += arrived;
                    read += arrived;
                    self.body_bytes += arrived;
                    self.amount -= arrived;
                    if self.amount > 0 {
                        break;
                    }
                    self.stage = Stage::DataEnd;
                }
                Stage::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        read += 2;
                        self.amount = 0;
                        self.stage = Stage::Size;
                    }
                    [] | [b'\r'] => {
                        self.amount = rest.len();
                        break;
                    }
                    _ => return Err(Reject::ChunkEnd),
                },
                Stage::Trailers => {
                    let Some(len) = self.trailers(rest, limits)? else {
                        self.amount = rest.len();
                        break;
                    };
                    self.amount = read + len - write;
                    self.stage = Stage::Done;
                    return Ok(buf.len());
                }
                Stage::Done => return Ok(buf.len()),
            }
        }
        buf.copy_within(read.., write);
        Ok(write + buf.len() - read)
    }

    /// The line with the next chunk's size, without its CRLF; `None` when it is incomplete.
    fn size_line<'b>(&self, rest: &'b [u8], limits: &Limits) -> Result<Option<&'b [u8]>, Reject> {
        let max_bytes = MAX_SIZE_DIGITS.saturating_add(self.overhead_left(limits));
        let (line, is_whole) = match memchr(b'\n', &rest[self.amount..]) {
            Some(at) => (&rest[..self.amount + at], true),
            None => (rest, false),
        };
        let without_cr = line.strip_suffix(b"\r").unwrap_or(line);
        if without_cr.len() > max_bytes {
            return Err(extensions_too_large(limits));
        }
        match is_whole {
            true if without_cr.len() == line.len() => Err(Reject::LineBreak),
            true => Ok(Some(without_cr)),
            false => Ok(None),
        }
    }

    /// Reads the size of a chunk that the body has room for.
    fn size(&mut self, line: &[u8], limits: &Limits) -> Result<usize, Reject> {
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, extension) = line.split_at(digits);
        if digits.is_empty() || digits.len() > MAX_SIZE_DIGITS {
            return Err(Reject::ChunkSize {
                line: shown(line),
                limit: MAX_SIZE_DIGITS,
            });
        }
        if !extension.is_empty() {
            if !matches!(extension[0], b';' | b' ' | b'\t') {
                return Err(Reject::ChunkSize {
                    line: shown(line),
                    limit: MAX_SIZE_DIGITS,
                });
            }
            if extension.len() > self.overhead_left(limits) {
                return Err(extensions_too_large(limits));
            }
            if !are_extensions(extension) {
                return Err(Reject::ChunkExtension { line: shown(line) });
            }
            self.extension_bytes = self
                .extension_bytes
                .saturating_add(extension.len().try_into().unwrap_or(u32::MAX));
        }
        let size = digits.iter().fold(0u64, |size, digit| {
            size << 4 | u64::from((*digit as char).to_digit(16).unwrap_or(0))
        });
        let room = limits.max_body_bytes.saturating_sub(self.body_bytes);
        match usize::try_from(size) {
            Ok(size) if size <= room => Ok(size),
            _ => Err(Reject::BodyTooLarge {
                limit_bytes: limits.max_body_bytes,
            }),
        }
    }

    /// The length of the trailer section with its empty line; `None` when it is incomplete. The
    /// fields are checked and dropped: a pipeline is called with the head's (RFC 9110, section 6.5.1).
    fn trailers(&self, rest: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        let max_bytes = self.overhead_left(limits);
        match rest {
            [b'\r', b'\n', ..] => return Ok(Some(2)),
            [b'\n', ..] | [b'\r', _, ..] => return Err(Reject::LineBreak),
            [] | [b'\r'] => return Ok(None),
            _ => {}
        }
        // A line end at the very end of what was looked at may turn out to be the last one.
        let allowed = &rest[..rest.len().min(max_bytes)];
        let from = self.amount.saturating_sub(b"\n\r".len()).min(allowed.len());
        match end_of_lines(allowed, from) {
            Ok(len) => {
                check_trailers(&allowed[..len], limits)?;
                Ok(Some(len))
            }
            Err(_) if rest.len() > max_bytes => Err(Reject::TrailersTooLarge {
                limit_bytes: limits.max_head_bytes,
            }),
            Err(_) => Ok(None),
        }
    }

    fn overhead_left(&self, limits: &Limits) -> usize {
        limits
            .max_head_bytes
            .saturating_sub(self.extension_bytes as usize)
    }
}

#[cold]
fn extensions_too_large(limits: &Limits) -> Reject {
    Reject::ChunkExtensionsTooLarge {
        limit_bytes: limits.max_head_bytes,
    }
}

fn check_trailers(section: &[u8], limits: &Limits) -> Result<(), Reject> {
    let lines = || section.split_inclusive(|byte| *byte == b'\n');
    if let Some(fault) = lines().find_map(field_fault) {
        return Err(fault);
    }
    // The empty line at the end is no field.
    if lines().count() > limits.max_headers + 1 {
        return Err(Reject::TooManyHeaders {
            limit: limits.max_headers,
        });
    }
    Ok(())
}

/// `*( BWS ";" BWS name [ BWS "=" BWS value ] )` with a token or a quoted string as value (RFC
/// 9112, section 7.1.1). What extensions say is ignored; that they end on their line is not, since
/// a reader that let a quoted string go on behind the line end would find other chunks.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(name) = skip_white_space(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(behind_name) = skip_token(skip_white_space(name)) else {
            return false;
        };
        rest = match skip_white_space(behind_name)
            .strip_prefix(b"=")
            .map(skip_white_space)
        {
            None => behind_name,
            Some(value) => match skip_token(value).or_else(|| skip_quoted(value)) {
                Some(behind_value) => behind_value,
                None => return false,
            },
        };
    }
    true
}

fn skip_white_space(bytes: &[u8]) -> &[u8] {
    let len = bytes
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    &bytes[len..]
}

/// RFC 9110, section 5.6.2.
fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let len = bytes.iter().copied().take_while(is_token).count();
    (len > 0).then_some(&bytes[len..])
}

/// RFC 9110, section 5.6.4.
fn skip_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let is_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(*escaped) => rest,
            [byte, rest @ ..] if is_text(*byte) && *byte != b'\\' => rest,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, HeadMemo, HeaderTable, Step};
    use super::*;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Feeds the parts behind a head and returns what the buffer holds behind it after each.
    fn behind_head(parts: &[&str]) -> Vec<String> {
        let (mut decoder, mut buf, limits) = (Decoder::default(), HEAD.to_vec(), Limits::default());
        let mut memo = HeadMemo::default();
        let mut seen = Vec::new();
        for part in parts {
            buf.extend_from_slice(part.as_bytes());
            loop {
                let mut table = HeaderTable::new();
                match decoder.decode(&buf, &mut memo, &mut table, &limits) {
                    Ok(Step::Dechunk) => {}
                    Ok(Step::NeedMore { .. }) => break,
                    other => panic!("{other:?}"),
                }
                let len = decoder.dechunk(&mut buf, &limits).expect("good chunks");
                buf.truncate(len);
            }
            assert_eq!(&buf[..HEAD.len()], HEAD);
            seen.push(String::from_utf8_lossy(&buf[HEAD.len()..]).into_owned());
        }
        seen
    }

    #[test]
    fn an_incomplete_body_leaves_no_gap() {
        let parts = ["3\r\nabc\r\n2", "\r\nd", "e\r", "\n0\r\nX: y", "\r\n\r"];
        let buffers = ["abc2", "abcd", "abcde\r", "abcdeX: y", "abcdeX: y\r\n\r"];
        assert_eq!(behind_head(&parts), buffers);
    }

    #[test]
    fn a_whole_body_moves_nothing_behind_it() {
        let (mut decoder, limits) = (Decoder::default(), Limits::default());
        let mut memo = HeadMemo::default();
        let mut buf = [HEAD, b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET /next"].concat();
        let len = buf.len();
        let mut table = HeaderTable::new();
        assert!(matches!(
            decoder.decode(&buf, &mut memo, &mut table, &limits),
            Ok(Step::Dechunk)
        ));
        assert_eq!(decoder.dechunk(&mut buf, &limits), Ok(len));
        let mut table = HeaderTable::new();
        let Ok(Step::Request(request)) = decoder.decode(&buf, &mut memo, &mut table, &limits)
        else {
            panic!("the request is whole")
        };
        assert_eq!(request.body, b"abc");
        assert_eq!(&buf[request.consumed..], b"GET /next");
    }

    #[test]
    fn extensions() {
        for good in [
            "",
            ";a",
            " ;\ta = \"b;c\\\"\" ;d=e",
            ";a=\"\"",
            ";a=\"\u{e4}\"",
        ] {
            assert!(are_extensions(good.as_bytes()), "{good:?}");
        }
        for bad in [
            " ",
            "a",
            ";",
            ";;a",
            ";a=",
            ";a= ",
            ";a=b c",
            ";a=\"",
            ";a=\"b\"c",
            ";a=\"\0\"",
        ] {
            assert!(!are_extensions(bad.as_bytes()), "{bad:?}");
        }
    }
}
