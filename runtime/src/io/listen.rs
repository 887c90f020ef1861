//! From an address to bound, listening sockets.
//!
//! Sockets are bound without `SO_REUSEPORT`: with it, a second process of the same user would bind
//! in silence and take half the traffic, and closing one of its listeners would reset the
//! connections that wait there. So a port in use is always seen, and counted past.

mod adopt;
mod closing;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::unix_socket::{self, Access, SocketFile};
use crate::options::PortMode;
use crate::service_info::Scheme;

pub use adopt::AdoptError;
pub(crate) use adopt::SocketOwner;

/// Connections that the kernel holds until they are accepted; it lowers this to
/// `net.core.somaxconn`. When it is full, clients see their SYN go unanswered and try again.
pub(crate) const BACKLOG: i32 = 4096;

/// The listeners of one partition: one per address that the host stands for.
pub(crate) type PartitionListeners = Vec<Arc<Listener>>;

/// Binds the listeners of all partitions.
///
/// - [`PortMode::Shared`]: every partition gets the same listeners. If a port is in use at any of
///   the addresses, the next is tried, `max_port_attempts` ports in all. Port 0 lets the system
///   pick one, the same at all addresses.
/// - [`PortMode::PerPartition`]: partition `i` starts at `port + i` and counts up from there; with
///   port 0 each gets a port that the system picks. Unix sockets get `.0`, `.1`, … appended.
pub(crate) fn bind(
    address: &Address,
    scheme: Scheme,
    mode: PortMode,
    partitions: usize,
    max_port_attempts: u32,
) -> Result<Vec<PartitionListeners>, BindError> {
    match mode {
        PortMode::Shared => {
            let listeners = match address {
                Address::Tcp { host, port } => {
                    bind_counting_up(scheme, host, &resolve(host)?, *port, 0, max_port_attempts)?
                }
                Address::Unix(path) => vec![listen_unix(scheme, path.clone())?],
            };
            Ok(vec![listeners; partitions])
        }
        PortMode::PerPartition => (0..partitions)
            .map(|partition| bind_partition(address, scheme, partition, max_port_attempts))
            .collect(),
    }
}

/// Binds the listeners of one partition, as [`bind`] does with [`PortMode::PerPartition`].
pub(crate) fn bind_partition(
    address: &Address,
    scheme: Scheme,
    partition: usize,
    attempts: u32,
) -> Result<PartitionListeners, BindError> {
    match address {
        Address::Tcp { host, port } => {
            bind_counting_up(scheme, host, &resolve(host)?, *port, partition, attempts)
        }
        Address::Unix(path) => Ok(vec![listen_unix(
            scheme,
            path_of_partition(path, partition),
        )?]),
    }
}

/// Where the query would listen at first, or a partition of it: what a socket that somebody else
/// bound must be at to be taken for it. Port 0 is no place.
pub(crate) fn wanted(
    address: &Address,
    partition: Option<usize>,
) -> Result<Vec<LocalAddress>, BindError> {
    Ok(match address {
        Address::Tcp { port: 0, .. } => Vec::new(),
        Address::Tcp { host, port } => {
            let port = usize::from(*port) + partition.unwrap_or(0);
            let Ok(port) = u16::try_from(port) else {
                let partition = partition.unwrap_or(0);
                return Err(BindError::PastLastPort { partition, port });
            };
            let ips = resolve(host)?.into_iter();
            ips.map(|ip| LocalAddress::Tcp((ip.ip(), port).into()))
                .collect()
        }
        Address::Unix(path) => vec![LocalAddress::Unix(
            partition.map_or_else(|| path.clone(), |index| path_of_partition(path, index)),
        )],
    })
}

fn path_of_partition(path: &Path, partition: usize) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(format!(".{partition}"));
    path.into()
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A TCP port; the host may stand for several addresses.
    Tcp { host: String, port: u16 },
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl Address {
    /// The address that the options `host` and `port` mean: `unix:/path` is a Unix domain socket.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        match host.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp {
                host: host.to_owned(),
                port,
            },
        }
    }
}

/// A bound, listening, non-blocking socket. Dropping it closes it and removes its socket file.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    local: LocalAddress,
    scheme: Scheme,
    /// Removed on drop, before the socket closes.
    file: Option<SocketFile>,
    /// Another process also has it, and may go on with it after this one.
    is_shared: AtomicBool,
    /// A service manager has it too, whoever else takes it: it is always shared.
    is_kept: bool,
}

/// What a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalAddress {
    /// An IP address and the port that the system gave, never 0.
    Tcp(SocketAddr),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

