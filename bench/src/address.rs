//! Where a server listens, and where a client finds it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_nodelay;

use crate::HELLO_PATH;

/// The address of a listener: `127.0.0.1:8889`, `[::1]:0` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix domain socket, by its path.
    Unix(PathBuf),
}

/// Why an address or a URL was not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The host is neither an IP address nor a name that resolves.
    #[error("address `{0}`: expected HOST:PORT with a host that resolves, or unix:/path")]
    Unresolved(String),
    /// The URL has a scheme that is not spoken here.
    #[error(
        "URL `{0}`: expected http://HOST:PORT/path, https://HOST:PORT/path or unix:/socket:/path"
    )]
    Scheme(String),
}

impl Address {
    /// Binds and listens. A port of 0 picks a free one; a stale Unix socket, one that nobody
    /// listens on any more, is replaced.
    ///
    /// # Errors
    /// The address is in use, or may not be bound.
    pub fn listen(&self) -> io::Result<(OwnedFd, Address)> {
        match self {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                // Accepted sockets inherit it, which saves a syscall for each.
                set_tcp_nodelay(&listener, true)?;
                let bound = listener.local_addr()?;
                listener.set_nonblocking(true)?;
                Ok((listener.into(), Address::Tcp(bound)))
            }
            Address::Unix(path) => {
                remove_stale_socket(path)?;
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                Ok((listener.into(), self.clone()))
            }
        }
    }

    /// Connects, and makes the connection non-blocking. Waits at most `timeout` (TCP only: a Unix
    /// socket connects at once or waits for room in its backlog).
    ///
    /// # Errors
    /// Nobody listens there, or the connection was refused.
    pub fn connect(&self, timeout: Duration) -> io::Result<OwnedFd> {
        match self {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
        }
    }
}

/// Removes a socket file that refuses connections; one that is in use stays, so that the bind
/// that follows fails and says so.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        text.to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .map(Address::Tcp)
            .ok_or_else(|| AddressError::Unresolved(text.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a client asks for: an address, the `Host` to name and the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: Address,
    /// The value of the `Host` header.
    pub host: String,
    /// The path with its query, from the slash on.
    pub path: String,
    /// Whether it speaks TLS.
    pub is_secure: bool,
}

impl Target {
    /// The workload `hello` at a server, plain.
    #[must_use]
    pub fn hello(address: Address) -> Target {
        Target {
            address,
            host: "localhost".into(),
            path: HELLO_PATH.into(),
            is_secure: false,
        }
    }

    /// The host without its port, as a certificate names it.
    #[must_use]
    pub fn server_name(&self) -> &str {
        let host = match self.host.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            _ => &self.host,
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        bare.unwrap_or(host)
    }
}

impl FromStr for Target {
    type Err = AddressError;

    /// Reads `http://HOST:PORT/path` (port 80 when none is given), `https://HOST:PORT/path` (443)
    /// or `unix:/socket:/path`.
    fn from_str(url: &str) -> Result<Self, AddressError> {
        if let Some(rest) = url.strip_prefix("unix:") {
            let (socket, path) = rest.rsplit_once(":/").unwrap_or((rest, ""));
            return Ok(Target {
                address: Address::Unix(socket.into()),
                host: "localhost".into(),
                path: format!("/{path}"),
                is_secure: false,
            });
        }
        let (rest, is_secure) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            (None, None) => return Err(AddressError::Scheme(url.into())),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port {
            host.parse()?
        } else {
            let port = if is_secure { 443 } else { 80 };
            format!("{host}:{port}").parse()?
        };
        Ok(Target {
            address,
            host: host.into(),
            path: format!("/{path}"),
            is_secure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let target = |url: &str| {
            url.parse::<Target>()
                .map(|t| (t.address.to_string(), t.host, t.path))
        };
        let found =
            |address: &str, host: &str, path: &str| Ok((address.into(), host.into(), path.into()));
        assert_eq!(
            target("http://127.0.0.1:8888/my_api"),
            found("127.0.0.1:8888", "127.0.0.1:8888", "/my_api")
        );
        assert_eq!(
            target("http://127.0.0.1"),
            found("127.0.0.1:80", "127.0.0.1", "/")
        );
        assert_eq!(
            target("http://[::1]:80/a?b=c"),
            found("[::1]:80", "[::1]:80", "/a?b=c")
        );
        assert_eq!(
            target("unix:/run/s:/my_api"),
            found("unix:/run/s", "localhost", "/my_api")
        );
        assert_eq!(
            target("unix:/run/s"),
            found("unix:/run/s", "localhost", "/")
        );
        assert_eq!(
            target("ftp://x/"),
            Err(AddressError::Scheme("ftp://x/".into()))
        );
        assert_eq!(
            target("http://256.0.0.1:1/"),
            Err(AddressError::Unresolved("256.0.0.1:1".into()))
        );
    }

    #[test]
    fn secured_targets_have_a_name_for_their_certificate() {
        let target = |url: &str| {
            let target = url.parse::<Target>().expect("a URL");
            let name = target.server_name().to_owned();
            (target.address.to_string(), name, target.is_secure)
        };
        let found = |address: &str, name: &str, is_secure| (address.into(), name.into(), is_secure);
        assert_eq!(
            target("https://127.0.0.1:8443/my_api"),
            found("127.0.0.1:8443", "127.0.0.1", true)
        );
        assert_eq!(target("https://[::1]/"), found("[::1]:443", "::1", true));
        assert_eq!(
            target("http://127.0.0.1/"),
            found("127.0.0.1:80", "127.0.0.1", false)
        );
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder for the socket");
        let address = Address::Unix(folder.path().join("s"));
        let (first, _) = address.listen().expect("a fresh path is free");
        assert!(address.listen().is_err(), "someone listens there");
        drop(first);
        address.listen().expect("the stale socket is replaced");
    }
}
