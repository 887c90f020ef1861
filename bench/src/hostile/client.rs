//! One hostile client: what it does when its time has come.
//!
//! A client never waits for its server. It looks at its connection when its own clock says so, sends
//! and reads what it can without waiting, and comes back an interval later; so the load that hostile
//! clients are is the same for every server, and a server that stalls is not left in peace for it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::{Deserialize, Serialize};

use super::ammunition::Ammunition;
use super::hostility::Hostility;
use super::source::Source;
use crate::load::Body;
use crate::random::SplitMix;

/// What the clients of one kind did and saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that were begun.
    pub opened: u64,
    /// Connections that were refused, or could not be begun.
    pub refused: u64,
    /// Connections that the server closed in order.
    pub closed_by_server: u64,
    /// Connections that the server reset.
    pub reset_by_server: u64,
    /// Connections that are open at the end.
    pub open_at_end: u64,
    /// Bytes that the kernel took.
    pub sent_bytes: u64,
    /// Bytes that were read.
    pub received_bytes: u64,
    /// Replies by their status.
    pub replies: BTreeMap<u16, u64>,
}

/// What all clients of a thread share.
pub(super) struct Arms {
    pub(super) ammunition: Ammunition,
    pub(super) source: Source,
    pub(super) random: SplitMix,
    /// Room for what one read takes.
    pub(super) buffer: Vec<u8>,
}

/// One client, with a connection now and then.
pub(super) struct Client {
    hostility: Hostility,
    connection: Option<Connection>,
}

struct Connection {
    socket: OwnedFd,
    script: Body,
    sent: usize,
    /// Whether something came back.
    is_answered: bool,
    /// Whether this is its first step.
    is_new: bool,
}

/// Why a client has no connection any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Refused,
    Closed,
    Reset,
}

impl From<Errno> for Gone {
    fn from(error: Errno) -> Gone {
        match error {
            Errno::CONNREFUSED => Gone::Refused,
            _ => Gone::Reset,
        }
    }
}

/// How often a client reads in one step at most.
const READS_PER_STEP: usize = 16;

/// What a slow reader reads in one step.
const SIP_BYTES: usize = 1024;

/// The receive buffer of a slow reader; the kernel doubles it.
const SLOW_WINDOW_BYTES: usize = 4096;

impl Client {
    pub(super) fn new(hostility: Hostility) -> Client {
        Client {
            hostility,
            connection: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Does what is due.
    pub(super) fn step(&mut self, arms: &mut Arms, tally: &mut Tally) {
        if self.connection.is_none() {
            self.connection = open(self.hostility, arms, tally);
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.step(self.hostility, arms, tally) {
            Ok(true) => return,
            Ok(false) => connection.prepare_end(self.hostility, &mut arms.random),
            Err(Gone::Refused) => tally.refused += 1,
            Err(Gone::Closed) => tally.closed_by_server += 1,
            Err(Gone::Reset) => tally.reset_by_server += 1,
        }
        self.connection = None;
    }
}

fn open(hostility: Hostility, arms: &mut Arms, tally: &mut Tally) -> Option<Connection> {
    let window_bytes = (hostility == Hostility::SlowReaders).then_some(SLOW_WINDOW_BYTES);
    match arms.source.open(window_bytes) {
        Ok(socket) => {
            tally.opened += 1;
            Some(Connection {
                socket,
                script: arms.ammunition.script(hostility, &mut arms.random),
                sent: 0,
                is_answered: false,
                is_new: true,
            })
        }
        Err(_) => {
            tally.refused += 1;
            None
        }
    }
}

impl Connection {
    /// Sends and reads; gives whether the client goes on with this connection.
    fn step(
        &mut self,
        hostility: Hostility,
        arms: &mut Arms,
        tally: &mut Tally,
    ) -> Result<bool, Gone> {
        let was_new = std::mem::replace(&mut self.is_new, false);
        match hostility {
            Hostility::Slowloris => {
                self.send(1, tally)?;
                self.read(READS_PER_STEP, &mut arms.buffer, tally)?;
                Ok(true)
            }
            Hostility::HalfBodies => {
                self.send(usize::MAX, tally)?;
                self.read(READS_PER_STEP, &mut arms.buffer, tally)?;
                Ok(true)
            }
            Hostility::SlowReaders => {
                self.send(usize::MAX, tally)?;
                self.read(1, &mut arms.buffer[..SIP_BYTES], tally)?;
                Ok(true)
            }
            Hostility::Churn => {
                // Half of those that asked leave the reply unread, which makes the end a reset.
                if was_new {
                    self.send(usize::MAX, tally)?;
                } else if arms.random.below(2) == 0 {
                    self.read(READS_PER_STEP, &mut arms.buffer, tally)?;
                }
                Ok(was_new)
            }
            Hostility::Garbage => {
                self.send(usize::MAX, tally)?;
                if !was_new {
                    self.read(READS_PER_STEP, &mut arms.buffer, tally)?;
                }
                Ok(was_new)
            }
            Hostility::GzipBombs => {
                self.send(usize::MAX, tally)?;
                self.read(READS_PER_STEP, &mut arms.buffer, tally)?;
                Ok(!self.is_answered)
            }
            Hostility::Aborts => {
                self.send(usize::MAX, tally)?;
                Ok(was_new && arms.random.below(2) == 0)
            }
            Hostility::Poison => {
                self.read(READS_PER_STEP, &mut arms.buffer, tally)?;
                if self.sent == self.script.len() {
                    self.sent = 0;
                }
                self.send(usize::MAX, tally)?;
                Ok(true)
            }
        }
    }

    /// Half of the connections that churn end by a reset, and all that are aborted.
    fn prepare_end(&self, hostility: Hostility, random: &mut SplitMix) {
        let resets = match hostility {
            Hostility::Churn => random.below(2) == 0,
            Hostility::Aborts => true,
            _ => false,
        };
        if resets {
            // What cannot be set is an orderly end.
            let _ = set_socket_linger(&self.socket, Some(Duration::ZERO));
        }
    }

    fn send(&mut self, most: usize, tally: &mut Tally) -> Result<(), Gone> {
        let rest = &self.script[self.sent..];
        if rest.is_empty() {
            return Ok(());
        }
        let rest = &rest[..rest.len().min(most)];
        match send(&self.socket, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.sent += sent;
                tally.sent_bytes += sent as u64;
                Ok(())
            }
            // The connection is not there yet, or its buffer is full.
            Err(Errno::AGAIN) => Ok(()),
            // What the server said before it closed is still to be read.
            Err(Errno::PIPE) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, reads: usize, buffer: &mut [u8], tally: &mut Tally) -> Result<(), Gone> {
        for _ in 0..reads {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Gone::Closed),
                Ok((count, _)) => {
                    tally.received_bytes += count as u64;
                    self.is_answered = true;
                    if let Some(status) = status(&buffer[..count]) {
                        *tally.replies.entry(status).or_default() += 1;
                    }
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The status of the reply that begins here, if one does.
fn status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.")?;
    str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_reply_is_where_it_begins() {
        assert_eq!(status(b"HTTP/1.1 408 Request Timeout\r\n"), Some(408));
        assert_eq!(status(b"xxxx"), None);
        assert_eq!(status(b"HTTP/1.1 4"), None);
    }
}