/// As a service manager writes it: an address and a port, or a path.
impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Tcp(address) => address.fmt(f),
            LocalAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Listener {
    /// What this listener is bound to.
    pub(crate) fn local(&self) -> &LocalAddress {
        &self.local
    }

    /// What is spoken here.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// An IP address by which others reach this listener; `None` for a Unix domain socket.
    ///
    /// For a listener at all addresses it is the one that the routing table prefers. Nothing is
    /// sent for that: connecting a datagram socket only looks up its route.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        let LocalAddress::Tcp(local) = self.local else {
            return None;
        };
        if !local.ip().is_unspecified() {
            return Some(local.ip());
        }
        // Addresses reserved for documentation, RFC 5737 and RFC 3849.
        let (any, remote, loopback): (IpAddr, IpAddr, IpAddr) = match local {
            SocketAddr::V4(_) => (
                Ipv4Addr::UNSPECIFIED.into(),
                Ipv4Addr::new(192, 0, 2, 1).into(),
                Ipv4Addr::LOCALHOST.into(),
            ),
            SocketAddr::V6(_) => (
                Ipv6Addr::UNSPECIFIED.into(),
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
                Ipv6Addr::LOCALHOST.into(),
            ),
        };
        let routed = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect((remote, 9))?;
            socket.local_addr()
        });
        Some(routed.map_or(loopback, |address| address.ip()))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why a service cannot listen where it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The host is neither an address nor a name that this machine can resolve.
    #[error(
        "cannot resolve host `{host}`: {source}; give an IP address of this machine, a name that \
         resolves to one, or `*` for all"
    )]
    Unresolved {
        /// The option `host`.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// All the ports that may be tried are in use.
    #[error(
        "no free port at {host}: {} in use; stop the process that listens there, choose another \
         port, raise maxPortAttempts ({attempts}), or give port 0 to let the system pick one",
        range(*.first, *.last)
    )]
    PortsInUse {
        /// The option `host`.
        host: String,
        /// The first port that was tried; 0 if the system picked.
        first: u16,
        /// The last port that was tried.
        last: u16,
        /// The option `maxPortAttempts`.
        attempts: u32,
    },
    /// Counting a port per partition went past the last port.
    #[error(
        "partition {partition} would listen at port {port}, past the last port 65535; give a lower \
         port, or portMode `shared`"
    )]
    PastLastPort {
        /// The partition.
        partition: usize,
        /// The port that it would have.
        port: usize,
    },
    /// The process may not bind this port.
    #[error(
        "no permission to listen at {address}: low ports are privileged; choose a port from 1024 \
         up, or give the program CAP_NET_BIND_SERVICE"
    )]
    Privileged {
        /// The address and port.
        address: SocketAddr,
    },
    /// The address is not one of this machine's, or of a family that it lacks.
    #[error("{ip} (host `{host}`) is no address of this machine; give one that is, or `*` for all")]
    NotLocal {
        /// The option `host`.
        host: String,
        /// The address that it stands for.
        ip: IpAddr,
    },
    /// Another process listens at this Unix domain socket.
    #[error("socket {path} is in use: a process listens there; stop it or choose another path")]
    SocketInUse {
        /// The path of the socket.
        path: String,
    },
    /// Something that is no socket is at the path.
    #[error(
        "{path} exists and is no socket, so it is left alone; remove it or choose another path"
    )]
    NotASocket {
        /// The path.
        path: String,
    },
    /// The path is empty, holds a NUL, or is longer than the kernel's socket addresses (unix(7)).
    #[error(
        "`{path}` cannot name a Unix domain socket: it must have 1 to 107 bytes, none of them 0"
    )]
    SocketPath {
        /// The path.
        path: String,
    },
    /// Any other error of the system.
    #[error("cannot listen at {address}: {source}")]
    System {
        /// The address and port, or path.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
}

fn range(first: u16, last: u16) -> String {
    match (first, last) {
        (0, _) => "every port that the system picked was".to_owned(),
        (first, last) if first == last => format!("port {first} is"),
        (first, last) => format!("ports {first} to {last} are all"),
    }
}

