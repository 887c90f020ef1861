//! The reply under construction.

use serde::Serialize;

use crate::make_reply::ReplySerializer;

/// The reply to one request, written in place into the outbox of its connection.
///
/// Status and header fields may be set until the reply is answered, which is when its body is
/// written. That happens once: **the first reply wins**, a later one is ignored. A header field that could not be sent
/// safely (a name that is no token, a control character in the value, a field that the server
/// itself sets) turns the reply into a 500, so that input of a client that finds its way into a
/// header cannot split a reply.
///
/// ```
/// use snapback_operators::{Reply, ReplyHead};
///
/// let (mut outbox, mut head) = (Vec::new(), ReplyHead::default());
/// let mut reply = Reply::new(&mut outbox, &mut head);
/// reply.status(201).header("location", "/orders/7").json(&[1, 2]);
/// reply.text("ignored: the first reply wins");
/// assert_eq!((head.status(), outbox.as_slice()), (201, b"[1,2]".as_slice()));
/// ```
#[derive(Debug)]
pub struct Reply<'c> {
    /// The bytes from `start` on are the body; those before belong to others.
    out: &'c mut Vec<u8>,
    start: usize,
    head: &'c mut ReplyHead,
}

impl<'c> Reply<'c> {
    /// A reply whose body goes to the end of `out`. Clears `head`.
    #[inline]
    pub fn new(out: &'c mut Vec<u8>, head: &'c mut ReplyHead) -> Self {
        head.clear();
        let start = out.len();
        Reply { out, start, head }
    }

    /// Whether nothing was answered so far.
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.head.answered
    }

    /// Why the reply cannot be sent, if so.
    #[inline]
    pub fn fault(&self) -> Option<&ReplyFault> {
        self.head.fault()
    }

    /// Sets the status code, 200 to 599; anything else turns the reply into a 500.
    #[inline]
    pub fn status(&mut self, code: u16) -> &mut Self {
        if self.is_open() {
            if (200..=599).contains(&code) {
                self.head.status = code;
            } else {
                self.head.fault = Some(ReplyFault::Status(code));
            }
        }
        self
    }

    /// Adds a header field.
    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        if self.is_open() {
            self.head.push_header(name, value);
        }
        self
    }

    /// Sets the content type, in place of the one that the body would bring.
    pub fn content_type(&mut self, value: &str) -> &mut Self {
        self.header("content-type", value)
    }

    /// Answers with `value` as JSON, `application/json`.
    ///
    /// A value that serde cannot serialize is answered 500.
    #[inline]
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.begin(ContentType::Json)
            && let Err(error) = serde_json::to_writer(&mut *self.out, value)
        {
            self.serialize_failed(&error);
        }
    }

    /// Answers with JSON that `write` appends, `application/json`: for values that are not serde's.
    ///
    /// ```
    /// # use snapback_operators::{Reply, ReplyHead};
    /// let (mut outbox, mut head) = (Vec::new(), ReplyHead::default());
    /// Reply::new(&mut outbox, &mut head).json_with(|json| json.extend_from_slice(b"[5.00]"));
    /// assert_eq!(outbox, b"[5.00]");
    /// ```
    #[inline]
    pub fn json_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.begin(ContentType::Json) {
            write(self.out);
        }
    }

    /// Answers as [`make_reply`](crate::Pipeline::make_reply) does: strings as text, bytes as
    /// bytes, nothing (`None`, `()`) as an empty body, all else as JSON.
    #[inline]
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.begin(ContentType::Json) {
            let (mut content_type, mut json) = (ContentType::Json, None);
            let serializer = ReplySerializer {
                out: &mut *self.out,
                json: &mut json,
                content_type: &mut content_type,
            };
            match value.serialize(serializer) {
                Ok(()) => self.head.set_content_type(content_type),
                Err(error) => self.serialize_failed(&error),
            }
        }
    }

    /// Answers with text, `text/plain; charset=utf-8`.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.body(ContentType::Text, text.as_bytes());
    }

    /// Answers with bytes, `application/octet-stream`.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.body(ContentType::Bytes, bytes);
    }

    /// Answers with an empty body and no content type.
    #[inline]
    pub fn empty(&mut self) {
        self.body(ContentType::None, &[]);
    }

    /// Answers with a problem document (RFC 9457), `application/problem+json`.
    ///
    /// `detail` is for the caller: it names the thing, the value and the way out.
    #[cold]
    pub fn problem(&mut self, status: u16, detail: &str) {
        self.problem_with(status, detail, &[]);
    }

    /// [`problem`](Self::problem) with further members, for example the field at fault.
    #[cold]
    pub fn problem_with(&mut self, status: u16, detail: &str, members: &[(&str, &str)]) {
        if self.is_open() {
            self.status(status);
            let mut problem = serde_json::json!({
                "type": "about:blank",
                "title": reason_phrase(self.head.status),
                "status": self.head.status,
                "detail": detail,
            });
            for (name, value) in members {
                problem[*name] = (*value).into();
            }
            self.body(ContentType::Problem, problem.to_string().as_bytes());
        }
    }

    /// Takes back everything: the reply is open again and empty.
    #[cold]
    pub fn reset(&mut self) {
        self.out.truncate(self.start);
        self.head.clear();
    }

    fn body(&mut self, content_type: ContentType, bytes: &[u8]) {
        if self.begin(content_type) {
            self.out.extend_from_slice(bytes);
        }
    }

    #[inline]
    fn begin(&mut self, content_type: ContentType) -> bool {
        let open = self.is_open();
        if open {
            self.head.answered = true;
            self.head.set_content_type(content_type);
        }
        open
    }

    #[cold]
    fn serialize_failed(&mut self, error: &serde_json::Error) {
        let detail = format!("the reply could not be serialized: {error}");
        self.reset();
        self.problem(500, &detail);
    }
}

