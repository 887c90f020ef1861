//! A histogram with one writer, which anyone may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::buckets::BucketsSeen;

/// Linear steps per power of two: values keep 0.8 % of precision.
const STEPS: u64 = 128;
/// The largest value, about 18 minutes; larger ones count as this.
const MAX_NS: u64 = (1 << 40) - 1;
const BUCKETS: usize = bucket(MAX_NS) + 1;

/// The latencies of a partition, in nanoseconds, in the buckets of an HDR histogram.
///
/// Only the partition writes, so counting is a plain load, add and store: no read-modify-write on
/// the hot path, no message when somebody wants to read (reading is then a sum of what each bucket
/// held at its own moment).
pub(crate) struct Latencies {
    buckets: Box<[AtomicU64]>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Latencies {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts `times` requests of this latency. For the one writer.
    #[inline]
    pub(crate) fn record(&self, latency_ns: u64, times: u64) {
        let bucket = &self.buckets[bucket(latency_ns.min(MAX_NS))];
        bucket.store(bucket.load(Ordering::Relaxed) + times, Ordering::Relaxed);
    }

    /// Adds to `histogram` what was counted since the last call with the same `seen`, which begins
    /// empty.
    pub(crate) fn drain_into(&self, seen: &mut Vec<u64>, histogram: &mut Histogram<u64>) {
        seen.resize(BUCKETS, 0);
        for (index, (bucket, seen)) in self.buckets.iter().zip(seen).enumerate() {
            let count = bucket.load(Ordering::Relaxed);
            if count != *seen {
                histogram.saturating_record_n(middle(index), count - *seen);
                *seen = count;
            }
        }
    }

    /// How many latencies were at most each bound; each counts as the middle of its bucket.
    pub(crate) fn read(&self, bounds_ns: &'static [u64]) -> BucketsSeen {
        let mut seen = BucketsSeen {
            bounds: bounds_ns,
            at_most: vec![0; bounds_ns.len()],
            count: 0,
            sum: 0,
        };
        let mut bound = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            let count = bucket.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let value = middle(index);
            while bound < bounds_ns.len() && bounds_ns[bound] < value {
                seen.at_most[bound] = seen.count;
                bound += 1;
            }
            seen.count += count;
            seen.sum += value * count;
        }
        seen.at_most[bound..].fill(seen.count);
        seen
    }
}

/// An empty histogram for [`Latencies::drain_into`].
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_NS, 2).expect("the bounds are valid")
}

const fn bucket(value_ns: u64) -> usize {
    if value_ns < 2 * STEPS {
        return value_ns as usize;
    }
    let shift = 63 - value_ns.leading_zeros() as u64 - STEPS.trailing_zeros() as u64;
    (shift * STEPS + (value_ns >> shift)) as usize
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let low = (bucket % STEPS + STEPS) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_precise() {
        let mut last = 0;
        for value in (0..100_000).chain((17..40).map(|shift| (1 << shift) - 1)) {
            let index = bucket(value);
            assert!(
                index == last || index == last + 1 || value > 100_000,
                "{value}: {last} {index}"
            );
            last = index;
            let error = middle(index).abs_diff(value) as f64;
            assert!(
                error <= value as f64 / 128.0,
                "{value} became {}",
                middle(index)
            );
        }
        assert!(bucket(MAX_NS) < BUCKETS);
    }

    #[test]
    fn a_reading_counts_what_is_below_each_bound() {
        let latencies = Latencies::new();
        let empty = latencies.read(&[100, 10_000]);
        assert_eq!((empty.at_most, empty.count, empty.sum), (vec![0, 0], 0, 0));
        latencies.record(100, 2);
        latencies.record(101, 1);
        latencies.record(9_000, 3);
        latencies.record(20_000, 1);
        let seen = latencies.read(&[50, 100, 10_000]);
        assert_eq!((seen.at_most, seen.count), (vec![0, 2, 6], 7));
        let sum = 2 * 100 + 101 + 3 * 9_000 + 20_000;
        assert!(seen.sum.abs_diff(sum) < sum / 100, "{}", seen.sum);
        let all = latencies.read(&[1_000_000]);
        assert_eq!(all.at_most, [7]);
    }

    #[test]
    fn each_drain_brings_what_is_new() {
        let latencies = Latencies::new();
        let mut seen = Vec::new();
        latencies.record(1_000, 3);
        latencies.record(u64::MAX, 1);
        let mut first = histogram();
        latencies.drain_into(&mut seen, &mut first);
        assert_eq!(
            (first.len(), first.max() >= MAX_NS - MAX_NS / 64),
            (4, true)
        );
        latencies.record(2_000, 1);
        let mut second = histogram();
        latencies.drain_into(&mut seen, &mut second);
        assert_eq!(second.len(), 1);
        assert!((1_980..=2_020).contains(&second.max()));
    }
}
