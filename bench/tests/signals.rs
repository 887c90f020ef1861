//! SIGTERM drains; a second one ends at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(shutdown_timeout: &str) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_snapback-bench"))
            .args(["serve", "id", "--listen", "127.0.0.1:0", "--cores", "off"])
            .args(["--option", &format!("shutdownTimeout={shutdown_timeout}")])
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

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    fn refuses_connections(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_err()
    }

    fn ended(mut self) -> ExitStatus {
        let mut status = None;
        wait_until(|| {
            status = self.child.try_wait().expect("it can be asked");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_drains() {
    let server = Server::start("30s");
    let mut client = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    client
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout is accepted");
    client
        .write_all(b"GET /my_api HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("it reads");
    client.read_exact(&mut [0; 1]).expect("it answers");
    server.terminate();
    wait_until(|| server.refuses_connections());
    client
        .write_all(b"GET /my_api HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("it still reads");
    let mut replies = String::new();
    client
        .read_to_string(&mut replies)
        .expect("it answers, and closes in order");
    assert_eq!(replies.matches("{\"id\":").count(), 2, "{replies}");
    assert!(replies.contains("connection: close\r\n"), "{replies}");
    let status = server.ended();
    assert!(status.success(), "{status}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Server::start("10m");
    let _silent = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    server.terminate();
    wait_until(|| server.refuses_connections());
    server.terminate();
    let status = server.ended();
    assert_eq!(status.signal(), Some(15), "{status}");
}
