//! The descriptor that ends a partition's sleep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::context::IoContext;

#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(EventFd(eventfd(0, flags).context("create an eventfd")?))
    }

    /// Makes it readable. It fails only when it is so already, 2^64 - 2 times.
    pub(crate) fn raise(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Whether it is readable.
    pub(crate) fn is_raised(&self) -> bool {
        let at_once = Timespec::default();
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        // A call that a signal cuts short is as good as one a moment earlier.
        poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }

    /// Makes it unreadable again.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
