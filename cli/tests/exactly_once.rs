//! `kill -9` in the middle of epochs, again and again: what the request log has after each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use snapback::checkpoint::{CommittedEpoch, read_committed};
use snapback_sql::datafusion::arrow::array::AsArray;
use snapback_sql::datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const RUNS: usize = 30;
const CLIENTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

const SERVICE: &str = "\
services:
  lengths:
    listen: 127.0.0.1:0/lengths
    schema: foo STRING
    sql: SELECT character_length(foo) AS n FROM requests
    trigger: 15ms
    requestLog:
      directory: log
      columns: [id, status, request, reply]
      compactFiles: 5
    options:
      checkpointLocation: CHECKPOINT
      numPartitions: 2
      pinning: off
      adminAddress: none
";

#[test]
fn each_request_is_in_the_log_once_after_thirty_kills() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = directory.path();
    let checkpoint = folder.join("checkpoint");
    let file = SERVICE.replace("CHECKPOINT", checkpoint.to_str().expect("UTF-8"));
    fs::write(folder.join("service.yaml"), file).expect("a file");

    let (mut answered, mut kept) = (0, HashSet::new());
    let mut next_before: BTreeMap<u32, u64> = BTreeMap::new();
    for run in 0..RUNS {
        let mut server = Server::start(folder);
        // The run before has begun again at its last committed epoch: no row of a later one is left.
        assert_eq!(logged(folder), kept, "before run {run}");
        let load = Load::default();
        let port = server.port;
        let old = std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| load.send_until_killed(port));
            }
            load.wait_for_replies(50);
            let old = load.seen();
            // Two epochs are cut after the first of these replies was seen: the second of two
            // commits that end after a moment was certainly cut after it.
            let first = newest(&checkpoint);
            wait_for(|| newest(&checkpoint) >= Some(first.map_or(1, |epoch| epoch + 2)));
            // Then anywhere in an epoch.
            load.wait_for_replies(old.len() + 37 * run % 200);
            server.kill();
            load.killed.store(true, Ordering::Release);
            old
        });

        // At once, with nobody there to mend it: `logged` sees to it that no id is there twice.
        let now = logged(folder);
        for id in &old {
            assert!(now.contains(id), "run {run}: {id} was seen two epochs ago");
        }
        let known: HashSet<_> = load.seen().into_iter().collect();
        let of_run = old[0].split('-').next().expect("a run").to_owned();
        // What the last committed epoch says is what is kept, request by request.
        let committed = committed(&checkpoint);
        let last = committed.last().expect("an epoch");
        assert_eq!(last.run_id, of_run);
        for (partition, marks) in &last.partitions {
            let first = next_before.get(partition).copied().unwrap_or(0);
            kept.extend(
                (first..marks.settled).map(|offset| format!("{of_run}-{partition}-{offset}")),
            );
            next_before.insert(*partition, marks.next);
        }
        assert!(
            kept.is_subset(&now),
            "run {run}: a committed epoch is there as a whole"
        );
        // Beyond that there may be one epoch that was not committed any more: only what was served.
        assert!(
            now.iter()
                .all(|id| kept.contains(id) || id.starts_with(&of_run))
        );
        answered += known.len();
    }
    let mut server = Server::start(folder);
    assert_eq!(logged(folder), kept);
    server.kill();
    println!(
        "{answered} replies seen in {RUNS} runs, {} requests in the log",
        kept.len()
    );
    // Few files are left of many epochs.
    let (mut files, epochs) = (Vec::new(), newest(&checkpoint).expect("an epoch"));
    parquet_files(&folder.join("log"), &mut files);
    assert!(
        3 * (files.len() as u64) < epochs + 15,
        "{} files of {epochs} epochs",
        files.len()
    );
}

/// The ids of all rows that whoever reads the files sees; none is there twice, and each row is right.
fn logged(folder: &Path) -> HashSet<String> {
    let mut files = Vec::new();
    parquet_files(&folder.join("log"), &mut files);
    let mut ids = HashSet::new();
    for path in files {
        let file = File::open(&path).expect("it is there");
        let rows = ParquetRecordBatchReaderBuilder::try_new(file).expect("a whole file");
        for rows in rows.build().expect("a reader") {
            let rows = rows.expect("whole rows");
            let texts = |name: &str| {
                rows.column_by_name(name)
                    .expect("a column")
                    .as_string::<i32>()
            };
            for (id, reply) in texts("id").iter().zip(texts("reply")) {
                let id = id.expect("an id").to_owned();
                assert_eq!(reply, Some(r#"{"n":4}"#));
                assert!(
                    ids.insert(id.clone()),
                    "{id} is there twice, at last in {path:?}"
                );
            }
        }
    }
    ids
}

/// As readers find them: `**/*.parquet`, without hidden names.
fn parquet_files(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("UTF-8");
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            parquet_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The newest epoch.
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
    fn start(folder: &Path) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_snapback"))
            .args(["run", "service.yaml", "--log", "error"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = lines.find_map(|line| {
            let line = line.expect("a line");
            let (_, address) = line.split_once("serves   http://127.0.0.1:")?;
            address.split('/').next()?.parse().ok()
        });
        Server {
            child,
            port: port.expect("it says where it serves"),
        }
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
    seen: Mutex<Vec<String>>,
    killed: AtomicBool,
}

impl Load {
    fn seen(&self) -> Vec<String> {
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
        while let Some(headers) = exchange(&mut stream) {
            let id = headers["x-request-id"].clone();
            self.seen.lock().expect("no client panicked").push(id);
            if self.killed.load(Ordering::Acquire) {
                break;
            }
        }
    }
}

/// Sends a request and reads its reply; `None` when the server is gone.
fn exchange(stream: &mut TcpStream) -> Option<HashMap<String, String>> {
    let request =
        b"POST /lengths HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{\"foo\":\"four\"}";
    stream.write_all(request).ok()?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = stream.read(&mut buffer).ok().filter(|bytes| *bytes > 0)?;
        received.extend_from_slice(&buffer[..bytes]);
        let text = std::str::from_utf8(&received).expect("the reply is text");
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        let headers: HashMap<_, _> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers["content-length"].parse().expect("a number");
        if body.len() >= length {
            return Some(headers);
        }
    }
}
