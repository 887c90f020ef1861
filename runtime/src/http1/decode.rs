//! From the bytes of a connection to requests.

use std::mem::{ManuallyDrop, MaybeUninit};

use arrayvec::ArrayVec;
use memchr::memchr;

use super::chunked::Chunks;
use super::encode::Persistence;
use super::fault::Reject;
use super::head::{self, Framing, Head, Parsed};
use super::lines;
use super::marks::Marks;
use super::memo::{HeadMemo, RecalledFields};

/// What a request may cost. Each capacity has the status with which a larger request is answered.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Request line and header fields with their line ends; beyond it 414 or 431. It also bounds
    /// the chunk extensions and trailers of one body, together.
    pub(crate) max_head_bytes: usize,
    /// Header fields, at most [`MAX_HEADERS`]; beyond it 431.
    pub(crate) max_headers: usize,
    /// Decoded body; beyond it 413.
    pub(crate) max_body_bytes: usize,
}

impl Default for Limits {
    /// 16 KiB, 100 fields, 8 MiB.
    fn default() -> Self {
        Limits {
            max_head_bytes: 16 << 10,
            max_headers: MAX_HEADERS,
            max_body_bytes: 8 << 20,
        }
    }
}

/// How many header fields a table holds.
pub(crate) const MAX_HEADERS: usize = 100;

/// Where the fields of one request are listed: on the caller's stack and not initialised before
/// there are some, so that it costs nothing.
pub(crate) struct HeaderTable<'b> {
    pub(super) parsed: [MaybeUninit<httparse::Header<'b>>; MAX_HEADERS],
    recalled: RecalledFields<'b>,
}

impl HeaderTable<'_> {
    /// An empty one. No constant: that would be copied, with all its room.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        HeaderTable {
            parsed: [const { MaybeUninit::uninit() }; MAX_HEADERS],
            recalled: ManuallyDrop::new(ArrayVec::new()),
        }
    }
}

/// Finds the requests in the bytes of one connection.
///
/// It holds no bytes itself. It remembers how far an incomplete request was looked at, so that a
/// request which arrives byte by byte costs no more than O(its length), and its head is parsed
/// three times at most (once when it arrives whole).
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
}

/// Which part of the request at the beginning of the buffer is awaited.
#[derive(Debug, Default)]
enum State {
    /// Nothing was looked at yet.
    #[default]
    Fresh,
    /// The end of the head. Invariant: no empty line ends before `scanned`.
    Head { scanned: usize, line_checked: bool },
    /// The end of a body of known length, at `total` bytes.
    Body { total: usize },
    /// The end of a chunked body.
    Chunks(Chunks),
}

/// What [`Decoder::decode`] found.
#[derive(Debug)]
pub(crate) enum Step<'h, 'b> {
    /// A whole request. The decoder awaits the next one, behind [`Decoded::consumed`].
    Request(Decoded<'h, 'b>),
    /// The bytes are not a whole request yet.
    NeedMore {
        /// Send [`CONTINUE`](super::CONTINUE) now: the client waits for it (RFC 9110, section
        /// 10.1.1). True at most once per request, and only if its body has not begun to arrive.
        send_continue: bool,
        /// The buffer must become at least this long before the request can be whole. The client
        /// claims it, so grow towards it as bytes arrive rather than at once when it is large.
        needed_bytes: usize,
    },
    /// Chunks arrived: call [`Decoder::dechunk`], then `decode` again.
    Dechunk,
}

/// One request, borrowed from the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoded<'h, 'b> {
    /// The method as it was sent; it is case-sensitive.
    pub(crate) method: &'b str,
    /// Path and query. An absolute target has lost its scheme and authority. `*` for `OPTIONS *`.
    pub(crate) target: &'b str,
    /// The fields in order, values without surrounding white space.
    pub(crate) headers: &'h [httparse::Header<'b>],
    /// The body, whole and without chunk framing.
    pub(crate) body: &'b [u8],
    /// How many bytes at the beginning of the buffer belong to this request.
    pub(crate) consumed: usize,
    /// Whether the client wants to keep the connection (RFC 9112, section 9.3).
    pub(crate) keep_alive: bool,
    /// Whether this is a HEAD request, whose reply has no body.
    pub(crate) is_head: bool,
    /// 0 or 1, the minor version.
    pub(crate) http_minor: u8,
    /// Which of the fields it has that concern the server beside the framing.
    pub(crate) marks: Marks,
    /// How long the client waits for the reply, by `x-request-timeout-ms`; [`u64::MAX`] when it does
    /// not say.
    pub(crate) timeout_ms: u64,
}

