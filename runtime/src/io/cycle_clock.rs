//! The monotonic clock for who reads it with each request.

use std::path::Path;
use std::sync::OnceLock;

use super::clock;
use super::small_file;

/// The kernel's clock is looked at again after so much time.
const SPAN_NS: u64 = 1_000_000;
/// A pair of readings belongs together if the counter moved by at most this between the readings
/// around the clock's: about a microsecond.
const TIGHT_CYCLES: u64 = 4_096;
/// The pace of the counter may change by this part of it from one look to the next: more than any
/// daemon slews a clock by.
const MOST_CHANGE: u64 = 8;

/// Nanoseconds of the monotonic clock, for one thread, at half the price: the kernel's clock is looked
/// at once a millisecond, and in between the processor's counter of cycles tells how much later it is
/// (10 ns where the kernel's clock takes 22).
///
/// Never goes back. Beside [`clock::now_ns`] it is off by what the counter's pace of the last
/// millisecond tells wrongly of the next one: tens of nanoseconds, and never more than the
/// millisecond. The counter is used where the kernel uses it for its own clock, which it does only
/// where the counter runs at one pace, whatever the cores do; elsewhere each reading is one of the
/// kernel's clock.
#[derive(Debug)]
pub(crate) struct CycleClock {
    pace: Pace,
    last_ns: u64,
}

impl CycleClock {
    pub(crate) fn new() -> Self {
        CycleClock {
            pace: Pace::new(counts_time()),
            last_ns: 0,
        }
    }

    /// The time now, in nanoseconds.
    #[inline]
    pub(crate) fn now_ns(&mut self) -> u64 {
        let now_ns = match self.pace.time_at(cycles()) {
            Some(now_ns) => now_ns,
            None => self.look(),
        };
        self.last_ns = self.last_ns.max(now_ns);
        self.last_ns
    }

    #[cold]
    fn look(&mut self) -> u64 {
        let before = cycles();
        let now_ns = clock::now_ns();
        self.pace.learn(before, cycles(), now_ns);
        now_ns
    }
}

/// What the counter said at some time, and how fast it runs.
///
/// Invariant: `trusted_cycles` is 0 until `scale` is measured.
#[derive(Debug)]
struct Pace {
    counts_time: bool,
    base_cycles: u64,
    base_ns: u64,
    /// Nanoseconds per cycle, times 2^32.
    scale: u64,
    /// The counter tells the time until it is so far from `base_cycles`.
    trusted_cycles: u64,
}

impl Pace {
    fn new(counts_time: bool) -> Self {
        Pace {
            counts_time,
            base_cycles: 0,
            base_ns: 0,
            scale: 0,
            trusted_cycles: 0,
        }
    }

    /// The time when the counter is at `cycles`, if it can be told.
    #[inline]
    fn time_at(&self, cycles: u64) -> Option<u64> {
        let passed = cycles.wrapping_sub(self.base_cycles);
        // No overflow: what is trusted is a millisecond, or 2^20 ns.
        (passed < self.trusted_cycles).then(|| self.base_ns + ((passed * self.scale) >> 32))
    }

    /// Takes note that it was `now_ns` at some moment between these counts.
    fn learn(&mut self, before: u64, after: u64, now_ns: u64) {
        let gap = after.wrapping_sub(before);
        // What is not tight is of a thread that was interrupted: the next reading looks again.
        self.trusted_cycles = 0;
        if !self.counts_time || gap > TIGHT_CYCLES {
            return;
        }
        let now_cycles = before.wrapping_add(gap / 2);
        let passed_cycles = now_cycles.wrapping_sub(self.base_cycles);
        let passed_ns = now_ns.saturating_sub(self.base_ns);
        if self.base_ns == 0 {
            (self.base_cycles, self.base_ns) = (now_cycles, now_ns);
            return;
        }
        // Over a shorter span the gap would be felt.
        if passed_ns < SPAN_NS {
            return;
        }
        let scale = (u128::from(passed_ns) << 32) / u128::from(passed_cycles.max(1));
        let scale = u64::try_from(scale).unwrap_or(u64::MAX);
        let change = scale.abs_diff(self.scale);
        // A counter slower than a megahertz tells no nanoseconds.
        let is_strange = self.scale > 0 && change > self.scale / MOST_CHANGE || scale >> 42 > 0;
        if is_strange {
            self.counts_time = false;
            return;
        }
        self.scale = scale;
        (self.base_cycles, self.base_ns) = (now_cycles, now_ns);
        self.trusted_cycles = (SPAN_NS << 32) / scale.max(1);
        self.invariants();
    }

    fn invariants(&self) {
        debug_assert!(self.trusted_cycles == 0 || self.scale > 0);
        debug_assert!(self.trusted_cycles.checked_mul(self.scale).is_some());
    }
}

