//! What an idle keep-alive connection costs the server: nginx needs 526 bytes of memory for one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
const MOST_BYTES_EACH: f64 = 512.0;

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Server {
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
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout is accepted");
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
    stream
}

#[test]
fn an_idle_connection_gives_its_buffers_back() {
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
    if files < MANY + 100 {
        let why = format!("only {files} descriptors: raise `ulimit -n`");
        let _ = writeln!(std::io::stderr(), "skipped: idle memory: {why}");
        return;
    }
    let server = Server::start();
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
