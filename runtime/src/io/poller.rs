//! The readiness of sockets, by epoll.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::alarm::Alarm;
use super::context::IoContext;

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// New bytes or the end of the stream, once for each arrival (edge-triggered, so that a socket
    /// that was read empty is not polled again by the kernel at the next wait).
    Read,
    /// The same, and room to write.
    ReadWrite,
    /// A listener that all partitions share: one of them is woken, and as long as sockets wait.
    Accept,
    /// A wake-up, as long as it is not taken.
    Wake,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        use epoll::EventFlags as Flags;
        match self {
            Interest::Read => Flags::IN | Flags::RDHUP | Flags::ET,
            Interest::ReadWrite => Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET,
            Interest::Accept => Flags::IN | Flags::EXCLUSIVE,
            Interest::Wake => Flags::IN,
        }
    }
}

/// What became of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) token: u64,
    /// The peer will send no more: what it sent has to be read to its end.
    pub(crate) hung_up: bool,
    /// The peer takes no more either: it reset the connection.
    pub(crate) is_gone: bool,
}

/// How long to wait for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Look and come back.
    Poll,
    /// Sleep until there is one.
    Block,
    /// Sleep until there is one, or until about this time of the monotonic clock; it may be a bit
    /// early.
    Until(u64),
}

/// Events taken at one wait at the most; the others come with the next one.
const EVENTS_PER_WAIT: usize = 256;
/// The poller's own token; no other descriptor may have it.
const ALARM: u64 = u64::MAX - 1;

pub(crate) struct Poller {
    epoll: OwnedFd,
    alarm: Alarm,
    events: Box<[MaybeUninit<epoll::Event>; EVENTS_PER_WAIT]>,
}

impl Poller {
    pub(crate) fn new() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?;
        let poller = Poller {
            epoll,
            alarm: Alarm::new()?,
            events: Box::new([MaybeUninit::uninit(); EVENTS_PER_WAIT]),
        };
        poller.add(&poller.alarm, ALARM, Interest::Read)?;
        Ok(poller)
    }

    pub(crate) fn add(
        &self,
        fd: impl AsFd,
        token: u64,
        interest: Interest,
    ) -> rustix::io::Result<()> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )
    }

    pub(crate) fn change(
        &self,
        fd: impl AsFd,
        token: u64,
        interest: Interest,
    ) -> rustix::io::Result<()> {
        epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )
    }

    /// Stops watching a descriptor that stays open.
    pub(crate) fn remove(&self, fd: impl AsFd) -> rustix::io::Result<()> {
        epoll::delete(&self.epoll, fd)
    }

    /// Waits, and gives each event to `take`. Tells whether these were all there are; if not, the
    /// next wait begins with the others.
    pub(crate) fn wait(
        &mut self,
        wait: Wait,
        mut take: impl FnMut(Event),
    ) -> rustix::io::Result<bool> {
        let at_once = Timespec::default();
        let timeout = match wait {
            Wait::Poll => Some(&at_once),
            Wait::Block => None,
            Wait::Until(time_ns) => {
                self.alarm.ring_by(time_ns)?;
                None
            }
        };
        let events = match epoll::wait(&self.epoll, &mut self.events[..], timeout) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(true),
            Err(errno) => return Err(errno),
        };
        for event in events.iter() {
            use epoll::EventFlags as Flags;
            let (flags, token) = (event.flags, event.data.u64());
            if token == ALARM {
                self.alarm.rang();
                continue;
            }
            take(Event {
                token,
                hung_up: flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR),
                is_gone: flags.intersects(Flags::HUP | Flags::ERR),
            });
        }
        Ok(events.len() < EVENTS_PER_WAIT)
    }
}
