//! Sockets between two processes of one machine that pass open descriptors (unix(7), SCM_RIGHTS).
//!
//! They keep the bounds of messages (`SOCK_SEQPACKET`), so that a message and the descriptors that
//! belong to it arrive together or not at all.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sockopt,
};

use super::context::IoContext;
use super::event_fd::EventFd;
use super::listen::BindError;
use super::unix_socket::{self, Access, SocketFile};

/// The longest message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Descriptors that one message may carry; the kernel takes 253.
pub(crate) const MAX_DESCRIPTORS: usize = 128;
/// How long connecting, or sending a message, may wait for the other end.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Processes that may wait to be talked to.
const BACKLOG: i32 = 8;

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// A message, with what it carried. It is empty when the other end has closed.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Connects to the process that listens at `path`; `None` when none does.
    pub(crate) fn connect(path: &Path) -> io::Result<Option<Channel>> {
        let address = SocketAddrUnix::new(path).context("use the path")?;
        let socket = packet_socket().context("make a socket")?;
        // Connecting waits while others wait there.
        bound_sending(&socket)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => Ok(Some(Channel(socket))),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(errno) => Err(errno).context("connect"),
        }
    }

    /// The user of the process at the other end, as the kernel knows it.
    pub(crate) fn uid_of_other(&self) -> io::Result<u32> {
        let credentials = sockopt::socket_peercred(&self.0).context("learn who is there")?;
        Ok(credentials.uid.as_raw())
    }

    /// Sends a message, whole.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = descriptors.len() <= MAX_DESCRIPTORS
            && (descriptors.is_empty()
                || control.push(SendAncillaryMessage::ScmRights(descriptors)));
        if !fits {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let parts = [IoSlice::new(bytes)];
        let sent = rustix::net::sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)
            .context("send a message")?;
        if sent < bytes.len() {
            return Err(io::Error::other("a message was cut"));
        }
        Ok(())
    }

    /// Receives the next message, within the time. With `stop`, waiting ends when that is raised.
    pub(crate) fn receive(&self, within: Duration, stop: Option<&EventFd>) -> io::Result<Received> {
        await_readable(self.0.as_fd(), Some(within), stop)?;
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut received = rustix::net::recvmsg(&self.0, &mut parts, &mut control, flags);
        // Who closes with messages unread does it in this way. It is told once, before what the other
        // end had said last.
        if let Err(Errno::CONNRESET) = received {
            received = rustix::net::recvmsg(&self.0, &mut parts, &mut control, flags);
        }
        let message = received.context("receive a message")?;
        let descriptors: Vec<_> = control
            .drain()
            .filter_map(|part| match part {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::other("a message was too long"));
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "descriptors were lost on the way; if this process may open too few, raise `ulimit -n`",
            ));
        }
        bytes.truncate(message.bytes);
        Ok(Received { bytes, descriptors })
    }
}

/// A socket at a path where other processes of the same user may connect.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    fd: OwnedFd,
    file: SocketFile,
}

impl Rendezvous {
    /// Begins to listen at `path`, which only the user of this process may connect to.
    pub(crate) fn bind(path: &Path) -> Result<Rendezvous, BindError> {
        let system = |errno: Errno| BindError::System {
            address: path.display().to_string(),
            source: errno.into(),
        };
        let fd = packet_socket().map_err(system)?;
        let file = unix_socket::bind_and_listen(&fd, path, BACKLOG, Access::Owner)?;
        Ok(Rendezvous { fd, file })
    }

    /// Takes over the socket of another process, which still has it.
    pub(crate) fn adopt(fd: OwnedFd, path: &Path) -> io::Result<Rendezvous> {
        let listens = sockopt::socket_acceptconn(&fd).context("look at the socket")?;
        let kind = sockopt::socket_type(&fd).context("look at the socket")?;
        if !listens || kind != SocketType::SEQPACKET {
            return Err(io::Error::other("what came is not the socket of hand-offs"));
        }
        let file = SocketFile::of_another(path)?;
        Ok(Rendezvous { fd, file })
    }

    /// Waits for a process that connects; `None` when `stop` is raised first.
    pub(crate) fn accept(&self, stop: &EventFd) -> io::Result<Option<Channel>> {
        match await_readable(self.fd.as_fd(), None, Some(stop)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            ready => ready?,
        }
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::accept_with(&self.fd, flags).context("accept a process")?;
        bound_sending(&socket)?;
        Ok(Some(Channel(socket)))
    }

