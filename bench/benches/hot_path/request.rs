//! A whole request in process: all of a turn but its system calls.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use snapback::internals::Machine;
use snapback::prelude::*;
use snapback_operators::Chain;

use crate::{FooLength, HELLO, Hello};

pub(crate) fn request(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    let hello = || {
        Pipeline::detached()
            .parse_request::<Hello>()
            .map(|row| FooLength {
                foo_length: row.foo.len(),
            })
            .make_reply()
            .into_chain()
    };
    // The queue of a batch: each row waits there for the end of the turn, and owns what it needs.
    let batched = || {
        Pipeline::detached()
            .parse_request::<Hello>()
            .map(|row| row.foo.len())
            .batch(BatchOptions::default(), |lengths: &[usize], out| {
                out.extend(lengths.iter().map(|length| FooLength {
                    foo_length: *length,
                }));
            })
            .make_reply()
            .into_chain()
    };
    let kinds: [(&str, Box<dyn Chain>, usize); 4] = [
        ("whole", hello(), 1),
        ("whole, 16 pipelined", hello(), 16),
        ("in a batch of 1", batched(), 1),
        ("in a batch of 16", batched(), 16),
    ];
    for (name, chain, count) in kinds {
        let mut machine = Machine::new(chain).expect("descriptors, and a loopback device");
        let (requests, mut out) = (HELLO.repeat(count), Vec::new());
        assert_eq!(machine.turn(&requests, &mut out), count as u64);
        assert!(out.ends_with(b"\r\n\r\n{\"fooLength\":11}"));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| {
            b.iter(|| machine.turn(black_box(&requests), &mut out));
        });
    }
    group.finish();
}
