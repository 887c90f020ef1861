//! One end of a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketFlags, acceptfrom_with, recv, send, shutdown, sockopt,
};
use snapback_operators::Peer;

/// A non-blocking stream socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// The peer will send no more.
    End,
}

impl Socket {
    /// Takes the next connection that waits at a listener, if any.
    pub(crate) fn accept(listener: impl AsFd) -> io::Result<Option<(Socket, Peer)>> {
        loop {
            match acceptfrom_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, address)) => {
                    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                    return Ok(Some((Socket(fd), address.map_or(Peer::Unix, Peer::Tcp))));
                }
                Err(Errno::AGAIN) => return Ok(None),
                // The client went away while it waited: the next one, please.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads into the spare capacity of `buffer`, once.
    #[inline]
    pub(crate) fn read(&self, buffer: &mut Vec<u8>) -> rustix::io::Result<Read> {
        outcome(recv(&self.0, spare_capacity(buffer), RecvFlags::empty()).map(|(_, bytes)| bytes))
    }

    /// Writes what the kernel takes now, possibly nothing.
    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        loop {
            match send(&self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                other => return other,
            }
        }
    }

    /// Makes the close a reset, so that the kernel does not hold on to what was not taken.
    pub(crate) fn reset_on_close(&self) {
        // It fails only for a socket that is none.
        let _ = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn finish(&self) {
        // The peer may be gone already; then there is nobody to tell.
        let _ = shutdown(&self.0, Shutdown::Write);
    }
}

#[inline]
fn outcome(result: rustix::io::Result<usize>) -> rustix::io::Result<Read> {
    match result {
        Ok(0) => Ok(Read::End),
        Ok(bytes) => Ok(Read::Bytes(bytes)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Empty),
        Err(errno) => Err(errno),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