    /// Gives the socket to another process, with its file, which this one leaves alone from now on.
    pub(crate) fn give(&self) {
        self.file.leave();
    }

    /// Takes the socket from another process, or back from it, with its file, which is to be removed
    /// in the end; false when the file is not there any more.
    pub(crate) fn take(&self) -> bool {
        self.file.claim()
    }
}

impl AsFd for Rendezvous {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The user that this process acts as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn bound_sending(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(SEND_TIMEOUT))
        .context("set a time-out")
}

fn packet_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Waits until there is something to read. The error is `TimedOut` when the time is over first, and
/// `Interrupted` when `stop` is raised first.
fn await_readable(
    fd: BorrowedFd<'_>,
    within: Option<Duration>,
    stop: Option<&EventFd>,
) -> io::Result<()> {
    let until = within.map(|within| Instant::now() + within);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut watched = vec![PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        watched.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
        match poll(&mut watched, left.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_)
                if watched
                    .get(1)
                    .is_some_and(|stop| !stop.revents().is_empty()) =>
            {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for a process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair(dir: &Path) -> (Rendezvous, Channel, Channel) {
        let path = dir.join("s");
        let rendezvous = Rendezvous::bind(&path).unwrap();
        let here = Channel::connect(&path).unwrap().unwrap();
        let stop = EventFd::new().unwrap();
        let there = rendezvous.accept(&stop).unwrap().unwrap();
        (rendezvous, here, there)
    }

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let (_rendezvous, here, there) = pair(dir.path());
        let file = File::create_new(dir.path().join("f")).unwrap();
        file.write_at(b"text", 0).unwrap();
        here.send(b"first", &[]).unwrap();
        here.send(b"second", &vec![file.as_fd(); MAX_DESCRIPTORS])
            .unwrap();
        assert!(
            here.send(b"", &vec![file.as_fd(); MAX_DESCRIPTORS + 1])
                .is_err()
        );
        let first = there.receive(PATIENCE, None).unwrap();
        assert_eq!((&*first.bytes, first.descriptors.len()), (&b"first"[..], 0));
        let second = there.receive(PATIENCE, None).unwrap();
        assert_eq!(second.bytes, b"second");
        assert_eq!(second.descriptors.len(), MAX_DESCRIPTORS);
        let received = File::from(second.descriptors.into_iter().next_back().unwrap());
        assert_eq!(received.metadata().unwrap().len(), 4);
        drop(here);
        assert!(there.receive(PATIENCE, None).unwrap().bytes.is_empty());
    }

    #[test]
    fn the_last_words_of_who_hung_up_without_listening_are_heard() {
        let dir = tempfile::tempdir().unwrap();
        let (_rendezvous, here, there) = pair(dir.path());
        here.send(b"unread", &[]).unwrap();
        there.send(b"last words", &[]).unwrap();
        drop(there);
        let hear = || here.receive(PATIENCE, None).unwrap().bytes;
        assert_eq!(hear(), b"last words");
        assert!(hear().is_empty());
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (_rendezvous, here, there) = pair(dir.path());
        here.send(&[0; MAX_MESSAGE_BYTES + 1], &[]).unwrap();
        let error = there.receive(PATIENCE, None).unwrap_err();
        assert_eq!(error.to_string(), "a message was too long");
    }

    #[test]
    fn waiting_ends_in_time_or_when_it_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let (rendezvous, here, there) = pair(dir.path());
        let error = there.receive(Duration::from_millis(1), None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let stop = EventFd::new().unwrap();
        stop.raise();
        let error = here.receive(PATIENCE, Some(&stop)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(rendezvous.accept(&stop).unwrap().is_none());
    }

    #[test]
    fn only_the_user_of_the_process_may_connect() {
        let dir = tempfile::tempdir().unwrap();
        let (_rendezvous, here, _there) = pair(dir.path());
        let mode = std::fs::metadata(dir.path().join("s"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(here.uid_of_other().unwrap(), own_uid());
    }

    #[test]
    fn where_nobody_listens_nobody_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(Channel::connect(&path).unwrap().is_none());
        let rendezvous = Rendezvous::bind(&path).unwrap();
        rendezvous.give();
        drop(rendezvous);
        assert!(path.exists());
        assert!(Channel::connect(&path).unwrap().is_none());
        // What a killed process left is replaced, and removed in the end.
        drop(Rendezvous::bind(&path).unwrap());
        assert!(!path.exists());
    }
}
