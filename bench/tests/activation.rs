//! Sockets that a service manager passes, and what it is told, over real processes.
//!
//! A shell stands for the service manager: it gets the listening sockets as its standard input and
//! error, moves them to where they belong, and becomes the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the shell does before it becomes the server.
const PASS_ONE: &str = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$@\"";
const PASS_TWO: &str = "exec 3<&0 4<&2 0</dev/null 2>&1; LISTEN_PID=$$ exec \"$@\"";

struct Server {
    child: Child,
    /// The first line that it prints.
    line: String,
}

impl Server {
    /// Starts a server behind a shell; `options` are those of `serve`, as one text.
    fn start(
        shell: &str,
        sockets: Vec<OwnedFd>,
        variables: &[(&str, &str)],
        options: &str,
    ) -> Server {
        let mut command = Command::new("sh");
        command
            .args(["-c", shell, "sh", env!("CARGO_BIN_EXE_snapback-bench")])
            .args([
                "serve",
                "id",
                "--cores",
                "off",
                "--option",
                "shutdownTimeout=50ms",
            ])
            .args(options.split_whitespace())
            .env("LISTEN_FDS", sockets.len().to_string())
            .envs(variables.iter().copied())
            .stdout(Stdio::piped());
        let mut sockets = sockets.into_iter();
        command.stdin(sockets.next().map_or_else(Stdio::null, Stdio::from));
        if let Some(second) = sockets.next() {
            command.stderr(second);
        }
        let mut child = command.spawn().expect("a shell");
        let stdout = child.stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        Server { child, line }
    }

    fn terminate(mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn asks(mut stream: TcpStream) -> String {
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a TCP socket");
    stream
        .write_all(b"GET /my_api HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply
}

#[test]
fn a_socket_is_found_by_its_address() {
    let (listener, port) = listener();
    // Before the server is there, as with a socket unit.
    let early = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let options = format!("--listen 127.0.0.1:{port} --partitions 2");
    let server = Server::start(PASS_ONE, vec![listener.into()], &[], &options);
    assert_eq!(server.line, format!("listening on 127.0.0.1:{port}\n"));
    assert!(asks(early).starts_with("HTTP/1.1 200 "));
    server.terminate();
}

#[test]
fn a_socket_is_found_by_its_name_wherever_it_listens() {
    let ((first, _), (second, port)) = (listener(), listener());
    let server = Server::start(
        PASS_TWO,
        vec![first.into(), second.into()],
        &[("LISTEN_FDNAMES", "other:web")],
        "--listen 127.0.0.1:1 --option listenFds=web",
    );
    assert_eq!(server.line, format!("listening on 127.0.0.1:{port}\n"));
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    assert!(asks(stream).starts_with("HTTP/1.1 200 "));
    server.terminate();
}

#[test]
fn each_partition_gets_its_socket() {
    let ((first, _), (second, _)) = (listener(), listener());
    let ports = [&first, &second].map(|it| it.local_addr().expect("an address").port());
    let server = Server::start(
        PASS_TWO,
        vec![first.into(), second.into()],
        &[("LISTEN_FDNAMES", "web:web")],
        "--listen 127.0.0.1:1 --partitions 2 --option listenFds=web --option portMode=perPartition",
    );
    assert_eq!(
        server.line,
        format!("listening on 127.0.0.1:{}\n", ports[0])
    );
    for (partition, port) in ports.into_iter().enumerate() {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let reply = asks(stream);
        assert!(reply.contains(&format!("-{partition}-0\"")), "{reply}");
    }
    server.terminate();
}

/// What a server says that does not start.
fn refused(socket: OwnedFd, names: &str, options: &str) -> String {
    // Its standard error follows its standard output.
    let shell = format!("exec 2>&1; {PASS_ONE}");
    let variables = [("LISTEN_FDNAMES", names)];
    let mut server = Server::start(&shell, vec![socket], &variables, options);
    let status = server.child.wait().expect("a child");
    assert!(!status.success());
    server.line.clone()
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases: [(OwnedFd, &str, &str, &str); 4] = [
        (
            listener().0.into(),
            "web",
            "--option listenFds=wob",
            "passed no socket with the name `wob`, which the option listenFds gives; it passed `web`",
        ),
        (
            UnixDatagram::unbound().expect("a socket").into(),
            "web",
            "--option listenFds=web",
            "descriptor 3 (`web`) that the service manager passed cannot be used: it is no stream",
        ),
        (
            listener().0.into(),
            "web:tls",
            "",
            "LISTEN_FDNAMES=\"web:tls\", which has 2 names for 1 sockets",
        ),
        (
            listener().0.into(),
            "web",
            "--option listenFds=web --option portMode=perPartition --partitions 2",
            "passed 1 sockets for 2 partitions",
        ),
    ];
    for (socket, names, options, said) in cases {
        let line = refused(socket, names, options);
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let (listener, port) = listener();
    // The shell passes them to itself, and the server is its child.
    let shell = "exec 3<&0 0</dev/null; LISTEN_PID=$$; export LISTEN_PID; \"$@\"; exit $?";
    let options = format!("--listen 127.0.0.1:{port}");
    let mut server = Server::start(shell, vec![listener.into()], &[], &options);
    // The port is in use, so the next one is taken.
    let other = server.line.trim().rsplit_once(':').expect("a port").1;
    assert_ne!(other, port.to_string());
    // The server is the child of the shell, which tells what became of it.
    let children = format!("/proc/{0}/task/{0}/children", server.child.id());
    let child = std::fs::read_to_string(children).expect("Linux has it");
    let child = child.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(child.expect("a child"), Signal::TERM).expect("it runs");
    assert!(server.child.wait().expect("a child").success());
}

#[test]
fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let receive = || {
        let mut room = [0; 1024];
        let bytes = manager.recv(&mut room).expect("a message");
        String::from_utf8_lossy(&room[..bytes]).into_owned()
    };
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().expect("text")),
        ("WATCHDOG_USEC", "20000"),
    ];
    let server = Server::start(
        "exec \"$@\"",
        Vec::new(),
        &variables,
        "--listen 127.0.0.1:0",
    );
    let pid = server.child.id();
    assert_eq!(
        receive(),
        format!("READY=1\nMAINPID={pid}\nSTATUS=serving 1 queries\n")
    );
    for _ in 0..3 {
        assert_eq!(receive(), "WATCHDOG=1\n");
    }
    let raw = Pid::from_raw(pid.cast_signed()).expect("a pid");
    kill_process(raw, Signal::TERM).expect("it runs");
    let mut last = receive();
    while last == "WATCHDOG=1\n" {
        last = receive();
    }
    assert_eq!(last, "STOPPING=1\n");
    server.ended();
}

impl Server {
    fn ended(mut self) {
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}");
    }
}
