use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use rustix::thread::CapabilitySet;

use super::*;

const V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V4_OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
const V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
/// Reserved for documentation, so no machine has it.
const FOREIGN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0);
const FOREIGN_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    0,
);

fn tcp(listener: &Listener) -> SocketAddr {
    match listener.local() {
        LocalAddress::Tcp(address) => *address,
        LocalAddress::Unix(path) => panic!("a Unix socket: {}", path.display()),
    }
}

fn bind_tcp(host: &str, port: u16, mode: PortMode) -> Result<Vec<PartitionListeners>, BindError> {
    bind(&Address::new(host, port), Scheme::Http, mode, 2, 10)
}

/// A byte from a client reaches the accepted socket: the listener listens.
fn assert_serves(listener: &Listener) {
    let mut client = TcpStream::connect(tcp(listener)).unwrap();
    client.write_all(b"x").unwrap();
    let mut accepted = TcpStream::from(rustix::net::accept(listener).unwrap());
    assert!(accepted.nodelay().unwrap(), "inherited from the listener");
    let mut byte = [0];
    accepted.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

/// A listener that holds a port of 127.0.0.1.
fn taken_port() -> (TcpListener, u16) {
    let taken = TcpListener::bind(V4).unwrap();
    let port = taken.local_addr().unwrap().port();
    (taken, port)
}

#[test]
fn partitions_share_one_listener() {
    let partitions = bind_tcp("127.0.0.1", 0, PortMode::Shared).unwrap();
    assert_eq!(partitions.len(), 2);
    assert_eq!(partitions[0].len(), 1);
    assert!(Arc::ptr_eq(&partitions[0][0], &partitions[1][0]));
    assert_ne!(tcp(&partitions[0][0]).port(), 0);
    assert_serves(&partitions[0][0]);
}

#[test]
fn a_listener_is_non_blocking_and_closed_on_exec() {
    let partitions = bind_tcp("127.0.0.1", 0, PortMode::Shared).unwrap();
    let listener = &partitions[0][0];
    assert_eq!(rustix::net::accept(listener).unwrap_err(), Errno::AGAIN);
    assert!(
        rustix::io::fcntl_getfd(listener)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    assert!(!sockopt::socket_reuseport(listener).unwrap());
}

#[test]
fn a_port_in_use_is_counted_past() {
    let (_taken, port) = taken_port();
    let partitions = bind_tcp("127.0.0.1", port, PortMode::Shared).unwrap();
    let bound = tcp(&partitions[0][0]).port();
    assert!(
        (port + 1..port + 10).contains(&bound),
        "{bound} after {port}"
    );
    assert_serves(&partitions[0][0]);
}

#[test]
fn a_port_shared_by_reuseport_is_in_use_for_us_and_ours_for_nobody_else() {
    let sharing = |port| {
        let fd = stream_socket(AddressFamily::INET).unwrap();
        sockopt::set_socket_reuseport(&fd, true).unwrap();
        sockopt::set_socket_reuseaddr(&fd, true).unwrap();
        let mut address = V4;
        address.set_port(port);
        rustix::net::bind(&fd, &address)?;
        rustix::net::listen(&fd, 1)?;
        SocketAddr::try_from(rustix::net::getsockname(&fd)?).map(|address| (fd, address.port()))
    };
    let (_other, port) = sharing(0).unwrap();
    let partitions = bind_tcp("127.0.0.1", port, PortMode::Shared).unwrap();
    let bound = tcp(&partitions[0][0]).port();
    assert_ne!(bound, port);
    assert_eq!(sharing(bound).unwrap_err(), Errno::ADDRINUSE);
}

#[test]
fn a_port_per_partition_counts_up_past_taken_ones() {
    let (_taken, port) = taken_port();
    let partitions = bind_tcp("127.0.0.1", port, PortMode::PerPartition).unwrap();
    let ports: Vec<_> = partitions
        .iter()
        .map(|listeners| tcp(&listeners[0]).port())
        .collect();
    assert!(
        port < ports[0] && ports[0] < ports[1],
        "{ports:?} after {port}"
    );
    for listeners in &partitions {
        assert_serves(&listeners[0]);
    }
    let picked = bind_tcp("127.0.0.1", 0, PortMode::PerPartition).unwrap();
    assert_ne!(tcp(&picked[0][0]), tcp(&picked[1][0]));
}

#[test]
fn exhausted_attempts_name_the_range_and_the_way_out() {
    let (taken, port) = taken_port();
    let error = bind(
        &Address::new("127.0.0.1", port),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no free port at 127.0.0.1: port {port} is in use; stop the process that listens \
             there, choose another port, raise maxPortAttempts (1), or give port 0 to let the \
             system pick one"
        )
    );
    drop(taken);
    let last = TcpListener::bind(("127.0.0.1", 65_535));
    let error = bind(
        &Address::new("127.0.0.1", 65_535),
        Scheme::Http,
        PortMode::Shared,
        1,
        10,
    )
    .unwrap_err();
    drop(last);
    assert!(
        matches!(
            error,
            BindError::PortsInUse {
                first: 65_535,
                last: 65_535,
                attempts: 10,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(range(8888, 8897), "ports 8888 to 8897 are all");
}

#[test]
fn ports_end_at_the_last_one() {
    let error = bind_counting_up(Scheme::Http, "h", &[V4], 65_535, 1, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("partition 1 would listen at port 65536"),
        "{error}"
    );
}

#[test]
fn several_addresses_are_bound_at_one_port() {
    let listeners = bind_port(Scheme::Http, "h", &[V4, V4_OTHER], 0)
        .unwrap()
        .unwrap();
    assert_eq!(listeners.len(), 2);
    assert_eq!(tcp(&listeners[0]).port(), tcp(&listeners[1]).port());
    listeners
        .iter()
        .for_each(|listener| assert_serves(listener));
}

#[test]
fn a_port_taken_at_any_address_is_taken_at_all() {
    let (_taken, port) = taken_port();
    assert!(
        bind_port(Scheme::Http, "h", &[V4_OTHER, V4], port)
            .unwrap()
            .is_none()
    );
    let listeners = bind_counting_up(Scheme::Http, "h", &[V4_OTHER, V4], port, 0, 10).unwrap();
    assert_ne!(tcp(&listeners[0]).port(), port);
    assert_eq!(tcp(&listeners[0]).port(), tcp(&listeners[1]).port());
}

#[test]
fn a_missing_family_is_passed_over_but_a_foreign_address_is_not() {
    let listeners = bind_port(Scheme::Http, "h", &[FOREIGN_V6, V4], 0)
        .unwrap()
        .unwrap();
    assert_eq!(listeners.len(), 1);
    assert_serves(&listeners[0]);
    for addresses in [&[FOREIGN][..], &[V4, FOREIGN], &[FOREIGN, FOREIGN_V6]] {
        let error = bind_port(Scheme::Http, "h", addresses, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "192.0.2.1 (host `h`) is no address of this machine; give one that is, or `*` for all"
        );
    }
}

#[test]
fn every_spelling_of_a_host_binds() {
    for (host, addresses) in [
        ("127.0.0.1", vec![V4.ip()]),
        ("0.0.0.0", vec![Ipv4Addr::UNSPECIFIED.into()]),
        ("::1", vec![V6.ip()]),
        ("[::1]", vec![V6.ip()]),
        ("::", vec![Ipv6Addr::UNSPECIFIED.into()]),
        ("[::]", vec![Ipv6Addr::UNSPECIFIED.into()]),
        (
            "*",
            vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
        ),
    ] {
        let resolved: Vec<_> = resolve(host).unwrap().iter().map(SocketAddr::ip).collect();
        assert_eq!(resolved, addresses, "{host}");
    }
    let partitions = bind_tcp("localhost", 0, PortMode::Shared).unwrap();
    assert!(!partitions[0].is_empty());
    assert!(
        partitions[0]
            .iter()
            .all(|listener| tcp(listener).ip().is_loopback())
    );
    let partitions = bind_tcp("*", 0, PortMode::Shared).unwrap();
    let port = tcp(&partitions[0][0]).port();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn both_families_listen_at_one_port() {
    if TcpListener::bind(V6).is_err() {
        // Written past the capture of the test harness, for the summary of `check`.
        writeln!(
            io::stderr(),
            "skipped: both_families_listen_at_one_port: no IPv6 here"
        )
        .unwrap();
        return;
    }
    for addresses in [resolve("*").unwrap(), vec![V6, V4]] {
        let listeners = bind_port(Scheme::Http, "h", &addresses, 0)
            .unwrap()
            .unwrap();
        assert_eq!(listeners.len(), 2);
        let port = tcp(&listeners[0]).port();
        assert_eq!(port, tcp(&listeners[1]).port());
        TcpStream::connect((V4.ip(), port)).unwrap();
        TcpStream::connect((V6.ip(), port)).unwrap();
    }
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    let error = bind_tcp("no such host", 0, PortMode::Shared).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot resolve host `no such host`: "),
        "{error}"
    );
}

#[test]
fn a_privileged_port_says_what_helps() {
    // Capabilities belong to a thread, so that a test of root's can give one up.
    let bound = std::thread::spawn(|| {
        let mut capabilities = rustix::thread::capabilities(None).unwrap();
        capabilities
            .effective
            .remove(CapabilitySet::NET_BIND_SERVICE);
        rustix::thread::set_capabilities(None, capabilities).unwrap();
        bind(
            &Address::new("127.0.0.1", 1),
            Scheme::Http,
            PortMode::Shared,
            1,
            1,
        )
    })
    .join()
    .unwrap();
    let first_unprivileged =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first_unprivileged.trim() == "0" {
        // This container gives every port to everybody.
        assert_eq!(tcp(&bound.unwrap()[0][0]).port(), 1);
        return;
    }
    assert_eq!(
        bound.unwrap_err().to_string(),
        "no permission to listen at 127.0.0.1:1: low ports are privileged; choose a port from 1024 \
         up, or give the program CAP_NET_BIND_SERVICE"
    );
}

#[test]
fn a_unix_socket_lives_as_long_as_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let address = Address::new(&format!("unix:{}", path.display()), 0);
    assert_eq!(address, Address::Unix(path.clone()));
    let partitions = bind(&address, Scheme::Http, PortMode::Shared, 2, 1).unwrap();
    assert!(Arc::ptr_eq(&partitions[0][0], &partitions[1][0]));
    assert_eq!(partitions[0][0].local(), &LocalAddress::Unix(path.clone()));
    UnixStream::connect(&path).unwrap();
    rustix::net::accept(&partitions[0][0]).unwrap();
    drop(partitions);
    assert!(!path.exists());
}

#[test]
fn a_live_unix_socket_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let _live = bind(
        &Address::Unix(path.clone()),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap();
    let error = bind(
        &Address::Unix(path.clone()),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "socket {} is in use: a process listens there; stop it or choose another path",
            path.display()
        )
    );
    UnixStream::connect(&path).unwrap();
    let datagram = directory.path().join("d");
    let _datagram = UnixDatagram::bind(&datagram).unwrap();
    let error = bind(
        &Address::Unix(datagram),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap_err();
    assert!(matches!(error, BindError::SocketInUse { .. }), "{error}");
}

#[test]
fn a_stale_unix_socket_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    // The standard library leaves the file behind, as a killed process does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _listener = bind(
        &Address::Unix(path.clone()),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes");
    std::fs::write(&file, "precious").unwrap();
    let link = directory.path().join("link");
    symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let error = bind(
            &Address::Unix(path.clone()),
            Scheme::Http,
            PortMode::Shared,
            1,
            1,
        )
        .unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
    }
}

#[test]
fn a_file_that_another_process_put_in_our_place_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let ours = bind(
        &Address::Unix(path.clone()),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap();
    std::fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    drop(ours);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_unix_socket_per_partition_and_none_left_after_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let address = Address::Unix(path);
    let partitions = bind(&address, Scheme::Http, PortMode::PerPartition, 2, 1).unwrap();
    for (listeners, name) in partitions.iter().zip(["s.0", "s.1"]) {
        UnixStream::connect(directory.path().join(name)).unwrap();
        rustix::net::accept(&listeners[0]).unwrap();
    }
    drop(partitions);
    std::fs::write(directory.path().join("s.1"), "").unwrap();
    assert!(bind(&address, Scheme::Http, PortMode::PerPartition, 2, 1).is_err());
    assert!(!directory.path().join("s.0").exists());
}

#[test]
fn a_path_that_cannot_name_a_socket_is_refused() {
    for path in [String::new(), "x".repeat(108), "a\0b".to_owned()] {
        let error = bind(
            &Address::Unix(path.into()),
            Scheme::Http,
            PortMode::Shared,
            1,
            1,
        )
        .unwrap_err();
        assert!(matches!(error, BindError::SocketPath { .. }), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no/s");
    let error = bind(
        &Address::Unix(path.clone()),
        Scheme::Http,
        PortMode::Shared,
        1,
        1,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen at {}: No such file or directory (os error 2)",
            path.display()
        )
    );
}
