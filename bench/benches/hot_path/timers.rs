//! The wheel of timers: every connection and every deferred request has one set most of the time.

use std::hint::black_box;

use criterion::Criterion;
use snapback::internals::Wheel;

const MS: u64 = 1_000_000;
/// How far away the deadline of an idle connection is.
const IDLE_MS: u64 = 60_000;
/// How much time passes between two connections that become idle; so 12,000 timers are set.
const STEP_MS: u64 = 5;

pub(crate) fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers");
    let (mut wheel, mut now_ms) = full();
    group.bench_function("arm and cancel", |b| {
        b.iter(|| {
            let timer = wheel.arm(black_box(now_ms + IDLE_MS) * MS, 0);
            wheel.cancel(timer);
        });
    });
    // The steady state: one is set, time passes, one fires that has moved down all its levels.
    group.bench_function("arm, and one fires", |b| {
        b.iter(|| {
            wheel.arm((now_ms + IDLE_MS) * MS, 0);
            now_ms += STEP_MS;
            wheel.advance(black_box(now_ms * MS))
        });
    });
    let mut far = Wheel::default();
    for connection in 0..IDLE_MS / STEP_MS {
        far.arm(u64::MAX >> 2, connection);
    }
    group.bench_function("a tick passes and none fires", |b| {
        b.iter(|| {
            now_ms += 2;
            far.advance(black_box(now_ms * MS))
        });
    });
    group.finish();
}

/// A wheel with as many timers as it will have, and its time in ms.
fn full() -> (Wheel, u64) {
    let (mut wheel, mut now_ms) = (Wheel::default(), 0);
    while wheel.advance(now_ms * MS) == 0 {
        wheel.arm((now_ms + IDLE_MS) * MS, 0);
        now_ms += STEP_MS;
    }
    (wheel, now_ms)
}
