//! What an idle keep-alive connection costs the server: nginx needs 526 bytes of memory for a plain
//! one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use snapback_bench::tls::SelfSigned;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
const MOST_BYTES_EACH: f64 = 512.0;

const FEW_SECURED: usize = 500;
const MANY_SECURED: usize = 2_500;
/// Of which the ciphers' keys, and what rustls knows of the session, are all but the plain part.
const MOST_BYTES_EACH_SECURED: f64 = 8.0 * 1024.0;

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(more: &[String]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_snapback-bench"))
            .args([
                "serve",
                "hello",
                "--listen",
                "127.0.0.1:0",
                "--cores",
                "off",
            ])
            .args(["--poll-mode", "blocking", "--partitions", "1"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        Server {
            child,
            port: port.expect("it says its port"),
        }
    }

    /// Resident bytes, as the kernel counts them page by page.
    fn memory_bytes(&self) -> u64 {
        let rollup = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(rollup).expect("it runs");
        let line = text
            .lines()
            .find(|line| line.starts_with("Rss:"))
            .expect("a line Rss");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("a value")
            .parse()
            .expect("a number");
        kib * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One exchange with a body of 8 KiB, after which the connection stays open.
fn exchange(port: u16) -> TcpStream {
    let mut stream = connect(port);
    exchange_over(&mut stream);
    stream
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout is accepted");
    stream
}

fn exchange_over(stream: &mut (impl Read + Write)) {
    let body = format!("{{\"foo\":\"{}\",\"bar\":42}}", "x".repeat(8 << 10));
    let head = format!(
        "POST /my_api HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .expect("it takes the head");
    stream
        .write_all(body.as_bytes())
        .expect("it takes the body");
    let mut reply = Vec::new();
    while !reply.ends_with(b"{\"fooLength\":8192}") {
        let mut buffer = [0; 1024];
        let bytes = stream.read(&mut buffer).expect("it answers");
        assert!(bytes > 0, "closed after {}", reply.escape_ascii());
        reply.extend_from_slice(&buffer[..bytes]);
    }
}

/// Whether so many connections may be open; says so when not.
fn may_open(connections: usize) -> bool {
    snapback_bench::process::raise_file_limit();
    let limits = fs::read_to_string("/proc/self/limits").expect("the limits can be read");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("that limit");
    let files: usize = line
        .split_whitespace()
        .nth(3)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let may = files >= connections + 100;
    if !may {
        let why = format!("only {files} descriptors: raise `ulimit -n`");
        let _ = writeln!(std::io::stderr(), "skipped: idle memory: {why}");
    }
    may
}

#[test]
fn an_idle_connection_gives_its_buffers_back() {
    if !may_open(MANY) {
        return;
    }
    let server = Server::start(&[]);
    let mut connections = Vec::with_capacity(MANY);
    connections.extend((0..FEW).map(|_| exchange(server.port)));
    let few = server.memory_bytes();
    connections.extend((FEW..MANY).map(|_| exchange(server.port)));
    let many = server.memory_bytes();
    let each = (many as f64 - few as f64) / (MANY - FEW) as f64;
    println!("{each:.0} bytes for each idle connection");
    assert!(
        each <= MOST_BYTES_EACH,
        "{each:.0} bytes for each idle connection"
    );
}

/// A new handshake and one exchange, after which the connection stays open. Only its socket is kept:
/// the server does not see that the client forgot its keys.
fn secured_exchange(config: &Arc<ClientConfig>, port: u16) -> TcpStream {
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a good configuration");
    let mut stream = StreamOwned::new(connection, connect(port));
    exchange_over(&mut stream);
    stream.sock
}

#[test]
fn an_idle_connection_over_tls_costs_its_session() {
    if !may_open(MANY_SECURED) {
        return;
    }
    let certificate = SelfSigned::new().expect("a folder");
    let option = |key: &str, path: std::path::PathBuf| {
        ["--option".to_owned(), format!("{key}={}", path.display())]
    };
    let options = [
        option("tlsCertFile", certificate.certificate_file()),
        option("tlsKeyFile", certificate.key_file()),
    ];
    let server = Server::start(&options.concat());
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate.certificate().clone())
        .expect("it is well");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let mut connections = Vec::with_capacity(MANY_SECURED);
    let open = |_| secured_exchange(&config, server.port);
    connections.extend((0..FEW_SECURED).map(open));
    let few = server.memory_bytes();
    connections.extend((FEW_SECURED..MANY_SECURED).map(open));
    let many = server.memory_bytes();
    let each = (many as f64 - few as f64) / (MANY_SECURED - FEW_SECURED) as f64;
    println!("{each:.0} bytes for each idle connection over TLS");
    assert!(
        each <= MOST_BYTES_EACH_SECURED,
        "{each:.0} bytes for each idle connection over TLS"
    );
}
