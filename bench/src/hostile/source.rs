//! Where hostile connections come from.
//!
//! A client address has 28,000 ports, some of which are held for a minute after their connection's
//! end. So connections over loopback come from several addresses in turn.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// How many addresses there are, from 127.0.0.2 on.
const ADDRESSES: u8 = 32;

/// Opens connections to one server.
pub(super) struct Source {
    server: SocketAddr,
    /// Of 127.0.0.x, where the server is on loopback too.
    next: Option<u8>,
}

impl Source {
    pub(super) fn new(server: SocketAddr) -> Source {
        let is_loopback = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        Source {
            server,
            next: is_loopback.then_some(0),
        }
    }

    /// Begins to connect, without waiting for it. `window_bytes` limits what the kernel takes in
    /// for a client that does not read.
    pub(super) fn open(&mut self, window_bytes: Option<usize>) -> io::Result<OwnedFd> {
        let family = match self.server {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        set_tcp_nodelay(&socket, true)?;
        if let Some(bytes) = window_bytes {
            set_socket_recv_buffer_size(&socket, bytes)?;
        }
        if let Some(next) = &mut self.next {
            let address = Ipv4Addr::new(127, 0, 0, 2 + *next);
            *next = (*next + 1) % ADDRESSES;
            bind(&socket, &SocketAddr::from((address, 0)))?;
        }
        match connect(&socket, &self.server) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_come_from_several_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut source = Source::new(listener.local_addr().expect("it is bound"));
        let mut seen = BTreeSet::new();
        for _ in 0..2 * ADDRESSES {
            let _socket = source.open(None).expect("it listens");
            let (_, peer) = listener.accept().expect("it was connected to");
            seen.insert(peer.ip());
        }
        assert_eq!(seen.len(), usize::from(ADDRESSES));
    }
}