/// Whether the kernel's clock is the counter's.
fn counts_time() -> bool {
    static COUNTS_TIME: OnceLock<bool> = OnceLock::new();
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    *COUNTS_TIME.get_or_init(|| {
        let source = small_file::read(Path::new(SOURCE), 64);
        cfg!(target_arch = "x86_64") && source.is_ok_and(|source| source.trim() == "tsc")
    })
}

/// The counter; where there is none, one that stands still and is not used.
#[inline]
fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: each processor of this architecture has the instruction. A process may have it taken
    // away, and then has no clock of the kernel's without a system call either.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    return 0;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A counter of so many cycles per microsecond.
    fn cycles_at(ns: u64, per_us: u64) -> u64 {
        (u128::from(ns) * u128::from(per_us) / 1000) as u64
    }

    fn learn_at(pace: &mut Pace, ns: u64, per_us: u64) {
        let cycles = cycles_at(ns, per_us);
        pace.learn(cycles, cycles + 2, ns);
    }

    proptest! {
        #[test]
        fn between_two_looks_the_counter_tells_the_time(
            per_us in 1u64..10_000,
            start_ns in 1u64..1 << 50,
            first_ns in SPAN_NS..1_000_000_000_000,
            within in 0..SPAN_NS,
        ) {
            let mut pace = Pace::new(true);
            learn_at(&mut pace, start_ns, per_us);
            prop_assert_eq!(pace.time_at(cycles_at(start_ns, per_us)), None);
            let base_ns = start_ns + first_ns;
            learn_at(&mut pace, base_ns, per_us);
            // A count is as exact as a cycle and the two of the gap.
            let slack_ns = 4 * (1000 / per_us + 1);
            match pace.time_at(cycles_at(base_ns + within, per_us)) {
                Some(ns) => prop_assert!(ns.abs_diff(base_ns + within) <= slack_ns, "{ns}"),
                None => prop_assert!(within + slack_ns >= SPAN_NS || within < slack_ns),
            }
            prop_assert_eq!(pace.time_at(cycles_at(base_ns + 2 * SPAN_NS, per_us)), None);
        }
    }

    #[test]
    fn what_was_interrupted_is_not_learned_from() {
        let mut pace = Pace::new(true);
        pace.learn(0, TIGHT_CYCLES + 1, 5);
        assert_eq!(pace.base_ns, 0);
        learn_at(&mut pace, 1_000, 3_000);
        pace.learn(cycles_at(9_000_000, 3_000), u64::MAX / 2, 9_000_000);
        assert_eq!((pace.base_ns, pace.scale), (1_000, 0));
        learn_at(&mut pace, 10_000_000, 3_000);
        let later = cycles_at(10_500_000, 3_000);
        assert!(pace.time_at(later).is_some());
        pace.learn(later, later + TIGHT_CYCLES + 1, 10_600_000);
        assert_eq!(pace.time_at(later), None, "it looks again");
    }

    #[test]
    fn a_counter_that_changes_its_pace_is_not_used_any_more() {
        for (per_us, is_used) in [(3_000, true), (3_300, true), (4_000, false), (1_500, false)] {
            let mut pace = Pace::new(true);
            learn_at(&mut pace, 1_000, 3_000);
            learn_at(&mut pace, 2_000_000, 3_000);
            let (cycles, ns) = (cycles_at(2_000_000, 3_000), 5_000_000);
            let cycles = cycles + cycles_at(3_000_000, per_us);
            pace.learn(cycles, cycles, ns);
            assert_eq!(pace.time_at(cycles), is_used.then_some(ns), "{per_us}");
            let cycles = cycles + cycles_at(3_000_000, per_us);
            pace.learn(cycles, cycles, ns + 3_000_000);
            assert_eq!(pace.time_at(cycles).is_some(), is_used, "{per_us}");
        }
        let mut pace = Pace::new(true);
        pace.learn(7, 7, 1_000);
        pace.learn(7, 7, 9_000_000);
        assert_eq!(pace.time_at(7), None, "one that stands still");
        let mut unused = Pace::new(false);
        learn_at(&mut unused, 1_000, 3_000);
        learn_at(&mut unused, 9_000_000, 3_000);
        assert_eq!(unused.time_at(cycles_at(9_000_000, 3_000)), None);
    }

    #[test]
    fn it_goes_with_the_kernels_clock_and_never_back() {
        // The time that a daemon may slew a clock by within a span, and what the counter is off by.
        const SLACK_NS: u64 = SPAN_NS / MOST_CHANGE;
        let mut cycle_clock = CycleClock::new();
        let (begin_ns, mut last_ns) = (clock::now_ns(), 0);
        while last_ns < begin_ns + 20 * SPAN_NS {
            let before_ns = clock::now_ns();
            let now_ns = cycle_clock.now_ns();
            let after_ns = clock::now_ns();
            assert!(now_ns >= last_ns, "{now_ns} after {last_ns}");
            assert!(now_ns + SLACK_NS >= before_ns, "{now_ns} after {before_ns}");
            assert!(now_ns <= after_ns + SLACK_NS, "{now_ns} before {after_ns}");
            last_ns = now_ns;
        }
    }
}
