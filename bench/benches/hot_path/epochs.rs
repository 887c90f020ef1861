//! Epochs: what a partition publishes for them, and their commits.

use std::hint::black_box;

use criterion::Criterion;
use snapback::internals::{Committer, Publisher, Seals};
use snapback_bench::HELLO_REPLY;

use crate::HELLO_BODY;

pub(crate) fn epochs(c: &mut Criterion) {
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
    let mut seals = Seals::default();
    group.bench_function("seal without rows", |b| b.iter(|| seals.seal()));
    // What a tee costs a request, nearly all of which is the copy that it keeps.
    group.bench_function("note 16 requests and seal", |b| {
        b.iter(|| {
            for _ in 0..16 {
                seals.note(black_box(HELLO_BODY), HELLO_REPLY.as_bytes());
            }
            seals.seal()
        });
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = directory.path().to_str().expect("a UTF-8 path");
    let mut committer = Committer::open(location).expect("an empty checkpoint opens");
    group.sample_size(20);
    group.bench_function("commit", |b| {
        b.iter(|| committer.commit().expect("there is room"))
    });
    group.finish();
}
