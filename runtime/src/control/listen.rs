//! Where the admin listener listens, and what happens when the port is taken.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use super::error::AdminError;
use crate::options::AdminAddress;

/// Where `auto` begins.
pub(super) const AUTO_HOST: &str = "127.0.0.1";
pub(super) const AUTO_PORT: u16 = 4040;
/// How many ports `auto` tries: as many processes of one machine get one each.
const PORTS: u16 = 16;

/// The address that a name and a port stand for.
pub(super) fn resolve(
    asked: &AdminAddress,
    host: &str,
    port: u16,
) -> Result<SocketAddr, AdminError> {
    let bind_error = |source| AdminError::Bind {
        address: asked.to_string(),
        source,
    };
    let mut addresses = (host, port).to_socket_addrs().map_err(bind_error)?;
    addresses.next().ok_or_else(|| {
        let unknown = "the name has no address";
        bind_error(io::Error::new(io::ErrorKind::NotFound, unknown))
    })
}

/// An address to listen at.
///
/// A taken port never keeps a service from starting. With `auto` the next ones are tried, as Spark does
/// for its web page. A port that was named is one that somebody was told of, so it is waited for: in a
/// hand-off the process before this one has it until this one serves.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    address: SocketAddr,
    counts_up: bool,
}

impl Wanted {
    pub(super) fn new(address: SocketAddr, counts_up: bool) -> Self {
        Wanted { address, counts_up }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A listener, or none when the port is taken.
    pub(super) fn bind(&self) -> Result<Option<TcpListener>, AdminError> {
        let ports = if self.counts_up { PORTS } else { 1 };
        for port in (self.address.port()..).take(ports.into()) {
            match listener(SocketAddr::new(self.address.ip(), port)) {
                Ok(listener) => return Ok(Some(listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(source) => {
                    return Err(AdminError::Bind {
                        address: self.address.to_string(),
                        source,
                    });
                }
            }
        }
        Ok(None)
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_stepped_over_only_where_none_was_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let exact = Wanted::new(address, false).bind().unwrap();
        assert!(exact.is_none(), "{exact:?}");
        // All ports up to the last one may be taken, by other tests; not the wanted one itself.
        if let Some(next) = Wanted::new(address, true).bind().unwrap() {
            let port = next.local_addr().unwrap().port();
            assert!((address.port() + 1..address.port() + PORTS).contains(&port));
        }
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        // 192.0.2.0/24 is for documentation (RFC 5737).
        let error = Wanted::new("192.0.2.1:0".parse().unwrap(), false).bind();
        let text = error.unwrap_err().to_string();
        assert!(text.contains("192.0.2.1:0"), "{text}");
    }
}
