//! `kill -9` under load, again and again: what the checkpoint promises holds after each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use snapback::checkpoint::{CommittedEpoch, read_committed};

const RUNS: usize = 50;
const CLIENTS: usize = 4;
const PARTITIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(30);

/// An id as `<run>-<partition>-<offset>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id {
    run: String,
    partition: u32,
    offset: u64,
}

#[test]
fn what_was_answered_two_epochs_ago_survives_fifty_kills() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut seen_ever = HashSet::new();
    let mut runs_ever = HashSet::new();
    let mut committed_before: BTreeMap<u32, u64> = BTreeMap::new();
    let mut next_before: BTreeMap<u32, u64> = BTreeMap::new();

    for run in 0..RUNS {
        let mut server = Server::start(directory.path());
        let load = Load::default();
        let port = server.port;
        let (old, new) = std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| load.send_until_killed(port));
            }
            // Two epochs are cut after the first of these replies was seen: the second of two
            // commits that end after a moment was certainly cut after it.
            load.wait_for_replies(100);
            let old = load.seen();
            let first = newest(directory.path());
            wait_for(|| newest(directory.path()) >= Some(first.map_or(1, |epoch| epoch + 2)));
            server.kill();
            load.killed.store(true, Ordering::Release);
            (old, &load)
        });

        let committed = committed(directory.path());
        let last = committed
            .last()
            .unwrap_or_else(|| panic!("run {run}: no epoch is committed"));
        for id in &old {
            let settled = last.partitions[&id.partition].settled;
            assert!(
                id.offset < settled,
                "run {run}: {id:?} was seen, but {settled} is committed"
            );
        }
        for (partition, marks) in &last.partitions {
            let before = committed_before
                .insert(*partition, marks.settled)
                .unwrap_or(0);
            assert!(
                marks.settled >= before,
                "run {run}: partition {partition} went back"
            );
        }
        for id in new.seen() {
            assert!(
                seen_ever.insert(id.clone()),
                "run {run}: {id:?} was given twice"
            );
            let floor = next_before.get(&id.partition).copied().unwrap_or(0);
            assert!(
                id.offset >= floor,
                "run {run}: {id:?} is below the recovered offset {floor}"
            );
            runs_ever.insert(id.run);
        }
        next_before = last
            .partitions
            .iter()
            .map(|(partition, marks)| (*partition, marks.next))
            .collect();
        assert_eq!(last.partitions.len(), PARTITIONS as usize);
    }
    assert_eq!(runs_ever.len(), RUNS, "each start has a run id of its own");
    let per_run = seen_ever.len() / RUNS;
    println!(
        "{} ids seen in {RUNS} runs, {per_run} a run",
        seen_ever.len()
    );
}

/// The newest epoch, so long as nothing there is damaged.
fn newest(checkpoint: &Path) -> Option<u64> {
    committed(checkpoint).last().map(|epoch| epoch.epoch)
}

fn committed(checkpoint: &Path) -> Vec<CommittedEpoch> {
    let location = checkpoint.to_str().expect("a UTF-8 path");
    read_committed(location).expect("a checkpoint can be read at any moment")
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "nothing happened within {PATIENCE:?}"
        );
        std::thread::yield_now();
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(checkpoint: &Path) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_snapback-bench"))
            .args(["serve", "id", "--listen", "127.0.0.1:0", "--cores", "off"])
            .args(["--poll-mode", "blocking", "--trigger-ms", "10"])
            .args(["--partitions", &PARTITIONS.to_string()])
            .arg("--checkpoint")
            .arg(checkpoint)
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
        let port = port.unwrap_or_else(|| panic!("it said {line:?}"));
        Server { child, port }
    }

    fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it is gone");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Load {
    seen: Mutex<Vec<Id>>,
    killed: AtomicBool,
}

impl Load {
    fn seen(&self) -> Vec<Id> {
        self.seen.lock().expect("no client panicked").clone()
    }

    fn wait_for_replies(&self, replies: usize) {
        wait_for(|| self.seen.lock().expect("no client panicked").len() >= replies);
    }

    /// One request after the other on one connection, until the server is gone.
    fn send_until_killed(&self, port: u16) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout is accepted");
        stream.set_nodelay(true).expect("no delay is accepted");
        while let Some(body) = exchange(&mut stream) {
            let reply: HashMap<String, String> =
                serde_json::from_slice(&body).expect("the reply is JSON");
            let mut parts = reply["id"].split('-');
            let mut part = || parts.next().expect("an id has three parts");
            let id = Id {
                run: part().to_owned(),
                partition: part().parse().expect("a partition"),
                offset: part().parse().expect("an offset"),
            };
            self.seen.lock().expect("no client panicked").push(id);
            if self.killed.load(Ordering::Acquire) {
                break;
            }
        }
    }
}

/// Sends a request and reads its reply; `None` when the server is gone.
fn exchange(stream: &mut TcpStream) -> Option<Vec<u8>> {
    stream
        .write_all(b"GET /my_api HTTP/1.1\r\nHost: a\r\n\r\n")
        .ok()?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = stream.read(&mut buffer).ok().filter(|bytes| *bytes > 0)?;
        received.extend_from_slice(&buffer[..bytes]);
        let text = std::str::from_utf8(&received).expect("the reply is text");
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        if body.len() >= length {
            return Some(body.as_bytes()[..length].to_vec());
        }
    }
}