impl Decoded<'_, '_> {
    /// What the reply says about the connection, unless the server wants to close it.
    #[inline]
    pub(crate) fn persistence(&self) -> Persistence {
        match (self.keep_alive, self.http_minor) {
            (false, _) => Persistence::Close,
            (true, 0) => Persistence::KeepAlive10,
            (true, _) => Persistence::KeepAlive,
        }
    }
}

impl<'h, 'b> Head<'h, 'b> {
    /// The request of this head.
    #[inline]
    fn with_body(&self, body: &'b [u8], consumed: usize) -> Decoded<'h, 'b> {
        Decoded {
            method: self.method,
            target: self.target,
            headers: self.headers,
            body,
            consumed,
            keep_alive: self.keep_alive,
            is_head: self.method == "HEAD",
            http_minor: self.minor,
            marks: self.marks,
            timeout_ms: self.timeout_ms,
        }
    }
}

impl Decoder {
    /// Looks for a whole request at the beginning of `buf`, which are the bytes of the connection
    /// that no request has consumed yet.
    ///
    /// Between two requests `buf` only grows, or is what [`dechunk`](Self::dechunk) left. What it
    /// says does not depend on how the bytes were split on their way, except for the 100 of
    /// [`NeedMore`](Step::NeedMore), nor on what the memo holds, which is of these limits.
    ///
    /// # Errors
    ///
    /// A request that is malformed, ambiguous or too large. Do not call `decode` again after it.
    #[inline]
    pub(crate) fn decode<'h, 'b>(
        &mut self,
        buf: &'b [u8],
        memo: &'b mut HeadMemo,
        table: &'h mut HeaderTable<'b>,
        limits: &Limits,
    ) -> Result<Step<'h, 'b>, Reject> {
        if !matches!(self.state, State::Fresh)
            && let Some(step) = self.wait(buf, limits)?
        {
            return Ok(step);
        }
        let start = lines::skip_empty_lines(buf)?;
        let head = if memo.knows(buf, start) {
            memo.recall(start, &mut table.recalled)
        } else {
            match head::parse(buf, start, table, limits)? {
                Parsed::Whole(head) => {
                    memo.note(buf, start, &head);
                    head
                }
                Parsed::Not(error) => return self.partial_head(buf, start, limits, error),
            }
        };
        self.finish(buf, head)
    }

