//! The request as every stage of a pipeline sees it.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use crate::headers::Headers;
use crate::trace::TraceContext;

/// One request: its id, head and body, all borrowed from the connection's inbox.
///
/// Query parameters, headers and the path are reached through methods of their own, so that one can
/// never shadow another.
///
/// ```
/// use snapback_operators::{Headers, Peer, Request, Run};
///
/// let run = Run::new("my_api", "0192");
/// let header = [httparse::Header { name: "X-Color", value: b"green" }];
/// let request = Request::new(run.request_id(0, 7), "GET", "/my_api?color=red%20wine", &Peer::Unix)
///     .with_headers(Headers::new(&header));
/// assert_eq!(request.path(), "/my_api");
/// assert_eq!(request.query("color").as_deref(), Some("red wine"));
/// assert_eq!(request.headers().get_str("x-color"), Some("green"));
/// assert_eq!(request.id().to_string(), "0192-0-7");
/// ```
#[derive(Clone, Copy)]
pub struct Request<'r> {
    id: RequestId<'r>,
    method: &'r str,
    target: &'r str,
    headers: Headers<'r>,
    body: &'r [u8],
    peer: &'r Peer,
    identity: Option<&'r str>,
}

impl<'r> Request<'r> {
    /// A request without headers and body. `target` is the path with its raw query.
    #[inline]
    pub fn new(id: RequestId<'r>, method: &'r str, target: &'r str, peer: &'r Peer) -> Self {
        Request {
            id,
            method,
            target,
            headers: Headers::new(&[]),
            body: &[],
            peer,
            identity: None,
        }
    }

    /// The same request with these headers.
    #[inline]
    #[must_use]
    pub fn with_headers(self, headers: Headers<'r>) -> Self {
        Request { headers, ..self }
    }

    /// The same request with this body.
    #[inline]
    #[must_use]
    pub fn with_body(self, body: &'r [u8]) -> Self {
        Request { body, ..self }
    }

    /// The same request, whose sender has proved to be this one.
    #[inline]
    #[must_use]
    pub fn with_identity(self, identity: Option<&'r str>) -> Self {
        Request { identity, ..self }
    }

    /// The id, which is never given twice.
    #[inline]
    pub fn id(&self) -> RequestId<'r> {
        self.id
    }

    /// The id under which logs of several systems find the request: the client's own, if it sent a
    /// usable one in `x-request-id` (the option `requestIdHeader`), or else [`id`](Self::id).
    ///
    /// A usable one has 1 to 128 visible characters of ASCII, and there is one such header.
    pub fn correlation_id(&self) -> CorrelationId<'r> {
        let name = self.id.run.request_id_header.as_deref();
        let sent = name.and_then(|name| sole(self.headers.get_all(name)));
        sent.and_then(usable_id)
            .map_or(CorrelationId::Made(self.id), CorrelationId::Taken)
    }

    /// The trace that the request belongs to: the client's, from `traceparent` (W3C Trace Context),
    /// or a new one. Each look gives the same.
    ///
    /// The server's own part of the trace has an id as well; give
    /// [`TraceContext::traceparent`] to services that the pipeline calls.
    pub fn trace(&self) -> TraceContext<'r> {
        TraceContext::of(self)
    }

    /// Who sent the request: the name of the key that it brought, where the service asks for keys
    /// (the options `authKeysFile` and `authKeysEnv`).
    #[inline]
    pub fn identity(&self) -> Option<&'r str> {
        self.identity
    }

    /// The method as it was sent, for example `POST`.
    #[inline]
    pub fn method(&self) -> &'r str {
        self.method
    }

    /// Path and raw query as they were sent, for example `/my_api?a=1`.
    #[inline]
    pub fn target(&self) -> &'r str {
        self.target
    }

    /// The path without the query, as it was sent.
    #[inline]
    pub fn path(&self) -> &'r str {
        self.target
            .split_once('?')
            .map_or(self.target, |(path, _)| path)
    }

    /// The query as it was sent, without its `?`; empty when there is none.
    #[inline]
    pub fn raw_query(&self) -> &'r str {
        self.target.get(self.path_bytes() + 1..).unwrap_or_default()
    }

    /// Where the path ends. `split_once` costs twice as many instructions for so short a text.
    #[inline]
    fn path_bytes(&self) -> usize {
        self.target
            .bytes()
            .position(|byte| byte == b'?')
            .unwrap_or(self.target.len())
    }

    /// The first query parameter of this name, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'r, str>> {
        self.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// All query parameters in order, decoded (`+` and `%20` are spaces).
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'r, str>, Cow<'r, str>)> + use<'r> {
        form_urlencoded::parse(self.raw_query().as_bytes())
    }

    /// The headers.
    #[inline]
    pub fn headers(&self) -> Headers<'r> {
        self.headers
    }

    /// The value of `Content-Type`, when it was sent and is text.
    #[inline]
    pub fn content_type(&self) -> Option<&'r str> {
        self.headers.get_str("content-type")
    }

    /// The body, whole; empty when there is none.
    #[inline]
    pub fn body(&self) -> &'r [u8] {
        self.body
    }

    /// Who sent the request.
    #[inline]
    pub fn peer(&self) -> Peer {
        *self.peer
    }
}

