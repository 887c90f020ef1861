//! One connection of the floor: one read, every request that it completed, one write.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::hello::{Answered, Hello};
use crate::poller::{Poller, Ready};

/// One accepted socket. Both buffers are empty, and unallocated, as long as requests arrive whole
/// and the socket takes replies whole.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// The beginning of a request whose end has not arrived.
    partial: Vec<u8>,
    /// Replies that the socket had no room for. While there are some, nothing is read.
    unsent: Vec<u8>,
}

/// What became of a connection that was served.
pub(super) enum Served {
    /// It waits for its next event.
    Open,
    /// The peer has closed it, or sent what is no request.
    Closed,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            partial: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Reads, answers and writes until the socket is empty, which a read of less than `input`
    /// has room for tells without a further read.
    #[inline]
    pub(super) fn serve(
        &mut self,
        ready: Ready,
        poller: &Poller,
        hello: &Hello,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<Served, Errno> {
        if !self.unsent.is_empty() {
            if !ready.writable {
                return Ok(if ready.closing {
                    Served::Closed
                } else {
                    Served::Open
                });
            }
            output.clear();
            output.append(&mut self.unsent);
            if !self.flush(ready.token, poller, output)? {
                return Ok(Served::Open);
            }
            poller_result(poller.watch_writable(&self.socket, ready.token, false))?;
        }
        loop {
            let count = match recv(&self.socket, &mut *input, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(Served::Closed),
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Ok(Served::Open),
                Err(error) => return Err(error),
            };
            output.clear();
            let answered = self.answer(&input[..count], hello, output);
            let flushed = output.is_empty() || self.flush(ready.token, poller, output)?;
            if answered == Answered::Malformed {
                return Ok(Served::Closed);
            }
            if !flushed || (count < input.len() && !ready.closing) {
                return Ok(Served::Open);
            }
        }
    }

    /// Answers every request that is complete and keeps the rest.
    #[inline]
    fn answer(&mut self, input: &[u8], hello: &Hello, output: &mut Vec<u8>) -> Answered {
        if self.partial.is_empty() {
            let answered = hello.answer(input, output);
            if let Answered::All { consumed } = answered
                && consumed < input.len()
            {
                self.partial.extend_from_slice(&input[consumed..]);
            }
            return answered;
        }
        self.partial.extend_from_slice(input);
        let answered = hello.answer(&self.partial, output);
        if let Answered::All { consumed } = answered {
            self.partial.drain(..consumed);
        }
        answered
    }

    /// Writes `output` and keeps what the socket has no room for. Gives whether it took all.
    #[inline]
    fn flush(&mut self, token: u64, poller: &Poller, output: &[u8]) -> Result<bool, Errno> {
        let sent = match send(&self.socket, output, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error),
        };
        if sent == output.len() {
            return Ok(true);
        }
        self.unsent.extend_from_slice(&output[sent..]);
        poller_result(poller.watch_writable(&self.socket, token, true))?;
        Ok(false)
    }
}

fn poller_result(result: std::io::Result<()>) -> Result<(), Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
