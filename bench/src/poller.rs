//! epoll, edge-triggered, as the floor and the load generator use it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use clap::ValueEnum;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use serde::Serialize;

/// What a thread does while no socket is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PollMode {
    /// It sleeps in the kernel until one is.
    Blocking,
    /// It asks again at once: 13 µs less until it sees a request, for a whole core.
    Spin,
}

/// One epoll instance and the events of its last wait.
pub struct Poller {
    epoll: OwnedFd,
    mode: PollMode,
    events: Vec<epoll::Event>,
}

/// A socket that became ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The token that it was added with.
    pub token: u64,
    /// Its peer is gone or has stopped sending, so it must be read to its end.
    pub closing: bool,
    /// It can be written to again.
    pub writable: bool,
}

/// Events taken by one wait; more simply wait for the next one.
const EVENTS_PER_WAIT: usize = 1024;

impl Poller {
    /// Opens an epoll instance.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new(mode: PollMode) -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller {
            epoll,
            mode,
            events: Vec::with_capacity(EVENTS_PER_WAIT),
        })
    }

    /// Watches a listener: it is ready as long as a connection waits there.
    ///
    /// # Errors
    /// The kernel refuses another watch.
    pub fn add_listener(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            socket,
            epoll::EventData::new_u64(token),
            epoll::EventFlags::IN,
        )?)
    }

    /// Watches a connection for bytes to read, edge-triggered: its reader must go on until a read
    /// gives less than it had room for.
    ///
    /// # Errors
    /// The kernel refuses another watch.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            socket,
            epoll::EventData::new_u64(token),
            READABLE,
        )?)
    }

    /// Watches a connection for room to write too, or no longer. It is not watched always, since
    /// a Unix socket reports room after every exchange.
    ///
    /// # Errors
    /// The connection is not watched.
    pub fn watch_writable(&self, socket: impl AsFd, token: u64, on: bool) -> io::Result<()> {
        let flags = if on {
            READABLE | epoll::EventFlags::OUT
        } else {
            READABLE
        };
        Ok(epoll::modify(
            &self.epoll,
            socket,
            epoll::EventData::new_u64(token),
            flags,
        )?)
    }

    /// Waits for sockets to become ready, at most `timeout` (for ever without one), in spin mode
    /// not at all. Gives how many are; [`Poller::ready`] names them.
    ///
    /// # Errors
    /// Only a broken poller fails; an interrupted wait gives 0.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = match self.mode {
            PollMode::Spin => Some(Timespec::default()),
            PollMode::Blocking => timeout.and_then(|timeout| timeout.try_into().ok()),
        };
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The socket at `index` of those that the last wait found.
    #[inline]
    pub fn ready(&self, index: usize) -> Ready {
        let event = self.events[index];
        let flags = event.flags;
        Ready {
            token: event.data.u64(),
            closing: flags.intersects(
                epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR,
            ),
            writable: flags.contains(epoll::EventFlags::OUT),
        }
    }
}

const READABLE: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);