    /// Whether the head of the request at hand is whole, and its body is not.
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body { .. } | State::Chunks(_))
    }

    /// Removes the chunk framing that arrived, in place: the body lies right behind the head.
    ///
    /// Returns the new length of what `buf` holds. While the body is incomplete that is head,
    /// decoded body and at most a partial line. When it is complete nothing behind it is moved
    /// (many small requests in one buffer would make that quadratic): the gap that the framing
    /// left counts as consumed by the request.
    ///
    /// # Errors
    ///
    /// Malformed framing or a body that is too large. The connection closes after it.
    pub(crate) fn dechunk(&mut self, buf: &mut [u8], limits: &Limits) -> Result<usize, Reject> {
        match &mut self.state {
            State::Chunks(chunks) => chunks.remove_framing(buf, limits),
            _ => Ok(buf.len()),
        }
    }

    /// The head of a request whose body is still on its way, which seems empty in it.
    #[inline(never)]
    pub(crate) fn head<'h, 'b>(
        &self,
        buf: &'b [u8],
        table: &'h mut HeaderTable<'b>,
        limits: &Limits,
    ) -> Option<Decoded<'h, 'b>> {
        if !matches!(self.state, State::Body { .. } | State::Chunks(_)) {
            return None;
        }
        let start = lines::skip_empty_lines(buf).ok()?;
        match head::parse(buf, start, table, limits).ok()? {
            Parsed::Whole(head) => Some(head.with_body(&[], head.end)),
            Parsed::Not(_) => None,
        }
    }

    /// Puts a request back that [`decode`](Self::decode) has given last: the next call gives it
    /// again. Its bytes must still be at the beginning of `buf`.
    pub(crate) fn put_back(&mut self, buf: &[u8], decoded: &Decoded<'_, '_>) {
        let body_at = decoded.body.as_ptr().addr() - buf.as_ptr().addr();
        let framing_bytes = decoded.consumed - body_at - decoded.body.len();
        // Only a body whose framing was removed needs more than its head to be found again.
        if framing_bytes > 0 {
            let chunks = Chunks::done(body_at, decoded.body.len(), framing_bytes);
            self.state = State::Chunks(chunks);
        }
    }

    /// What to do about a request that was incomplete before; `None`: parse its head.
    fn wait(
        &mut self,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Option<Step<'static, 'static>>, Reject> {
        Ok(match &self.state {
            State::Fresh => None,
            State::Head { .. } => {
                let start = lines::skip_empty_lines(buf)?;
                match self.seek_end_of_head(buf, start, limits)? {
                    Some(_) => None,
                    None => Some(Step::need(buf.len() + 1)),
                }
            }
            State::Body { total } => (buf.len() < *total).then(|| Step::need(*total)),
            State::Chunks(chunks) if chunks.is_done() => None,
            State::Chunks(chunks) if buf.len() > chunks.seen_bytes() => Some(Step::Dechunk),
            State::Chunks(chunks) => Some(Step::need(chunks.needed_bytes())),
        })
    }

    /// The head is whole; is the body?
    #[inline]
    fn finish<'h, 'b>(
        &mut self,
        buf: &'b [u8],
        head: Head<'h, 'b>,
    ) -> Result<Step<'h, 'b>, Reject> {
        let (body, consumed) = match (head.framing, &self.state) {
            (Framing::Length(length), _) => {
                // Neither can overflow: the head is inside `buf`, the length below its limit.
                let total = head.end.saturating_add(length);
                let Some(body) = buf.get(head.end..total) else {
                    self.state = State::Body { total };
                    let send_continue = head.expects_continue && buf.len() == head.end;
                    return Ok(Step::NeedMore {
                        send_continue,
                        needed_bytes: total,
                    });
                };
                (body, total)
            }
            (Framing::Chunked, State::Chunks(chunks)) => chunks.body(buf),
            (Framing::Chunked, _) => return Ok(self.begin_chunks(buf, &head)),
        };
        self.state = State::Fresh;
        Ok(Step::Request(head.with_body(body, consumed)))
    }

    fn begin_chunks(&mut self, buf: &[u8], head: &Head<'_, '_>) -> Step<'static, 'static> {
        let chunks = Chunks::new(head.end);
        let step = if buf.len() > head.end {
            Step::Dechunk
        } else {
            Step::NeedMore {
                send_continue: head.expects_continue,
                needed_bytes: chunks.needed_bytes(),
            }
        };
        self.state = State::Chunks(chunks);
        step
    }

    /// The head did not parse: it is incomplete, malformed or too long.
    ///
    /// A fault in a header line is told when the whole head is there, one in the request line when
    /// that line is: so the answer is the same however the bytes were split.
    #[cold]
    fn partial_head(
        &mut self,
        buf: &[u8],
        start: usize,
        limits: &Limits,
        error: Option<httparse::Error>,
    ) -> Result<Step<'static, 'static>, Reject> {
        match self.seek_end_of_head(buf, start, limits)? {
            Some(end) => Err(lines::fault(&buf[start..end], error, limits)),
            None => Ok(Step::need(buf.len() + 1)),
        }
    }

    /// Looks for the end of the head from where the last search ended.
    ///
    /// # Errors
    ///
    /// A request line that is malformed, or a head that is too long.
    fn seek_end_of_head(
        &mut self,
        buf: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<Option<usize>, Reject> {
        let (mut scanned, mut line_checked) = match self.state {
            State::Head {
                scanned,
                line_checked,
            } => (scanned.max(start), line_checked),
            _ => (start, false),
        };
        let limit = start.saturating_add(limits.max_head_bytes);
        let allowed = &buf[..buf.len().min(limit)];
        if !line_checked {
            match memchr(b'\n', &allowed[scanned..]) {
                Some(at) => {
                    scanned += at;
                    line_checked = true;
                    lines::check_request_line(&buf[start..=scanned])?;
                }
                None if buf.len() > limit => {
                    return Err(Reject::TargetTooLong {
                        limit_bytes: limits.max_head_bytes,
                    });
                }
                None => {
                    self.state = State::Head {
                        scanned: buf.len(),
                        line_checked,
                    };
                    return Ok(None);
                }
            }
        }
        match lines::end_of_lines(allowed, scanned) {
            Ok(end) => Ok(Some(end)),
            Err(_) if buf.len() > limit => Err(Reject::HeadTooLarge {
                limit_bytes: limits.max_head_bytes,
            }),
            Err(scanned) => {
                self.state = State::Head {
                    scanned,
                    line_checked,
                };
                Ok(None)
            }
        }
    }
}

impl Step<'static, 'static> {
    fn need(needed_bytes: usize) -> Self {
        Step::NeedMore {
            send_continue: false,
            needed_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 32, "{} bytes", size_of::<Decoder>());
    }

    #[test]
    fn an_incomplete_body_names_its_length() {
        let mut decoder = Decoder::default();
        let buf = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345";
        let mut table = HeaderTable::new();
        let mut memo = HeadMemo::default();
        let step = decoder.decode(buf, &mut memo, &mut table, &Limits::default());
        let total = buf.len() + 5;
        assert!(
            matches!(step, Ok(Step::NeedMore { needed_bytes, send_continue: false }) if needed_bytes == total),
            "{step:?}"
        );
    }
}
