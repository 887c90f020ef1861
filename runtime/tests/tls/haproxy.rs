//! HAProxy stands before a service.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use snapback::prelude::*;

use crate::certificates::{Authority, VERSIONS, secure_over};
use crate::echo;
use crate::programs::is_there;
use crate::support::{Client, Service, eventually, reader_in, serve};

/// The configuration that operators begin with.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/haproxy/haproxy.cfg");

/// HAProxy from Debian, which ends with the test.
struct Haproxy {
    child: Child,
    /// Its configuration, which it may read late.
    _folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(config: &str) -> Haproxy {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let child = command.stdout(Stdio::null()).spawn();
        Haproxy {
            child: child.expect("haproxy runs"),
            _folder: folder,
        }
    }

    /// A connection to a port where it listens.
    fn connect(&mut self, port: u16) -> TcpStream {
        eventually("haproxy listens", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "haproxy ended");
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap())
        .collect();
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    listeners.iter().map(port).collect()
}

#[test]
fn haproxy_names_the_client() {
    if !is_there("haproxy_names_the_client", "haproxy") {
        return;
    }
    let authority = Authority::new("ours");
    let reader = authority.reader("api").option("tlsPort", 0);
    let reader = reader
        .option("proxyProtocol", "on")
        .option("trustedProxies", "127.0.0.1");
    let service = serve(echo(reader));
    let of = |index: usize| service.service_info()[index].port.unwrap();
    let (plain, secured) = (of(0), of(1));
    let ports = free_ports(4);
    let mut config =
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n"
            .to_owned();
    // One port for each way to speak to the service.
    let ways = [plain, secured].map(|port| [(port, "send-proxy"), (port, "send-proxy-v2")]);
    for (own, (port, way)) in ports.iter().zip(ways.as_flattened()) {
        config +=
            &format!("listen l{own}\n  bind 127.0.0.1:{own}\n  server s 127.0.0.1:{port} {way}\n");
    }
    let mut haproxy = Haproxy::start(&config);
    for (index, port) in ports.into_iter().enumerate() {
        let stream = haproxy.connect(port);
        let own = stream.local_addr().unwrap().to_string();
        let mut client = if index < 2 {
            Client::over(stream)
        } else {
            let config = authority.client_config(&VERSIONS, None);
            Client::secured(secure_over(config, stream))
        };
        assert_eq!(client.get("/api").text(), own, "way {index}");
    }
}

#[test]
fn haproxy_takes_the_shipped_configuration() {
    if !is_there("haproxy_takes_the_shipped_configuration", "haproxy") {
        return;
    }
    // A warning is an error.
    let mut command = Command::new("haproxy");
    let output = command.args(["-c", "-dW", "-f", SHIPPED]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// A service with an admin listener, that says its name and who asked.
fn named(name: &'static str, mode: &str, partitions: usize, delay: &str) -> (Session, Service) {
    let session = Session::new();
    let requests = reader_in(&session, "api")
        .option("adminAddress", "127.0.0.1:0")
        .option("portMode", mode)
        .option("numPartitions", partitions)
        .option("proxyProtocol", "on")
        .option("trustedProxies", "127.0.0.1")
        .option("shutdownDelay", delay)
        .load()
        .expect("the options are good");
    let says = move |request: &Request<'_>, reply: &mut Reply<'_>| {
        reply.text(&format!("{name} {}", request.peer()));
    };
    let service = serve(requests.make_reply_with(says).write_stream());
    (session, service)
}

/// Connections that are open at once, and the names of the services that answer them, sorted.
fn open(haproxy: &mut Haproxy, port: u16, count: usize) -> (Vec<Client>, Vec<String>) {
    let one = |_| {
        let stream = haproxy.connect(port);
        let own = stream.local_addr().unwrap().to_string();
        let mut client = Client::over(stream);
        let answer = client.get("/api");
        let (name, peer) = answer.text().split_once(' ').expect("a name and a peer");
        assert_eq!(peer, own);
        (client, name.to_owned())
    };
    let (clients, mut names): (Vec<_>, Vec<_>) = (0..count).map(one).unzip();
    names.sort();
    (clients, names)
}

#[test]
fn behind_the_shipped_configuration_who_drains_gets_no_new_connections() {
    const TEST: &str = "behind_the_shipped_configuration_who_drains_gets_no_new_connections";
    if !is_there(TEST, "haproxy") {
        return;
    }
    let shared = [("a", "3s"), ("b", "0s")].map(|(name, delay)| named(name, "shared", 1, delay));
    let split =
        [("c", "3s"), ("d", "0s")].map(|(name, delay)| named(name, "perPartition", 2, delay));
    let ports = free_ports(2);
    let mut config = std::fs::read_to_string(SHIPPED).unwrap();
    let mut exchange = |from: &str, to: String| {
        assert_eq!(config.matches(from).count(), 1, "{from}");
        config = config.replace(from, &to);
    };
    // Only root can become somebody else.
    exchange("    user haproxy\n", String::new());
    exchange("    group haproxy\n", String::new());
    exchange("bind :8888", format!("bind 127.0.0.1:{}", ports[0]));
    exchange("bind :9000", format!("bind 127.0.0.1:{}", ports[1]));
    exchange("inter 1s", "inter 50ms".to_owned());
    for (machine, at) in ["10.0.0.5:", "10.0.0.6:"].into_iter().zip(0..) {
        let port = |(_, service): &(Session, Service), partition: usize| {
            service.service_info()[partition].port.unwrap()
        };
        let checked = |(session, _): &(Session, Service)| {
            let admin = session.admin_address().expect("an admin listener");
            format!("check port {}", admin.port())
        };
        for (from, service) in [("8888 check", &shared[at]), ("9000 check", &split[at])] {
            let to = format!("127.0.0.1:{} {}", port(service, 0), checked(service));
            exchange(&format!("{machine}{from}"), to);
        }
        let to = format!("127.0.0.1:{} track", port(&split[at], 1));
        exchange(&format!("{machine}9001 track"), to);
    }
    let mut haproxy = Haproxy::start(&config);
    let (mut held, names) = open(&mut haproxy, ports[0], 4);
    assert_eq!(names, ["a", "a", "b", "b"]);
    let (_held, names) = open(&mut haproxy, ports[1], 4);
    assert_eq!(names, ["c", "c", "d", "d"]);

    std::thread::scope(|scope| {
        for (_, service) in [&shared[0], &split[0]] {
            scope.spawn(|| service.stop());
        }
        for (port, left) in ports.into_iter().zip(["b", "d"]) {
            eventually("haproxy leaves who drains", || {
                let (_, names) = open(&mut haproxy, port, 3);
                (names == [left; 3]).then_some(())
            });
        }
        // Meanwhile the connections that were open are served on.
        for client in &mut held {
            assert_eq!(client.get("/api").status, 200);
        }
    });
}
