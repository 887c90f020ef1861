//! A small histogram with one writer and the buckets that metrics show.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts values up to each of a few bounds, and their sum.
///
/// Off the path of a typed request: for deferred operators and epochs.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: &'static [u64],
    /// One per bound, and one for what is above the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What [`Buckets`] held at about one moment: how many values were at most each bound, and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketsSeen {
    pub(crate) bounds: &'static [u64],
    pub(crate) at_most: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Buckets {
    /// Empty ones; the bounds grow.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Buckets {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value. For the one writer.
    pub(crate) fn record(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        add(&self.counts[bucket], 1);
        add(&self.sum, value);
    }

    pub(crate) fn read(&self) -> BucketsSeen {
        let mut count = 0;
        let mut at_most: Vec<_> = self
            .counts
            .iter()
            .map(|bucket| {
                count += bucket.load(Ordering::Relaxed);
                count
            })
            .collect();
        at_most.pop();
        BucketsSeen {
            bounds: self.bounds,
            at_most,
            count,
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_a_bound_counts_below_it() {
        let buckets = Buckets::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101, 5000] {
            buckets.record(value);
        }
        let seen = buckets.read();
        assert_eq!(seen.at_most, [2, 4, 6]);
        assert_eq!((seen.count, seen.sum), (8, 5225));
    }
}
