//! What a connection makes of the bytes that a client sends, in any split.

use std::fmt;

use crate::http1::{self, Decoded, Decoder, HeadMemo, HeaderTable, Reject, Step};

/// What a request may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Request line and header fields, and apart from them chunk extensions and trailers.
    pub max_head_bytes: usize,
    /// Header fields, at most 100.
    pub max_headers: usize,
    /// The decoded body.
    pub max_body_bytes: usize,
}

/// What a connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It serves a request.
    Request(Received),
    /// It refuses a request, and closes.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The name of the fault.
        fault: String,
        /// What the client reads.
        message: String,
    },
    /// It tells a client that waits to go on.
    Continue,
    /// The last bytes are not a whole request.
    More,
}

/// A request that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// As it was sent.
    pub method: String,
    /// Path and query, or `*`.
    pub target: String,
    /// The minor version.
    pub minor: u8,
    /// Whether the client keeps the connection.
    pub keep_alive: bool,
    /// The fields in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Without chunk framing.
    pub body: Vec<u8>,
    /// Where the next request begins in all that was sent.
    pub end: usize,
}

/// Feeds `parts` one after the other to a connection that lasts until a request is refused.
///
/// # Panics
///
/// If the codec breaks one of its promises: a request that consumes nothing or more than there is,
/// a demand for bytes that are there, framing that is removed and makes the buffer longer.
pub fn replay<'p>(parts: impl IntoIterator<Item = &'p [u8]>, limits: &Limits) -> Vec<Event> {
    let mut connection = Connection::default();
    let limits = limits.into();
    for part in parts {
        if !connection.receive(part, &limits) {
            return connection.events;
        }
    }
    if !connection.inbox.is_empty() {
        connection.events.push(Event::More);
    }
    connection.events
}

/// A connection reduced to its inbox.
#[derive(Default)]
struct Connection {
    decoder: Decoder,
    memo: HeadMemo,
    inbox: Vec<u8>,
    received_bytes: usize,
    events: Vec<Event>,
}

impl Connection {
    /// Takes bytes; `false` when the connection has to close.
    fn receive(&mut self, bytes: &[u8], limits: &http1::Limits) -> bool {
        self.inbox.extend_from_slice(bytes);
        self.received_bytes += bytes.len();
        loop {
            let mut table = HeaderTable::new();
            let memo = &mut self.memo;
            match self.decoder.decode(&self.inbox, memo, &mut table, limits) {
                Ok(Step::Request(request)) => {
                    let consumed = request.consumed;
                    assert!(consumed > 0 && consumed <= self.inbox.len());
                    let end = self.received_bytes - (self.inbox.len() - consumed);
                    self.events.push(Event::request(&request, end));
                    self.inbox.drain(..consumed);
                }
                Ok(Step::NeedMore {
                    send_continue,
                    needed_bytes,
                }) => {
                    assert!(needed_bytes > self.inbox.len());
                    self.events.extend(send_continue.then_some(Event::Continue));
                    return true;
                }
                Ok(Step::Dechunk) => match self.decoder.dechunk(&mut self.inbox, limits) {
                    Ok(len) => {
                        assert!(len <= self.inbox.len());
                        self.inbox.truncate(len);
                    }
                    Err(reject) => return self.refuse(&reject),
                },
                Err(reject) => return self.refuse(&reject),
            }
        }
    }

    fn refuse(&mut self, reject: &Reject) -> bool {
        self.events.push(Event::Refused {
            status: reject.status(),
            fault: reject.name().to_owned(),
            message: reject.to_string(),
        });
        false
    }
}

impl Event {
    fn request(request: &Decoded<'_, '_>, end: usize) -> Self {
        assert_eq!(request.is_head, request.method == "HEAD");
        let headers = request.headers.iter();
        Event::Request(Received {
            method: request.method.to_owned(),
            target: request.target.to_owned(),
            minor: request.http_minor,
            keep_alive: request.keep_alive,
            headers: headers
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
            body: request.body.to_vec(),
            end,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Request(request) => request.fmt(f),
            Event::Refused { status, fault, .. } => write!(f, "{status} {fault}"),
            Event::Continue => f.write_str("continue"),
            Event::More => f.write_str("more"),
        }
    }
}

impl fmt::Display for Received {
    /// As the files of cases write it: `POST / HTTP/1.1 keep-alive {Host: a} "body"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
            .collect();
        write!(
            f,
            "{} {} HTTP/1.{} {} {{{}}} \"{}\"",
            self.method,
            self.target,
            self.minor,
            if self.keep_alive {
                "keep-alive"
            } else {
                "close"
            },
            headers.join("; "),
            self.body.escape_ascii()
        )
    }
}

impl Default for Limits {
    fn default() -> Self {
        let http1::Limits {
            max_head_bytes,
            max_headers,
            max_body_bytes,
        } = http1::Limits::default();
        Limits {
            max_head_bytes,
            max_headers,
            max_body_bytes,
        }
    }
}

impl From<&Limits> for http1::Limits {
    fn from(limits: &Limits) -> Self {
        http1::Limits {
            max_head_bytes: limits.max_head_bytes,
            max_headers: limits.max_headers,
            max_body_bytes: limits.max_body_bytes,
        }
    }
}