/// Shows neither query, header values nor body: they may hold secrets.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &format_args!("{}", self.id))
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .field("peer", &self.peer)
            .field("identity", &self.identity)
            .finish()
    }
}

/// The longest id of a client that is taken.
const MAX_CORRELATION_ID_BYTES: usize = 128;

/// The only one, if there is one.
pub(crate) fn sole<'r>(mut values: impl Iterator<Item = &'r [u8]>) -> Option<&'r [u8]> {
    values.next().filter(|_| values.next().is_none())
}

/// A client's id that may stand in headers, logs and JSON as it is.
fn usable_id(value: &[u8]) -> Option<&str> {
    let fits = (1..=MAX_CORRELATION_ID_BYTES).contains(&value.len());
    let is_visible = fits && value.iter().all(u8::is_ascii_graphic);
    is_visible.then(|| str::from_utf8(value).unwrap_or_default())
}

/// The id under which logs of several systems find a request; see
/// [`Request::correlation_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorrelationId<'r> {
    /// The client's, or that of a proxy in front.
    Taken(&'r str),
    /// None was sent: the request's own id.
    Made(RequestId<'r>),
}

impl fmt::Display for CorrelationId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CorrelationId::Taken(id) => f.write_str(id),
            CorrelationId::Made(id) => id.fmt(f),
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection from this address.
    Tcp(SocketAddr),
    /// A Unix domain socket, whose clients have no address.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// One start of a query: the part that the ids of all its requests share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    service: Box<str>,
    id: Box<str>,
    /// Where clients give their own ids, if they are heeded.
    request_id_header: Option<Box<str>>,
    /// Whether clients' traces are heeded.
    trace_context: bool,
}

/// Where clients give the ids of their requests, unless the query is told otherwise.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

impl Run {
    /// The run `id` of the query that serves `service`. The id must be new at each start.
    pub fn new(service: impl Into<Box<str>>, id: impl Into<Box<str>>) -> Self {
        Run {
            service: service.into(),
            id: id.into(),
            request_id_header: Some(REQUEST_ID_HEADER.into()),
            trace_context: true,
        }
    }

    /// The same run, whose clients give the ids of their requests in this header; `None`: nowhere.
    #[must_use]
    pub fn with_request_id_header(self, name: Option<Box<str>>) -> Self {
        Run {
            request_id_header: name,
            ..self
        }
    }

    /// The same run, which heeds `traceparent` or does not.
    #[must_use]
    pub fn with_trace_context(self, trace_context: bool) -> Self {
        Run {
            trace_context,
            ..self
        }
    }

    /// Where clients give the ids of their requests, if these are heeded.
    pub fn request_id_header(&self) -> Option<&str> {
        self.request_id_header.as_deref()
    }

    /// Whether `traceparent` is heeded.
    pub fn trace_context(&self) -> bool {
        self.trace_context
    }

    /// The name of the originating service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The run id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the request at `offset` of `partition`.
    #[inline]
    pub fn request_id(&self, partition: u32, offset: u64) -> RequestId<'_> {
        RequestId {
            run: self,
            partition,
            offset,
        }
    }
}

/// Names one request: originating service, run, partition, offset.
///
/// It is shown as `<run>-<partition>-<offset>`. Since the run id is new at each start, an id is
/// never given twice, although nothing is stored when it is handed out.
/// Spark Serving's counterpart is the column `id` of type
/// `struct<originatingService, requestId, partitionId>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId<'r> {
    run: &'r Run,
    partition: u32,
    offset: u64,
}

impl<'r> RequestId<'r> {
    /// What the ids of the run share.
    pub(crate) fn of_run(&self) -> &'r Run {
        self.run
    }

    /// The service that took the request.
    pub fn service(&self) -> &'r str {
        self.run.service()
    }

    /// The run of the query that took it.
    pub fn run(&self) -> &'r str {
        self.run.id()
    }

    /// The partition that took it.
    #[inline]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Which request of its partition this is.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.run.id, self.partition, self.offset)
    }
}
