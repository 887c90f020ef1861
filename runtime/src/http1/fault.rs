//! What can be wrong with a request, and with which status it is answered.

/// Why a request is refused. The connection closes after the answer.
///
/// Texts out of the request are escaped and cut to [`SHOWN_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reject {
    #[error(
        "more than {limit} empty lines stand before the request line; send the request line first"
    )]
    EmptyLines { limit: usize },
    #[error(
        "the request line \"{line}\" is not of the form METHOD SP TARGET SP HTTP/1.1 CRLF; \
         percent-encode spaces and control characters in the target"
    )]
    RequestLine { line: Box<str> },
    #[error("the request target \"{target}\" does not suit the method {method}; {way_out}")]
    Target {
        method: Box<str>,
        target: Box<str>,
        way_out: &'static str,
    },
    #[error("a CR or LF stands alone in the framing of the request; end each line with CRLF")]
    LineBreak,
    #[error(
        "the header line \"{line}\" does not begin with a field name and a colon; use token \
         characters, no white space before the colon, and no folded lines"
    )]
    HeaderName { line: Box<str> },
    #[error("the value of the header \"{name}\" has a control character; remove or encode it")]
    HeaderValue { name: Box<str> },
    #[error("an HTTP/1.1 request has no Host header; send one, which may be empty")]
    HostMissing,
    #[error("the request has several Host headers; send one")]
    HostRepeated,
    #[error(
        "the host \"{value}\" is not of the form name[:port]; correct the Host header or the target"
    )]
    Host { value: Box<str> },
    #[error("Content-Length \"{value}\" is not one number of bytes; send digits only")]
    ContentLength { value: Box<str> },
    #[error("the request has several Content-Length headers; send one")]
    ContentLengthRepeated,
    #[error("the request has both Content-Length and Transfer-Encoding; send one of them")]
    LengthAndCoding,
    #[error(
        "Transfer-Encoding \"{value}\" does not end with one plain \"chunked\"; \
         send chunked alone, or a Content-Length"
    )]
    TransferEncoding { value: Box<str> },
    #[error("an HTTP/1.0 request has Transfer-Encoding; send a Content-Length or use HTTP/1.1")]
    CodingInHttp10,
    #[error("the chunk size in \"{line}\" is not one to {limit} hexadecimal digits")]
    ChunkSize { line: Box<str>, limit: usize },
    #[error(
        "the chunk extension in \"{line}\" is not of the form ;name=value with the value on the \
         same line; leave extensions out"
    )]
    ChunkExtension { line: Box<str> },
    #[error("the data of a chunk is not followed by CRLF; make the chunk size fit the data")]
    ChunkEnd,
    #[error("the body is larger than {limit_bytes} bytes; send less, or raise maxRequestBytes")]
    BodyTooLarge { limit_bytes: usize },
    #[error("the chunk extensions are longer than {limit_bytes} bytes; leave them out")]
    ChunkExtensionsTooLarge { limit_bytes: usize },
    #[error(
        "the request line is longer than the {limit_bytes} bytes of a whole head; \
         move parameters from the target into the body"
    )]
    TargetTooLong { limit_bytes: usize },
    #[error("the expectation \"{value}\" is unknown; only 100-continue can be met")]
    Expectation { value: Box<str> },
    #[error(
        "the head of the request is longer than {limit_bytes} bytes; send fewer or shorter headers"
    )]
    HeadTooLarge { limit_bytes: usize },
    #[error("the request has more than {limit} header or trailer fields; send fewer")]
    TooManyHeaders { limit: usize },
    #[error("the trailers of the body are longer than {limit_bytes} bytes; leave them out")]
    TrailersTooLarge { limit_bytes: usize },
    #[error("CONNECT asks for a tunnel and this is no proxy; use another method")]
    Connect,
    #[error("the transfer coding \"{value}\" is unknown; send chunked alone")]
    Coding { value: Box<str> },
    #[error("the protocol version \"{version}\" is not served; use HTTP/1.1 or HTTP/1.0")]
    Version { version: Box<str> },
}

impl Reject {
    /// The status of the answer (RFC 9110, section 15). This is the only place that decides it.
    pub(crate) fn status(&self) -> u16 {
        use Reject::*;
        match self {
            EmptyLines { .. } | RequestLine { .. } | Target { .. } | LineBreak => 400,
            HeaderName { .. } | HeaderValue { .. } => 400,
            HostMissing | HostRepeated | Host { .. } => 400,
            ContentLength { .. } | ContentLengthRepeated | LengthAndCoding => 400,
            TransferEncoding { .. } | CodingInHttp10 => 400,
            ChunkSize { .. } | ChunkExtension { .. } | ChunkEnd => 400,
            BodyTooLarge { .. } | ChunkExtensionsTooLarge { .. } => 413,
            TargetTooLong { .. } => 414,
            Expectation { .. } => 417,
            HeadTooLarge { .. } | TooManyHeaders { .. } | TrailersTooLarge { .. } => 431,
            Connect | Coding { .. } => 501,
            Version { .. } => 505,
        }
    }
}

/// How much of a request a message shows.
const SHOWN_BYTES: usize = 64;

/// Bytes of a request as a message may show them: printable, escaped, cut.
#[cold]
pub(super) fn shown(bytes: &[u8]) -> Box<str> {
    let mut text = bytes[..bytes.len().min(SHOWN_BYTES)]
        .escape_ascii()
        .to_string();
    if bytes.len() > SHOWN_BYTES {
        text.push_str("...");
    }
    text.into()
}