/// The addresses that `host` stands for, without a port. `*` is all of IPv4 and of IPv6; an IPv6
/// address may stand in brackets.
fn resolve(host: &str) -> Result<Vec<SocketAddr>, BindError> {
    if host == "*" {
        return Ok(vec![
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            (Ipv4Addr::UNSPECIFIED, 0).into(),
        ]);
    }
    let unbracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let unresolved = |source| BindError::Unresolved {
        host: host.to_owned(),
        source,
    };
    let mut addresses = Vec::new();
    for address in (unbracketed.unwrap_or(host), 0)
        .to_socket_addrs()
        .map_err(unresolved)?
    {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(unresolved(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

/// Binds all of `addresses` at the first port that is free at each of them.
fn bind_counting_up(
    scheme: Scheme,
    host: &str,
    addresses: &[SocketAddr],
    port: u16,
    partition: usize,
    attempts: u32,
) -> Result<PartitionListeners, BindError> {
    let start = if port == 0 {
        0
    } else {
        usize::from(port) + partition
    };
    let first = u16::try_from(start).map_err(|_| BindError::PastLastPort {
        partition,
        port: start,
    })?;
    let mut last = first;
    for attempt in 0..attempts {
        // A port that the system picked for the first address may be taken at the second: the next
        // attempt lets it pick another.
        last = match first {
            0 => 0,
            _ => match u16::try_from(start + attempt as usize) {
                Ok(port) => port,
                Err(_) => break,
            },
        };
        if let Some(listeners) = bind_port(scheme, host, addresses, last)? {
            if last != first {
                tracing::warn!(
                    host,
                    wanted = first,
                    port = last,
                    "the port is in use, so another one is listened at; maxPortAttempts=1 refuses instead"
                );
            }
            return Ok(listeners);
        }
    }
    Err(BindError::PortsInUse {
        host: host.to_owned(),
        first,
        last,
        attempts,
    })
}

/// Binds all of `addresses` at one port, or gives `None` if it is in use at any of them.
///
/// An address that this machine does not have is passed over if its whole family is missing and
/// another family binds: so `localhost` works where IPv6 is off.
fn bind_port(
    scheme: Scheme,
    host: &str,
    addresses: &[SocketAddr],
    mut port: u16,
) -> Result<Option<PartitionListeners>, BindError> {
    let mut listeners = PartitionListeners::new();
    let mut missing = Vec::new();
    for &address in addresses {
        let mut address = address;
        address.set_port(port);
        match listen_tcp(address) {
            Ok((fd, local)) => {
                port = local.port();
                let local = LocalAddress::Tcp(local);
                listeners.push(Arc::new(Listener {
                    fd,
                    local,
                    scheme,
                    file: None,
                    is_shared: AtomicBool::new(false),
                    is_kept: false,
                }));
            }
            Err(Errno::ADDRINUSE) => return Ok(None),
            Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => missing.push(address),
            Err(Errno::ACCESS) => return Err(BindError::Privileged { address }),
            Err(errno) => {
                let source = errno.into();
                return Err(BindError::System {
                    address: address.to_string(),
                    source,
                });
            }
        }
    }
    for address in missing {
        let family_is_there = listeners.iter().any(|listener| {
            matches!(listener.local, LocalAddress::Tcp(local) if local.is_ipv6() == address.is_ipv6())
        });
        if listeners.is_empty() || family_is_there {
            return Err(BindError::NotLocal {
                host: host.to_owned(),
                ip: address.ip(),
            });
        }
        tracing::warn!(host, address = %address.ip(), "not listening: no address of this machine");
    }
    Ok(Some(listeners))
}

fn listen_tcp(address: SocketAddr) -> rustix::io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let fd = stream_socket(family)?;
    // Only so that a restart does not wait for the connections of the last run (TIME_WAIT);
    // a port that somebody listens at is still refused.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        // So that `[::]` and `0.0.0.0` can be bound side by side at one port.
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    // Accepted sockets inherit it, which saves a syscall per connection.
    sockopt::set_tcp_nodelay(&fd, true)?;
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, BACKLOG)?;
    let local = SocketAddr::try_from(rustix::net::getsockname(&fd)?)?;
    Ok((fd, local))
}

fn listen_unix(scheme: Scheme, path: PathBuf) -> Result<Arc<Listener>, BindError> {
    let fd = stream_socket(AddressFamily::UNIX).map_err(|errno| BindError::System {
        address: path.display().to_string(),
        source: errno.into(),
    })?;
    let file = unix_socket::bind_and_listen(&fd, &path, BACKLOG, Access::Umask)?;
    Ok(Arc::new(Listener {
        fd,
        local: LocalAddress::Unix(path),
        scheme,
        file: Some(file),
        is_shared: AtomicBool::new(false),
        is_kept: false,
    }))
}

fn stream_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

#[cfg(test)]
mod tests;
