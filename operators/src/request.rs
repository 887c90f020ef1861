//! The request as every stage of a pipeline sees it.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use crate::headers::Headers;

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

    /// The id, which is never given twice.
    #[inline]
    pub fn id(&self) -> RequestId<'r> {
        self.id
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
            .finish()
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
}

impl Run {
    /// The run `id` of the query that serves `service`. The id must be new at each start.
    pub fn new(service: impl Into<Box<str>>, id: impl Into<Box<str>>) -> Self {
        Run {
            service: service.into(),
            id: id.into(),
        }
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
