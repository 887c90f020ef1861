//! The end of a listener: nobody is let in any more to whom nobody will answer.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use rustix::net::{Shutdown, shutdown};

use super::{Listener, LocalAddress};

/// Drops the packets that begin a TCP connection (SYN without ACK), and lets all others pass: a
/// classic BPF program, which sees a packet from its TCP header on; byte 13 holds the flags.
const DROP_SYN: [libc::sock_filter; 5] = [
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 13),
    step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0x12),
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0x02),
    step(libc::BPF_RET | libc::BPF_K, 0, 0),
    step(libc::BPF_RET | libc::BPF_K, 0, u32::MAX),
];

/// `otherwise` is how many steps are skipped when a comparison fails.
const fn step(code: u32, otherwise: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: otherwise,
        k,
    }
}

impl Listener {
    /// Lets no further connection begin, but for a listener that another process also has. What
    /// waits can still be accepted, and handshakes under way go on to their end.
    ///
    /// Between the last accept and the close the kernel would tell a client that it is connected,
    /// and then reset it, perhaps with a request under way. A client whose first packet is dropped
    /// sends it again, and finds the listener closed: its connection is refused, which loses nothing.
    ///
    /// # Errors
    ///
    /// The system refuses the filter, as a sandbox may; the listener is as before.
    pub(crate) fn let_nobody_in(&self) -> io::Result<()> {
        if self.is_shared.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.local {
            // Clients are refused from here on.
            LocalAddress::Unix(_) => Ok(shutdown(&self.fd, Shutdown::Read)?),
            LocalAddress::Tcp(_) => self.drop_first_packets(),
        }
    }

    fn drop_first_packets(&self) -> io::Result<()> {
        let mut program = DROP_SYN;
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the descriptor is open, and `filter` and the program that it points to outlive the
        // call, which copies both.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const filter).cast(),
                size_of_val(&filter) as libc::socklen_t,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{Address, SocketOwner, bind};
    use super::*;
    use crate::io::socket::Socket;
    use crate::options::PortMode;
    use crate::service_info::Scheme;

    fn listen(host: &str) -> Arc<Listener> {
        let bound = bind(&Address::new(host, 0), Scheme::Http, PortMode::Shared, 1, 1);
        let bound = bound.expect("it is free");
        Arc::clone(&bound[0][0])
    }

    fn address(listener: &Listener) -> SocketAddr {
        match listener.local() {
            LocalAddress::Tcp(address) => *address,
            LocalAddress::Unix(path) => panic!("{} is no address", path.display()),
        }
    }

    #[test]
    fn who_is_connected_is_accepted_and_nobody_else_gets_in() {
        let listener = listen("127.0.0.1");
        let before = TcpStream::connect(address(&listener)).expect("it listens");
        listener.let_nobody_in().expect("filters are allowed");
        let patience = Duration::from_millis(50);
        let late = TcpStream::connect_timeout(&address(&listener), patience);
        assert_eq!(
            late.map(drop).map_err(|error| error.kind()),
            Err(io::ErrorKind::TimedOut),
            "its first packet is dropped"
        );
        let accepted = Socket::accept(&*listener).expect("it can be accepted");
        let (_, peer) = accepted.expect("who was connected waits");
        assert_eq!(peer.to_string(), before.local_addr().unwrap().to_string());
        assert!(Socket::accept(&*listener).expect("it is open").is_none());
    }

    #[test]
    fn a_listener_that_another_process_has_stays_open() {
        let listener = listen("127.0.0.1");
        listener.give();
        listener.let_nobody_in().expect("nothing is done");
        TcpStream::connect(address(&listener)).expect("the other process may accept it");
        assert!(listener.take(), "it has no file that could be gone");
        listener.let_nobody_in().expect("filters are allowed");
        let patience = Duration::from_millis(50);
        assert!(TcpStream::connect_timeout(&address(&listener), patience).is_err());
    }

    #[test]
    fn who_took_a_listener_over_closes_it_unless_a_service_manager_keeps_it() {
        let patience = Duration::from_millis(50);
        for (owner, is_kept) in [(SocketOwner::Taker, false), (SocketOwner::Giver, true)] {
            let given = listen("127.0.0.1");
            let fd = given.as_fd().try_clone_to_owned().expect("a descriptor");
            let taken = Listener::adopt(fd, Scheme::Http, owner).expect("it listens");
            taken.let_nobody_in().expect("nothing is done");
            TcpStream::connect(address(&given)).expect("who gave it may serve on");
            assert!(taken.take(), "it has no file that could be gone");
            taken.let_nobody_in().expect("filters are allowed");
            let late = TcpStream::connect_timeout(&address(&given), patience);
            assert_eq!(late.is_ok(), is_kept, "{owner:?}");
        }
    }

    #[test]
    fn a_unix_listener_refuses_and_keeps_who_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = listen(&format!("unix:{}", path.display()));
        let _before = UnixStream::connect(&path).expect("it listens");
        listener.let_nobody_in().expect("it can be shut down");
        let late = UnixStream::connect(&path).map(drop);
        assert_eq!(
            late.map_err(|error| error.kind()),
            Err(io::ErrorKind::ConnectionRefused)
        );
        assert!(Socket::accept(&*listener).expect("it waits").is_some());
    }
}
