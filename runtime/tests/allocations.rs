//! A request that a pipeline answers costs no heap allocation on its partition's thread.
//!
//! With `SNAPBACK_TRACE_ALLOCATIONS=1` the first allocation that is counted is shown with its
//! backtrace.

use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use snapback::prelude::*;
use snapback::tee::{Opening, Served, SinkError, TeeSink};
use snapback::{Requests, Server, ServerReader, StreamWriter};
use snapback_operators::{BatchOptions, Start};

const WARM_UP: usize = 2_000;
const REQUESTS: usize = 10_000;

/// Counts what partitions allocate while [`COUNTING`] is set, and leaves the work to the system.
struct CountingAllocator;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static TRACED: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    /// Whether the thread is a partition's: `None` until that was found out.
    static IS_PARTITION: Cell<Option<bool>> = const { Cell::new(None) };
}

fn count() {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    // A thread that ends has no such variable any more; it answers no requests either.
    let is_partition = IS_PARTITION.try_with(|known| {
        known.get().unwrap_or_else(|| {
            // What finding out allocates itself is not counted.
            known.set(Some(false));
            let is_partition = is_partition(std::thread::current().name());
            known.set(Some(is_partition));
            is_partition
        })
    });
    if is_partition == Ok(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let _ = IS_PARTITION.try_with(|known| {
            known.set(Some(false));
            trace();
            known.set(Some(true));
        });
    }
}

/// Partitions are named `snapback-0`, `snapback-1`, …; `snapback-epochs` is none.
fn is_partition(thread: Option<&str>) -> bool {
    let index = thread.and_then(|name| name.strip_prefix("snapback-"));
    index.is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cold]
fn trace() {
    if std::env::var_os("SNAPBACK_TRACE_ALLOCATIONS").is_some()
        && !TRACED.swap(true, Ordering::Relaxed)
    {
        let backtrace = std::backtrace::Backtrace::force_capture();
        eprintln!("the first allocation of a partition:\n{backtrace}");
    }
}

