//! Times at which the load generator itself stood still.
//!
//! A generator that spins reads the clock before and after it asks which sockets are ready, which never
//! takes long. When the two are far apart, its core was taken away: by another process, or by the host of
//! a virtual machine. What was due meanwhile was late, and no server was to blame. What happens while it
//! reads and writes is not seen, so these are the least that there were.

use serde::Serialize;

/// Two readings of the clock around a question that are so far apart are a stall.
const STALL_NS: u64 = 100_000;

/// How many are kept one by one.
const MAX_KEPT: usize = 10_000;

/// The stalls of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stalls {
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub total_ns: u64,
    /// The longest one.
    pub longest_ns: u64,
    /// The first 10,000, in their order.
    pub first: Vec<Stall>,
}

/// A time at which the load generator stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// When it began, since the beginning of the window.
    pub at_ns: u64,
    /// How long it took.
    pub long_ns: u64,
}

impl Stalls {
    /// The readings of the clock around a question, since the beginning of the window.
    #[inline]
    pub(super) fn asked(&mut self, before_ns: u64, after_ns: u64) {
        if after_ns - before_ns >= STALL_NS {
            self.add(before_ns, after_ns - before_ns);
        }
    }

    #[cold]
    fn add(&mut self, at_ns: u64, long_ns: u64) {
        self.count += 1;
        self.total_ns += long_ns;
        self.longest_ns = self.longest_ns.max(long_ns);
        if self.first.len() < MAX_KEPT {
            self.first.push(Stall { at_ns, long_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_gaps_are_stalls() {
        let mut stalls = Stalls::default();
        stalls.asked(0, 99_999);
        stalls.asked(1_000_000, 1_250_000);
        stalls.asked(2_000_000, 2_100_000);
        assert_eq!(
            (stalls.count, stalls.total_ns, stalls.longest_ns),
            (2, 350_000, 250_000)
        );
        assert_eq!(stalls.first[1].at_ns, 2_000_000);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut stalls = Stalls::default();
        for _ in 0..=MAX_KEPT {
            stalls.asked(0, STALL_NS);
        }
        assert_eq!(stalls.first.len(), MAX_KEPT);
        assert_eq!(stalls.count, MAX_KEPT as u64 + 1);
    }
}
