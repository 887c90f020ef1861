//! The types of options that are neither a number nor a text.

use std::fmt;

/// How an idle partition waits for its next request (option `pollMode`).
///
/// A wake-up from sleep costs a request several microseconds; spinning costs the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollMode {
    /// Sleep until a socket is ready: no CPU when idle.
    Blocking,
    /// Spin for `spinDuration` after the last request, then sleep.
    Adaptive,
    /// Never sleep: the lowest latency, and a whole core per partition.
    Spin,
}

/// Which ports the partitions of a query listen at (option `portMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortMode {
    /// One port for the query; connections are dealt out to the partitions.
    Shared,
    /// Partition `i` listens at `port + i`, for a balancer of connections.
    PerPartition,
}

/// What happens when the rows of a tee do not get into its sink as fast as they come (option
/// `teeOverflow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TeeOverflow {
    /// Requests are refused before they are worked on: what is answered is in the sink.
    Shed,
    /// Requests are served, and their rows are dropped and counted.
    Drop,
}

/// The oldest version of TLS that a service speaks (option `tlsMinVersion`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246) and 1.3.
    Tls12,
    /// TLS 1.3 (RFC 8446) alone.
    Tls13,
}

/// Which cores the partitions are pinned to (option `pinning`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pinning {
    /// Partition `i` on the `i`-th core that the process may run on, starting over after the last.
    Auto,
    /// No partition is pinned; the kernel places and moves the threads.
    Off,
    /// Partition `i` on the `i`-th core of this list, starting over after the last.
    Cores(Vec<usize>),
}

/// Which sockets of the service manager a query listens at (option `listenFds`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenFds {
    /// Those at the query's own address, if there are any; else it binds its own.
    Auto,
    /// None.
    Off,
    /// Those with this name (`FileDescriptorName=`), wherever they listen.
    Named(String),
}

/// Where the admin listener of a session listens (option `adminAddress`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminAddress {
    /// At `127.0.0.1:4040`, or the next port that is free.
    #[default]
    Auto,
    /// Nowhere: this query does not open it.
    None,
    /// Exactly at this host and port; port 0 lets the system pick one.
    At {
        /// A name or an IP address.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Auto => f.write_str("auto"),
            AdminAddress::None => f.write_str("none"),
            AdminAddress::At { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            AdminAddress::At { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
