//! The descriptor that ends a partition's sleep at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::context::IoContext;

/// A timer of the kernel that stays set from one sleep to the next.
///
/// The time-out of a wait is a timer too, but one that is set and taken back at each wait, which is
/// each request of a client that is alone: 3 % of its CPU time. Deadlines nearly always move on
/// before they are over, so this one is set only to an earlier time than it has. It then rings too
/// early at times, and who is woken for nothing sets it anew.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
    /// When it rings, by the monotonic clock; [`u64::MAX`] when it does not.
    at_ns: u64,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("create a timerfd")?;
        let at_ns = u64::MAX;
        Ok(Alarm { timer, at_ns })
    }

    /// Makes it ring at this time at the latest, at once when the time is over.
    #[inline]
    pub(crate) fn ring_by(&mut self, at_ns: u64) -> rustix::io::Result<()> {
        if at_ns < self.at_ns {
            self.set(at_ns)?;
        }
        Ok(())
    }

    #[cold]
    fn set(&mut self, at_ns: u64) -> rustix::io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: (at_ns / 1_000_000_000) as i64,
                // Zero would take the alarm back.
                tv_nsec: (at_ns % 1_000_000_000).max(1) as i64,
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.at_ns = at_ns;
        Ok(())
    }

    /// To be told that it rang. Its descriptor is watched for edges, and needs not be read.
    pub(crate) fn rang(&mut self) {
        self.at_ns = u64::MAX;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
