//! Heads of replies.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use snapback_operators::{ContentType, Reply, ReplyHead, Run, reason_phrase};

use super::fault::Reject;

/// Tells a client that waits with its body to send it (RFC 9110, section 15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a reply says about its connection (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It stays open, which HTTP/1.1 need not say.
    KeepAlive,
    /// It closes behind this reply.
    Close,
    /// It stays open, as an HTTP/1.0 client asked and must be told.
    KeepAlive10,
}

/// Writes the heads of replies; each partition has one.
///
/// The last head is the template of the next one: with the same status, content type and
/// persistence only the length of the body and the pipeline's own fields are written anew. That
/// is why they stand last.
#[derive(Debug)]
pub(crate) struct HeadEncoder {
    /// `template | content-length, own fields, empty line` of the last reply.
    head: Vec<u8>,
    /// How much of `head` is template; 0 when there is none.
    template_bytes: usize,
    template_of: Key,
    /// `name: run-partition-`, with which the field begins that tells a client the id of its request;
    /// empty when none is told.
    id_field: Vec<u8>,
    /// The offset in the id that ends the template, if one does.
    told: u64,
    /// The length of a body that is all that the rest of the head tells, if that is so.
    tail_of: Option<usize>,
    /// Formatting it costs 96 ns, so that is done once a second.
    date: [u8; DATE_BYTES],
    unix_seconds: u64,
}

/// What the template depends on: status, content type, persistence, and whether the reply tells the
/// request's own id.
type Key = (u16, ContentType, Persistence, bool);

/// What a reply says back of what its request said, as lines of the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Echo {
    /// The client's own id of the request, in place of ours.
    pub(crate) id_line: Vec<u8>,
    /// The trace that the request belonged to.
    pub(crate) trace_line: Vec<u8>,
}

impl Echo {
    pub(crate) fn clear(&mut self) {
        self.id_line.clear();
        self.trace_line.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.id_line.is_empty() && self.trace_line.is_empty()
    }
}

/// The length of an IMF-fixdate (RFC 9110, section 5.6.7).
const DATE_BYTES: usize = 29;

/// The end of the year 9999, the last that a date can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// The usual length of a head, before there was one.
const USUAL_HEAD_BYTES: usize = 128;

impl HeadEncoder {
    /// An encoder that dates its replies `unix_seconds` until it is told another time.
    pub(crate) fn new(unix_seconds: u64) -> Self {
        HeadEncoder {
            head: Vec::with_capacity(2 * USUAL_HEAD_BYTES),
            template_bytes: 0,
            template_of: (0, ContentType::None, Persistence::Close, false),
            id_field: Vec::new(),
            told: 0,
            tail_of: None,
            date: format_date(unix_seconds),
            unix_seconds,
        }
    }

    /// From now on the replies to requests of this partition tell their ids, if the run tells any.
    pub(crate) fn tell_ids(&mut self, run: &Run, partition: u32) {
        if let Some(name) = run.request_id_header() {
            self.id_field = format!("{name}: {}-{partition}-", run.id()).into_bytes();
            self.template_bytes = 0;
        }
    }

    /// Sets the date of the replies to come. Call it once a turn; within a second it costs a
    /// comparison. Tells whether the date is a new one.
    #[inline]
    pub(crate) fn set_now(&mut self, unix_seconds: u64) -> bool {
        let is_new = unix_seconds != self.unix_seconds;
        if is_new {
            self.unix_seconds = unix_seconds;
            self.date = format_date(unix_seconds);
            self.template_bytes = 0;
        }
        is_new
    }

    /// How long the next head will be if it resembles the last one. Reserve as much before the
    /// body is written, since its length is known only then.
    #[inline]
    pub(crate) fn expected_len(&self) -> usize {
        if self.head.is_empty() {
            USUAL_HEAD_BYTES
        } else {
            self.head.len()
        }
    }

    /// The head of a reply whose body has `body_bytes` bytes.
    ///
    /// For a HEAD request give the length of the body that a GET would have been sent, and send
    /// none (RFC 9110, section 9.3.2). Nor is one sent where [`has_no_body`] says so; the length
    /// is ignored then.
    #[inline]
    pub(crate) fn encode(
        &mut self,
        head: &ReplyHead,
        body_bytes: usize,
        persistence: Persistence,
    ) -> &[u8] {
        self.encode_with(head, body_bytes, persistence, None, None)
    }

