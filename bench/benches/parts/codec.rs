//! HTTP: heads of requests are read, heads of replies are written.

use std::hint::black_box;

use criterion::Criterion;
use snapback::internals::{Heads, decode, decode_pieces};
use snapback_operators::ReplyHead;

use crate::HELLO;

pub(crate) fn codec(c: &mut Criterion) {
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
