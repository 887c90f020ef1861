//! Chains of operators, from a body to a reply.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use snapback::prelude::*;
use snapback_operators::Chain;

use crate::service::Service;
use crate::{FooLength, HELLO_BODY, Hello};

pub(crate) fn json(c: &mut Criterion) {
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

pub(crate) fn chain(c: &mut Criterion) {
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
