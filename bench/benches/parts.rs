//! What the parts of a request cost by themselves: codec, JSON, chain, publishing, committing.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use snapback::internals::{Committer, Heads, Publisher, decode, decode_pieces};
use snapback::prelude::*;
use snapback_operators::{Chain, Context, Host, Peer, Place, ReplyHead, Run, Ticket, Work};

const HELLO: &[u8] = b"POST /my_api HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\
    Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"foo\":\"hello world\",\"bar\":42}";
const HELLO_BODY: &[u8] = b"{\"foo\":\"hello world\",\"bar\":42}";

#[derive(Deserialize, Row)]
struct Hello<'a> {
    #[serde(borrow)]
    foo: Cow<'a, str>,
    #[expect(dead_code, reason = "part of the schema")]
    bar: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.bench_function("decode hello", |b| b.iter(|| decode(black_box(HELLO))));
    let pipelined = HELLO.repeat(16);
    group.bench_function("decode 16 pipelined", |b| {
        b.iter(|| decode_pieces(black_box(&pipelined), usize::MAX));
    });
    let (mut heads, head) = (Heads::default(), ReplyHead::default());
    group.bench_function("encode head", |b| {
        b.iter(|| heads.encode(&head, black_box(16)).len())
    });
    group.finish();
}

fn json(c: &mut Criterion) {
    let mut group = c.benchmark_group("json");
    for bytes in [30, 1 << 10, 64 << 10] {
        let text = "x".repeat(bytes - 19);
        let body = format!("{{\"foo\":\"{text}\",\"bar\":42}}");
        group.throughput(Throughput::Bytes(body.len() as u64));
        let mut service = Service::new(
            Pipeline::detached()
                .parse_request::<Hello>()
                .map(|row| FooLength {
                    foo_length: row.foo.len(),
                })
                .make_reply()
                .into_chain(),
        );
        group.bench_function(BenchmarkId::new("parse and reply", bytes), |b| {
            b.iter(|| service.call(black_box(body.as_bytes())));
        });
    }
    group.finish();
}

fn chain(c: &mut Criterion) {
    macro_rules! operators {
        ($pipeline:expr; $($n:tt)*) => { $pipeline$(.map(|row: u64| row.wrapping_mul($n) ^ 1))* };
    }
    let mut group = c.benchmark_group("chain");
    let begin = || Pipeline::detached().map(|request| request.body().len() as u64);
    let chains: [(usize, Box<dyn Chain>); 3] = [
        (1, begin().make_reply().into_chain()),
        (5, operators!(begin(); 3 5 7 9).make_reply().into_chain()),
        (
            20,
            operators!(begin(); 3 5 7 9 3 5 7 9 3 5 7 9 3 5 7 9 3 5 7)
                .make_reply()
                .into_chain(),
        ),
    ];
    for (count, chain) in chains {
        let mut service = Service::new(chain);
        group.bench_function(BenchmarkId::new("operators", count), |b| {
            b.iter(|| service.call(black_box(HELLO_BODY)));
        });
    }
    let zips: Table<u64, u64> = (0..1000).map(|key| (key, key * 2)).collect();
    let lookup = begin().lookup(&zips, |row| row, |_, value| value.copied());
    let mut service = Service::new(lookup.make_reply().into_chain());
    group.bench_function("lookup in 1000 rows", |b| {
        b.iter(|| service.call(HELLO_BODY))
    });
    group.finish();
}

fn epochs(c: &mut Criterion) {
    let mut group = c.benchmark_group("epoch");
    let publisher = Publisher::default();
    let mut next = 0;
    group.bench_function("publish", |b| {
        b.iter(|| {
            next += 1;
            publisher.publish(black_box(next), black_box(next));
        });
    });
    group.bench_function("record a latency", |b| {
        b.iter(|| publisher.record(black_box(8_000)))
    });
    group.bench_function("cut", |b| b.iter(|| publisher.offsets()));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = directory.path().to_str().expect("a UTF-8 path");
    let mut committer = Committer::open(location).expect("an empty checkpoint opens");
    group.sample_size(20);
    group.bench_function("commit", |b| {
        b.iter(|| committer.commit().expect("there is room"))
    });
    group.finish();
}

/// A chain that is called without a socket.
struct Service {
    chain: Box<dyn Chain>,
    run: Run,
    out: Vec<u8>,
    head: ReplyHead,
}

impl Service {
    fn new(chain: Box<dyn Chain>) -> Self {
        let run = Run::new("bench", "bench");
        Service {
            chain,
            run,
            out: Vec::new(),
            head: ReplyHead::default(),
        }
    }

    fn call(&mut self, body: &[u8]) -> usize {
        self.out.clear();
        let id = self.run.request_id(0, 0);
        let request = Request::new(id, "POST", "/my_api", &Peer::Unix).with_body(body);
        let reply = Reply::new(&mut self.out, &mut self.head);
        self.chain
            .call(&mut Context::new(&request, reply, &mut Refuses))
            .expect("no panic");
        self.out.len()
    }
}

/// The chains here defer nothing.
struct Refuses;

impl Host for Refuses {
    fn reserve(&mut self, _request: &Request<'_>) -> Option<Ticket> {
        None
    }

    fn overloaded(&mut self) -> u64 {
        1
    }

    fn spawn(&mut self, _place: Place, _work: Work) {}

    fn waker(&mut self) -> std::task::Waker {
        std::task::Waker::noop().clone()
    }
}

criterion_group!(benches, codec, json, chain, epochs);
criterion_main!(benches);
