//! Operators that answer later, over real sockets.

mod answers;
mod batches;
mod client;
mod failures;
mod lifecycle;

use std::time::{Duration, Instant};

use snapback::prelude::*;
use snapback::{PartitionProgress, Requests, Server, StreamWriter};
use snapback_operators::Start;

type Stream = Pipeline<Server, Requests, Start>;

/// A query on one partition, stopped when the test is done with it.
struct Service {
    query: StreamingQuery,
}

fn serve(pipeline: impl FnOnce(Stream) -> StreamWriter) -> Service {
    serve_with(&[], pipeline)
}

fn serve_with(options: &[(&str, &str)], pipeline: impl FnOnce(Stream) -> StreamWriter) -> Service {
    let stream = Session::new()
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, "api")
        .option("numPartitions", 1)
        .option("pinning", "off")
        .load()
        .expect("options");
    let mut writer = pipeline(stream)
        .option("shutdownTimeout", "50ms")
        .trigger(Continuous::millis(5));
    for (key, value) in options {
        writer = writer.option(key, value);
    }
    Service {
        query: writer.start().expect("a query"),
    }
}

impl Service {
    fn client(&self) -> client::Client {
        client::Client::connect(&self.query)
    }

    /// Waits until the progress of the partition is as it should be.
    #[track_caller]
    fn wait_for(&self, what: &str, condition: impl Fn(&PartitionProgress) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let progress = self.query.last_progress();
            let partition = progress.as_ref().map(|last| &last.partitions[0]);
            if partition.is_some_and(&condition) {
                return;
            }
            assert!(Instant::now() < deadline, "no {what}: {partition:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let stopped = self.query.stop();
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

/// The number in the query of a request: `?n=5`.
fn number(request: &Request<'_>) -> u64 {
    request
        .query("n")
        .and_then(|n| n.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Requests with these numbers, in one text.
fn numbered(numbers: impl IntoIterator<Item = u64>) -> String {
    numbers
        .into_iter()
        .map(|n| client::get(&format!("/api?n={n}")))
        .collect()
}
