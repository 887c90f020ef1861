//! One connection of the load generator: requests out, replies in, in order.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::ClientConnection;

use super::reply::{Reply, ReplyParser};
use super::secure;

/// A connection, and the requests on it that have no reply yet.
#[derive(Debug)]
pub(super) struct Connection {
    /// Nothing when it could not be established again.
    pub(super) socket: Option<OwnedFd>,
    /// The TLS of a secured one, whose handshake is over. Boxed, so that plain ones stay small.
    tls: Option<Box<ClientConnection>>,
    /// Requests that wait for their replies, oldest first.
    pub(super) in_flight: VecDeque<InFlight>,
    /// The beginning of a reply whose end has not arrived.
    partial: Vec<u8>,
    /// Requests that the socket had no room for.
    unsent: Vec<u8>,
}

/// A request without its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    /// When it was meant to be sent; its latency counts from there.
    pub(super) due_ns: u64,
    /// When it was sent; its time-out counts from there.
    pub(super) sent_ns: u64,
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server closed it; orderly when it said so in its last reply.
    Eof,
    /// The server reset it.
    Reset,
    /// The server sent what is no reply, or one that nobody had asked for.
    Malformed,
    /// The server did not reply in time.
    Timeout,
}

impl From<Errno> for Fault {
    fn from(_: Errno) -> Fault {
        Fault::Reset
    }
}

impl Connection {
    pub(super) fn open(socket: OwnedFd, tls: Option<Box<ClientConnection>>) -> Connection {
        Connection {
            socket: Some(socket),
            tls,
            ..Connection::closed()
        }
    }

    /// One that is not there.
    pub(super) fn closed() -> Connection {
        Connection {
            socket: None,
            tls: None,
            in_flight: VecDeque::new(),
            partial: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// The version and the suite of its TLS.
    pub(super) fn agreed(&self) -> Option<String> {
        self.tls.as_deref().map(secure::agreed)
    }

    /// Sends `requests`, one or several of them. Gives whether the socket took all; if not, the
    /// rest waits for [`Connection::flush`].
    #[inline]
    pub(super) fn send(&mut self, requests: &[u8]) -> Result<bool, Fault> {
        if let (Some(tls), Some(socket)) = (&mut self.tls, &self.socket) {
            return secure::send_all(tls, socket, requests);
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(requests);
            return Ok(false);
        }
        let sent = self.try_send(requests)?;
        self.unsent.extend_from_slice(&requests[sent..]);
        Ok(sent == requests.len())
    }

    /// Sends what waits. Gives whether nothing waits any more.
    pub(super) fn flush(&mut self) -> Result<bool, Fault> {
        if let (Some(tls), Some(socket)) = (&mut self.tls, &self.socket) {
            return secure::flush(tls, socket);
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    fn try_send(&self, bytes: &[u8]) -> Result<usize, Fault> {
        let Some(socket) = &self.socket else {
            return Err(Fault::Reset);
        };
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads once into `input`, and gives the bytes read (less than `input` has room for when the
    /// socket is empty now).
    #[inline]
    pub(super) fn receive(&mut self, input: &mut [u8]) -> Result<usize, Fault> {
        let Some(socket) = &self.socket else {
            return Err(Fault::Reset);
        };
        if let Some(tls) = &mut self.tls {
            return secure::receive(tls, socket, input);
        }
        match recv(socket, input, RecvFlags::empty()) {
            Ok((0, _)) => Err(Fault::Eof),
            Ok((count, _)) => Ok(count),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands each reply that `input` completes to `each`, with its body and its request.
    #[inline]
    pub(super) fn replies(
        &mut self,
        input: &[u8],
        parser: &mut ReplyParser,
        mut each: impl FnMut(&Reply, &[u8], InFlight),
    ) -> Result<(), Fault> {
        let whole;
        let mut rest = input;
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(input);
            whole = std::mem::take(&mut self.partial);
            rest = &whole;
        }
        while !rest.is_empty() {
            let Some(reply) = parser.parse(rest).map_err(|_| Fault::Malformed)? else {
                break;
            };
            let request = self.in_flight.pop_front().ok_or(Fault::Malformed)?;
            each(reply, &rest[reply.body.clone()], request);
            rest = &rest[reply.body.end..];
            if reply.closes {
                return Err(Fault::Eof);
            }
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}
