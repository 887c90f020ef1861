//! The ways into a partition: a socket that another one accepted, a future that has ended.

use criterion::Criterion;
use snapback::internals::HandOver;

pub(crate) fn queues(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue");
    let mut mailbox = HandOver::new().expect("descriptors, and a loopback device");
    // Criterion has no use for what is wrong within a bench, so that is looked at once before.
    assert!(mailbox.socket() && mailbox.completion() && mailbox.wake());
    group.bench_function("hand a socket over", |b| b.iter(|| mailbox.socket()));
    group.bench_function("tell of a future's end", |b| {
        b.iter(|| mailbox.completion())
    });
    group.bench_function("wake a sleeper", |b| b.iter(|| mailbox.wake()));
    group.finish();
}
