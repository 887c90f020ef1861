//! What the tests over real sockets share: services on ports that the system picks, a blocking HTTP
//! client that shows every byte, and the children of tests that need a process of their own.

// Each test binary compiles this file and uses a part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod client;

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use snapback::{Pipeline, Requests, Server, ServerReader, Session, StreamWriter, StreamingQuery};
use snapback_operators::Start;

pub(crate) use client::{Answer, Client, get, post};

/// How long a test waits for something that must come, before it fails. Far above what any of it
/// takes, for machines that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A service that listens at a port of the system's choice, in a session of its own.
pub(crate) fn reader(path: &str) -> ServerReader {
    reader_in(&Session::new(), path)
}

/// The same in a given session. Its partition is not pinned: tests run side by side, and would
/// share the first core. It stops quickly, for clients of tests rarely close first.
pub(crate) fn reader_in(session: &Session, path: &str) -> ServerReader {
    session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, path)
        .option("numPartitions", 1)
        .option("pinning", "off")
        .option("shutdownTimeout", "100ms")
}

/// The requests of [`reader`]; the writer takes further options.
pub(crate) fn requests(path: &str) -> Pipeline<Server, Requests, Start> {
    reader(path).load().expect("the options are good")
}

/// Starts a service, which stops when it is dropped.
pub(crate) fn serve(writer: StreamWriter) -> Service {
    Service {
        query: writer.start().expect("the service starts"),
    }
}

/// A running service.
pub(crate) struct Service {
    pub(crate) query: StreamingQuery,
}

impl Service {
    /// The port of its first listener.
    pub(crate) fn port(&self) -> u16 {
        self.query.service_info()[0].port.expect("a TCP port")
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(("127.0.0.1", self.port()))
    }
}

impl Deref for Service {
    type Target = StreamingQuery;

    fn deref(&self) -> &StreamingQuery {
        &self.query
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.query.stop();
    }
}

/// The median, without the first three: those warm up, as in the suites of Spark Serving.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times[3..].to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// What `action` returns, and how long it took.
pub(crate) fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = action();
    (result, begun.elapsed())
}

/// Asks until `ready` gives something; the only way in which a test waits for a state of which
/// nobody tells it.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{what} did not happen within {PATIENCE:?}"
        );
        // Leaves the core to those whose work is waited for.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The memory of this process that is in RAM, in bytes.
pub(crate) fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a VmRSS line");
    let kib: usize = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number of kB");
    kib << 10
}

const CHILD: &str = "SNAPBACK_TEST_CHILD";

/// Whether this process is the child that runs only the test of this name.
pub(crate) fn is_child_for(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|name| name == test)
}

/// The command that runs one test of this binary in a process of its own.
pub(crate) fn child_for(test: &str) -> Command {
    child_of(Command::new(this_binary()), test)
}

/// The same, as the argument of another program.
pub(crate) fn child_under(mut program: Command, test: &str) -> Command {
    program.arg(this_binary());
    child_of(program, test)
}

fn this_binary() -> std::path::PathBuf {
    std::env::current_exe().expect("the path of the test binary")
}

fn child_of(mut command: Command, test: &str) -> Command {
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, test);
    command
}

/// A child that prints `port` and the port at which it serves.
pub(crate) struct PrintedPort {
    pub(crate) child: Child,
    /// Open until the end: the child could not print otherwise.
    _stdout: BufReader<ChildStdout>,
    port: u16,
}

impl PrintedPort {
    pub(crate) fn of(mut command: Command) -> PrintedPort {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let port = loop {
            let mut line = String::new();
            let bytes = stdout.read_line(&mut line).expect("text");
            assert_ne!(bytes, 0, "the child ended early");
            // The harness prints the name of the test first, without an end of line.
            if let Some((_, port)) = line.trim().rsplit_once("port ") {
                break port.parse().expect("a port");
            }
        };
        PrintedPort {
            child,
            _stdout: stdout,
            port,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(("127.0.0.1", self.port))
    }

    /// Ends the child as by `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for PrintedPort {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `body` in a process of its own, where no other test disturbs what it measures.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if is_child_for(test) {
        return body();
    }
    let output = child_for(test).output().expect("the test binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{test}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// From now on panics whose message has "on purpose" in it print nothing.
pub(crate) fn silence_panics_on_purpose() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.to_string().contains("on purpose") {
                usual(info);
            }
        }));
    });
}