/// What a reply says before its body. One is reused for all replies of a partition.
#[derive(Debug)]
pub struct ReplyHead {
    status: u16,
    content_type: ContentType,
    explicit_content_type: bool,
    answered: bool,
    fault: Option<ReplyFault>,
    /// `name: value\r\n` lines, checked.
    headers: Vec<u8>,
}

impl Default for ReplyHead {
    fn default() -> Self {
        ReplyHead {
            status: 200,
            content_type: ContentType::None,
            explicit_content_type: false,
            answered: false,
            fault: None,
            headers: Vec::new(),
        }
    }
}

impl ReplyHead {
    /// The status code.
    #[inline]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What `Content-Type` is to say; `None` also when the pipeline's own stands in the headers.
    #[inline]
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// The pipeline's header fields as `name: value\r\n` lines, checked.
    #[inline]
    pub fn header_lines(&self) -> &[u8] {
        &self.headers
    }

    /// Whether there is a reply.
    #[inline]
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Why the reply cannot be sent, if so; whoever sends it answers 500 instead.
    #[inline]
    pub fn fault(&self) -> Option<&ReplyFault> {
        self.fault.as_ref()
    }

    #[inline]
    fn clear(&mut self) {
        self.status = 200;
        self.content_type = ContentType::None;
        self.explicit_content_type = false;
        self.answered = false;
        self.fault = None;
        self.headers.clear();
    }

    #[inline]
    fn set_content_type(&mut self, content_type: ContentType) {
        self.content_type = if self.explicit_content_type {
            ContentType::None
        } else {
            content_type
        };
    }

    fn push_header(&mut self, name: &str, value: &str) {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            self.fault = Some(ReplyFault::HeaderName(name.to_owned()));
        } else if value
            .bytes()
            .any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
        {
            self.fault = Some(ReplyFault::HeaderValue(name.to_owned()));
        } else if SERVERS_OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            self.fault = Some(ReplyFault::ServersOwn(name.to_owned()));
        } else {
            self.explicit_content_type |= name.eq_ignore_ascii_case("content-type");
            self.headers.extend_from_slice(name.as_bytes());
            self.headers.extend_from_slice(b": ");
            self.headers
                .extend_from_slice(value.trim_matches([' ', '\t']).as_bytes());
            self.headers.extend_from_slice(b"\r\n");
        }
    }
}

/// The fields that frame a reply; a pipeline that could set them could desynchronise a connection.
const SERVERS_OWN: [&str; 7] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a reply's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// No `Content-Type` is sent.
    None,
    /// `application/json`
    Json,
    /// `text/plain; charset=utf-8`
    Text,
    /// `application/octet-stream`
    Bytes,
    /// `application/problem+json` (RFC 9457)
    Problem,
}

impl ContentType {
    /// The value of the header field.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            ContentType::None => None,
            ContentType::Json => Some("application/json"),
            ContentType::Text => Some("text/plain; charset=utf-8"),
            ContentType::Bytes => Some("application/octet-stream"),
            ContentType::Problem => Some("application/problem+json"),
        }
    }
}

/// Why a reply that a pipeline made cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyFault {
    /// The status is not one that a reply can have.
    #[error("status {0} is not one of 200 to 599")]
    Status(u16),
    /// The name is not a token (RFC 9110, section 5.6.2).
    #[error("header name {0:?} is not a token")]
    HeaderName(String),
    /// The value has a control character, such as the line break that would split the reply.
    #[error("the value of header {0:?} has a control character")]
    HeaderValue(String),
    /// The server sets this field itself.
    #[error("header {0:?} is set by the server itself")]
    ServersOwn(String),
}

/// The reason phrase of a status code (RFC 9110, section 15), empty when it is not a known one.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
