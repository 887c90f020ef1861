//! HTTP: heads of requests are read, replies are written to where they are sent from.

use std::hint::black_box;

use criterion::Criterion;
use snapback::internals::{Heads, Replies, decode, decode_pieces};
use snapback_operators::ReplyHead;

use crate::{FooLength, HELLO};

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
    let (mut replies, row) = (Replies::default(), FooLength { foo_length: 11 });
    group.bench_function("encode reply", |b| {
        b.iter(|| {
            // One turn's replies are sent together, and their room is used again.
            if replies.put(black_box(&row)) > 4096 {
                replies.clear();
            }
        });
    });
    group.finish();
}