    /// The same for a reply that also tells the id of its request, by its offset, and says back what
    /// is in `echo`, whose id comes before ours. A pipeline that sets the field of the id itself has
    /// the last word.
    #[inline]
    pub(crate) fn encode_with(
        &mut self,
        head: &ReplyHead,
        body_bytes: usize,
        persistence: Persistence,
        offset: Option<u64>,
        echo: Option<&Echo>,
    ) -> &[u8] {
        let is_taken = echo.is_some_and(|echo| !echo.id_line.is_empty());
        let is_told = !head.header_lines().is_empty() && self.tells_id(head.header_lines());
        let own = offset.filter(|_| !self.id_field.is_empty() && !is_taken && !is_told);
        let key = (
            head.status(),
            head.content_type(),
            persistence,
            own.is_some(),
        );
        if self.template_bytes == 0 || self.template_of != key {
            self.build_template(key);
        }
        if let Some(offset) = own {
            self.tell(offset);
        }
        let is_usual = head.header_lines().is_empty() && echo.is_none();
        // Many replies in a row are of one length, and then it stands there already.
        if is_usual && self.tail_of == Some(body_bytes) {
            return &self.head;
        }
        self.tail_of = is_usual.then_some(body_bytes);
        self.head.truncate(self.template_bytes);
        match head.status() {
            // A 304 may tell the length of what was not modified, which nobody knows here.
            204 | 304 => {}
            205 => self.head.extend_from_slice(b"content-length: 0\r\n"),
            _ => {
                self.head.extend_from_slice(b"content-length: ");
                self.head
                    .extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
                self.head.extend_from_slice(b"\r\n");
            }
        }
        self.head.extend_from_slice(head.header_lines());
        if let Some(echo) = echo {
            if !is_told {
                self.head.extend_from_slice(&echo.id_line);
            }
            self.head.extend_from_slice(&echo.trace_line);
        }
        self.head.extend_from_slice(b"\r\n");
        &self.head
    }

    /// Makes the template tell this offset. It is nearly always the next one, in which one digit
    /// differs: that costs a few instructions where writing the number anew costs 60.
    #[inline]
    fn tell(&mut self, offset: u64) {
        let is_next = offset == self.told.wrapping_add(1);
        match self.head.get_mut(self.template_bytes.wrapping_sub(3)) {
            Some(digit @ b'0'..=b'8') if is_next => *digit += 1,
            _ => self.tell_anew(offset),
        }
        self.told = offset;
    }

    #[cold]
    fn tell_anew(&mut self, offset: u64) {
        let head = &mut self.head[..self.template_bytes];
        let digits = head.iter().rev().skip(2);
        let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let id_end = head.len() - 2 - digits;
        self.head.truncate(id_end);
        self.tail_of = None;
        self.push_offset(offset);
    }

    /// Ends the template with an offset.
    fn push_offset(&mut self, offset: u64) {
        self.head
            .extend_from_slice(itoa::Buffer::new().format(offset).as_bytes());
        self.head.extend_from_slice(b"\r\n");
        self.template_bytes = self.head.len();
        self.told = offset;
    }

    /// Whether the pipeline's own fields have the one of the id.
    fn tells_id(&self, lines: &[u8]) -> bool {
        let name = self.id_field.split(|byte| *byte == b' ').next();
        let name = name.unwrap_or_default();
        let mut lines = lines.split(|byte| *byte == b'\n');
        !name.is_empty()
            && lines.any(|line| {
                line.get(..name.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(name))
            })
    }

    /// Appends the whole answer to a request that was refused: a problem document (RFC 9457) and
    /// the end of the connection.
    #[cold]
    pub(crate) fn encode_reject(&mut self, reject: &Reject, out: &mut Vec<u8>) {
        let (mut body, mut head) = (Vec::new(), ReplyHead::default());
        Reply::new(&mut body, &mut head).problem(reject.status(), &reject.to_string());
        out.extend_from_slice(self.encode(&head, body.len(), Persistence::Close));
        out.extend_from_slice(&body);
    }

    #[cold]
    fn build_template(&mut self, key: Key) {
        let (status, content_type, persistence, tells_id) = key;
        self.tail_of = None;
        let head = &mut self.head;
        head.clear();
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        // The space stays where the phrase is empty (RFC 9112, section 4).
        head.push(b' ');
        head.extend_from_slice(reason_phrase(status).as_bytes());
        head.extend_from_slice(b"\r\ndate: ");
        head.extend_from_slice(&self.date);
        head.extend_from_slice(b"\r\n");
        if let Some(content_type) = content_type.as_str() {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(content_type.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(match persistence {
            Persistence::KeepAlive => b"",
            Persistence::Close => b"connection: close\r\n",
            Persistence::KeepAlive10 => b"connection: keep-alive\r\n",
        });
        self.template_bytes = head.len();
        self.template_of = key;
        if tells_id {
            head.extend_from_slice(&self.id_field);
            self.push_offset(0);
        }
    }
}

/// Whether a reply of this status has no body, whatever the pipeline wrote (RFC 9110, sections
/// 15.3.5, 15.3.6 and 15.4.5).
#[inline]
pub(crate) fn has_no_body(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

fn format_date(unix_seconds: u64) -> [u8; DATE_BYTES] {
    let mut date = [b' '; DATE_BYTES];
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND));
    // An IMF-fixdate always fits: httpdate writes exactly this many bytes.
    let written = write!(date.as_mut_slice(), "{}", HttpDate::from(time));
    debug_assert!(written.is_ok());
    date
}

#[cfg(test)]
mod tests;