// SAFETY: each method hands its arguments unchanged to the system's allocator, whose contract is
// the same, and returns what that returns; counting neither unwinds nor touches the memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and the memory came from `System`.
        unsafe { System.realloc(memory, layout, new_bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Sends the same request again and again, some at a time.
struct Client {
    socket: TcpStream,
    requests: Vec<u8>,
    replies: Vec<u8>,
    status: &'static str,
    body: &'static str,
}

impl Client {
    fn connect(port: u16, case: &Case) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.set_nodelay(true).expect("no delay");
        // A reply that never comes fails the test instead of hanging it.
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time limit");
        Client {
            socket,
            requests: case.request.repeat(case.depth).into_bytes(),
            replies: Vec::new(),
            status: case.status,
            body: case.body,
        }
    }

    /// Sends the batch so many times, each when the one before is answered.
    fn exchange(&mut self, batches: usize) {
        for _ in 0..batches {
            self.socket
                .write_all(&self.requests)
                .expect("a request is sent");
            self.read_replies();
        }
    }

    /// Reads the replies to a batch. Their heads differ in the ids that they tell.
    fn read_replies(&mut self) {
        self.replies.clear();
        let depth = String::from_utf8_lossy(&self.requests)
            .matches(" HTTP/1.1\r\n")
            .count();
        let (mut buffer, end) = ([0; 4096], format!("\r\n\r\n{}", self.body));
        let mut answered = 0;
        while answered < depth {
            let bytes = self.socket.read(&mut buffer).expect("a reply");
            assert_ne!(bytes, 0, "the server hung up");
            self.replies.extend_from_slice(&buffer[..bytes]);
            let text = String::from_utf8_lossy(&self.replies);
            answered = if text.ends_with(&end) {
                text.matches("HTTP/1.1 ").count()
            } else {
                0
            };
        }
        let text = String::from_utf8_lossy(&self.replies);
        assert_eq!(text.matches(self.status).count(), depth, "{text}");
    }
}

/// A request, its reply, and what answering it allocates.
struct Case {
    name: &'static str,
    request: String,
    status: &'static str,
    body: &'static str,
    depth: usize,
    allocations: u64,
    /// Options of the reader.
    options: Vec<(&'static str, String)>,
}

impl Case {
    /// A request that is answered 200 without an allocation.
    fn new(name: &'static str, request: String, body: &'static str) -> Case {
        Case {
            name,
            request,
            status: "HTTP/1.1 200 ",
            body,
            depth: 1,
            allocations: 0,
            options: Vec::new(),
        }
    }

    /// Serves the request by `pipeline`, and compares how often the partition allocated.
    fn check(self, pipeline: impl FnOnce(Pipeline<Server, Requests, Start>) -> StreamWriter) {
        let counted = self.count(pipeline);
        let expected = self.allocations * REQUESTS as u64;
        assert_eq!(
            counted, expected,
            "allocations of {REQUESTS} requests: {}",
            self.name
        );
    }

    /// The same, where the number may differ a little: at most `self.allocations` for a request.
    fn check_at_most(
        self,
        pipeline: impl FnOnce(Pipeline<Server, Requests, Start>) -> StreamWriter,
    ) {
        let per_request = self.count(pipeline) as f64 / REQUESTS as f64;
        println!("{}: {per_request:.2} allocations for a request", self.name);
        assert!(
            per_request <= self.allocations as f64,
            "{per_request} allocations for a request: {}",
            self.name
        );
    }

    /// How often the partition allocated for all requests.
    fn count(
        &self,
        pipeline: impl FnOnce(Pipeline<Server, Requests, Start>) -> StreamWriter,
    ) -> u64 {
        let reader = Session::new()
            .read_stream()
            .continuous_server()
            .option("adminAddress", "none")
            .address("127.0.0.1", 0, "api")
            .option("numPartitions", 1)
            .option("pinning", "off");
        let set = |reader: ServerReader, (key, value): &(&str, String)| reader.option(key, value);
        let stream = self.options.iter().fold(reader, set);
        let stream = stream.load().expect("options");
        let query = pipeline(stream).start().expect("a query");
        let port = query.service_info()[0].port.expect("a TCP port");
        let mut client = Client::connect(port, self);
        client.exchange(WARM_UP / self.depth);
        ALLOCATIONS.store(0, Ordering::SeqCst);
        COUNTING.store(true, Ordering::SeqCst);
        client.exchange(REQUESTS / self.depth);
        COUNTING.store(false, Ordering::SeqCst);
        let counted = ALLOCATIONS.load(Ordering::SeqCst);
        drop(client);
        query.stop().expect("an orderly end");
        counted
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nX-Color: green\r\n\r\n")
}

fn post(body: &str) -> String {
    let bytes = body.len();
    format!("POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n{body}")
}

#[derive(Deserialize, Row)]
struct Borrowed<'a> {
    #[serde(borrow)]
    foo: Cow<'a, str>,
    bar: i64,
}

#[derive(Deserialize, Row)]
struct TwoTexts {
    foo: String,
    bar: String,
}

#[derive(Deserialize, Row)]
struct Number {
    number: i64,
}

#[derive(Serialize)]
struct Length {
    length: usize,
}

/// A sink that wants everything and keeps nothing.
struct Discard;

impl TeeSink for Discard {
    fn open(&mut self, _opening: &Opening) -> Result<(), SinkError> {
        Ok(())
    }

    fn write(&mut self, _epoch: u64, _served: &[Served]) -> Result<(), SinkError> {
        Ok(())
    }
}

// One test, since there is one counter.
#[test]
fn a_request_costs_no_allocation() {
    let hello = post(r#"{"foo":"hello","bar":1}"#);
    let parse = |stream: Pipeline<Server, Requests, Start>| {
        let rows = stream.parse_request::<Borrowed>();
        let lengths = rows.map(|row| Length {
            length: row.foo.len() + row.bar as usize,
        });
        lengths.make_reply().write_stream()
    };
    Case::new("a borrowed row", hello.clone(), r#"{"length":6}"#).check(parse);
    Case {
        depth: 16,
        ..Case::new("16 at a time", hello.clone(), r#"{"length":6}"#)
    }
    .check(parse);

    let colors = Table::from_iter([("hello".to_owned(), "green"), ("bye".to_owned(), "red")]);
    Case::new("a lookup", hello.clone(), "green").check(|stream| {
        let rows = stream.parse_request::<Borrowed>();
        let found = rows.lookup(&colors, |row| &*row.foo, |_, color| color.copied());
        found.make_reply().write_stream()
    });

    let filtered = Case::new("a filter", hello, "");
    Case {
        status: "HTTP/1.1 204 ",
        ..filtered
    }
    .check(|stream| {
        let rows = stream.parse_request::<Borrowed>().filter(|row| row.bar > 1);
        rows.map(|row| row.bar).make_reply().write_stream()
    });

    Case::new("a header", get("/api"), "5").check(|stream| {
        let color = stream.map(|request| request.headers().get_str("x-color").map(str::len));
        color.make_reply().write_stream()
    });
    Case::new("a query parameter", get("/api?size=7&color=red"), "3").check(|stream| {
        let color = stream.map(|request| request.query("color").map(|color| color.len()));
        color.make_reply().write_stream()
    });
    Case::new("no body", get("/api"), "still here")
        .check(|stream| stream.map(|_| "still here").make_reply().write_stream());
    Case::new("a status and a header field", get("/api"), "here").check(|stream| {
        let reply = stream.make_reply_with(|_, reply| reply.header("x-a", "b").text("here"));
        reply.write_stream()
    });

    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys");
    // `printf %s a-token-0123456789 | sha256sum`
    let hash = "b202808a5cc83841a3afc562d6c19ec8f0dd03dfa2b2ceb28e02dde8dfebd70e";
    std::fs::write(&keys, format!("billing:sha256:{hash}")).expect("a file of keys");
    let fields = "Authorization: Bearer a-token-0123456789\r\nX-Request-Id: mine\r\n\
                  traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let request = format!("GET /api HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    Case {
        options: vec![("authKeysFile", keys.display().to_string())],
        ..Case::new("a key, an id and a trace", request, "7 is sampled: true")
    }
    .check(|stream| {
        let rows = stream.make_reply_with(|request, reply| {
            let bytes = request.identity().unwrap_or_default().len();
            let is_sampled = request.trace().is_sampled();
            assert_eq!(bytes, 7);
            reply.text(if is_sampled { "7 is sampled: true" } else { "" });
        });
        rows.write_stream()
    });

    // What a row owns is its author's to allocate: that, and nothing else.
    let owned = Case::new("an owned row", post(r#"{"foo":"hello","bar":"you"}"#), "8");
    Case {
        allocations: 2,
        ..owned
    }
    .check(|stream| {
        let rows = stream.parse_request::<TwoTexts>();
        rows.map(|row| row.foo.len() + row.bar.len())
            .make_reply()
            .write_stream()
    });

    let batch = |stream: Pipeline<Server, Requests, Start>| {
        let rows = stream.parse_request::<Number>().map(|row| row.number);
        let doubled = rows.batch(BatchOptions::default(), |numbers, doubled| {
            doubled.extend(numbers.iter().map(|number| 2 * number));
        });
        doubled.make_reply().write_stream()
    };
    // The columns of the tee are handed over and come back; until each was as long as any, they grow.
    let teed = |writer: StreamWriter| writer.trigger(Continuous::millis(20)).tee(Discard);
    for (name, counted) in [
        (
            "in place",
            Case::new(
                "a tee",
                post(r#"{"foo":"hello","bar":1}"#),
                r#"{"length":6}"#,
            )
            .count(|stream| teed(parse(stream))),
        ),
        (
            "deferred",
            Case::new("a tee", post(r#"{"number":4}"#), "8").count(|stream| teed(batch(stream))),
        ),
    ] {
        println!("a tee, {name}: {counted} allocations of {REQUESTS} requests");
        assert!(
            counted <= REQUESTS as u64 / 50,
            "{counted} allocations with a tee, {name}"
        );
    }

    let number = post(r#"{"number":4}"#);
    Case::new("a batch", number.clone(), "8").check(batch);
    Case {
        depth: 16,
        ..Case::new("a batch, 16 at a time", number.clone(), "8")
    }
    .check(batch);

    // The box of the future and its task in the runtime; one more may be a buffer that grows, since
    // futures end when they like.
    for depth in [1, 16] {
        Case {
            depth,
            allocations: 3,
            ..Case::new("a future", number.clone(), "8")
        }
        .check_at_most(|stream| {
            let rows = stream.parse_request::<Number>().map(|row| row.number);
            let doubled = rows.map_async(|number| async move { 2 * number });
            doubled.make_reply().write_stream()
        });
    }
}
