//! The monotonic clock for who reads it with each request.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use super::clock;
use super::small_file;

/// The kernel's clock is looked at again after so much time.
const SPAN_NS: u64 = 1_000_000;
/// A pair of readings belongs together if the counter moved by at most this between the readings
/// around the clock's: some tenths of a microsecond.
const TIGHT_CYCLES: u64 = 1_024;
/// The pace of the counter is believed when two looks in a row agree on it but for this part: more than
/// any daemon slews a clock by, and less than a machine that slept or moved in between makes of it.
const MOST_CHANGE: u64 = 8;
/// Paces that are believed, as [`Pace::scale`]: of counters from a megahertz to 32 gigahertz.
const PLAUSIBLE: Range<u64> = 1 << 27..1 << 42;

/// Nanoseconds of the monotonic clock, for one thread, at half the price: the kernel's clock is looked
/// at once a millisecond, and in between the processor's counter of cycles tells how much later it is
/// (13 ns where the kernel's clock takes 28).
///
/// Never goes back. Beside [`clock::now_ns`] it is off by tens of nanoseconds, and where the pace of
/// counter or clock changes, by less than the millisecond until the next look. The counter is used
/// where the kernel makes its own clock of it, which it does only where the counter runs at one pace,
/// whatever the cores do; elsewhere each reading is one of the kernel's clock.
#[derive(Debug)]
pub(crate) struct CycleClock {
    counts_time: bool,
    pace: Pace,
    last_ns: u64,
}

impl CycleClock {
    pub(crate) fn new() -> Self {
        CycleClock {
            counts_time: counts_time(),
            pace: Pace::default(),
            last_ns: 0,
        }
    }

    /// The time now, in nanoseconds.
    #[inline]
    pub(crate) fn now_ns(&mut self) -> u64 {
        let now_ns = match self.pace.is_known() {
            true => self.pace.time_at(cycles()),
            false => None,
        };
        let now_ns = now_ns.unwrap_or_else(|| self.look());
        self.last_ns = self.last_ns.max(now_ns);
        self.last_ns
    }

    #[cold]
    fn look(&mut self) -> u64 {
        if !self.counts_time {
            return clock::now_ns();
        }
        let before = cycles();
        let now_ns = clock::now_ns();
        self.pace.learn(before, cycles(), now_ns);
        now_ns
    }
}

/// What the counter said at some time, and how fast it runs.
///
/// Invariant: `known_cycles` is 0, or `scale` is plausible.
#[derive(Debug, Default)]
struct Pace {
    base_cycles: u64,
    base_ns: u64,
    /// Nanoseconds per cycle, times 2^32; 0 until it is measured.
    scale: u64,
    /// The counter tells the time until it is so far from `base_cycles`.
    known_cycles: u64,
}

impl Pace {
    #[inline]
    fn is_known(&self) -> bool {
        self.known_cycles > 0
    }

    /// The time when the counter is at `cycles`, if it can be told.
    #[inline]
    fn time_at(&self, cycles: u64) -> Option<u64> {
        let passed = cycles.wrapping_sub(self.base_cycles);
        // No overflow: what is known is a millisecond, or 2^20 ns.
        (passed < self.known_cycles).then(|| self.base_ns + ((passed * self.scale) >> 32))
    }

    /// Takes note that it was `now_ns` at some moment between these counts.
    fn learn(&mut self, before: u64, after: u64, now_ns: u64) {
        self.known_cycles = 0;
        let gap = after.wrapping_sub(before);
        // This is of a thread that was interrupted: the next reading looks again.
        if gap > TIGHT_CYCLES {
            return;
        }
        let now_cycles = before.wrapping_add(gap / 2);
        let passed_cycles = now_cycles.wrapping_sub(self.base_cycles);
        let passed_ns = now_ns.saturating_sub(self.base_ns);
        // Over a shorter span the gap would be felt.
        if passed_ns < SPAN_NS {
            return;
        }
        let scale = (u128::from(passed_ns) << 32) / u128::from(passed_cycles.max(1));
        let scale = u64::try_from(scale).unwrap_or(u64::MAX);
        let is_confirmed = scale.abs_diff(self.scale) <= self.scale / MOST_CHANGE;
        if is_confirmed && PLAUSIBLE.contains(&scale) {
            self.known_cycles = (SPAN_NS << 32) / scale;
        }
        self.scale = scale;
        (self.base_cycles, self.base_ns) = (now_cycles, now_ns);
        self.invariants();
    }

    fn invariants(&self) {
        debug_assert!(self.known_cycles == 0 || PLAUSIBLE.contains(&self.scale));
        debug_assert!(self.known_cycles.checked_mul(self.scale).is_some());
    }
}

/// Whether the kernel makes its clock of the counter, for programs too. An emulator hides that, and may
/// count in another way than its clock goes; under valgrind a request then has the same instructions
/// each time.
fn counts_time() -> bool {
    static COUNTS_TIME: OnceLock<bool> = OnceLock::new();
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    *COUNTS_TIME.get_or_init(|| {
        let source = small_file::read(Path::new(SOURCE), 64);
        cfg!(target_arch = "x86_64")
            && clock::is_read_without_a_call()
            && source.is_ok_and(|source| source.trim() == "tsc")
    })
}

/// The counter; where there is none, one that stands still and is not used.
#[inline]
fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: each processor of this architecture has the instruction, and a process from which the
    // kernel has taken it cannot read a clock that is made of it either.
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
        pace.learn(cycles, cycles, ns);
    }

    proptest! {
        #[test]
        fn between_two_looks_the_counter_tells_the_time(
            per_us in 1u64..10_000,
            start_ns in SPAN_NS..1 << 50,
            spans_ns in [SPAN_NS..1_000_000_000_000, SPAN_NS..1_000_000_000_000],
            within in 0..SPAN_NS,
        ) {
            let mut pace = Pace::default();
            let mut base_ns = start_ns;
            for span_ns in spans_ns {
                learn_at(&mut pace, base_ns, per_us);
                base_ns += span_ns;
            }
            learn_at(&mut pace, base_ns, per_us);
            // As exact as a cycle at each look.
            let slack_ns = 4 * (1000 / per_us + 1);
            match pace.time_at(cycles_at(base_ns + within, per_us)) {
                Some(ns) => prop_assert!(ns.abs_diff(base_ns + within) <= slack_ns, "{ns}"),
                None => prop_assert!(within + slack_ns >= SPAN_NS || within < slack_ns),
            }
            prop_assert_eq!(pace.time_at(cycles_at(base_ns + 2 * SPAN_NS, per_us)), None);
        }

        #[test]
        fn whatever_it_learns_it_knows_no_more_than_a_span(
            looks in prop::collection::vec((any::<u64>(), 0..2 * TIGHT_CYCLES, any::<u64>()), 1..20),
            cycles in any::<u64>(),
        ) {
            let mut pace = Pace::default();
            for (before, gap, now_ns) in looks {
                pace.learn(before, before.wrapping_add(gap), now_ns >> 1);
                let ns = pace.time_at(cycles);
                prop_assert!(ns.is_none_or(|ns| ns - pace.base_ns <= SPAN_NS));
            }
        }
    }

    /// A pace that two looks agree on, the last one at this time.
    fn known(last_ns: u64) -> Pace {
        let mut pace = Pace::default();
        for ns in [SPAN_NS, SPAN_NS * 2, last_ns] {
            learn_at(&mut pace, ns, 3_000);
        }
        assert_eq!(pace.time_at(cycles_at(last_ns, 3_000)), Some(last_ns));
        pace
    }

    #[test]
    fn a_pace_is_believed_when_two_looks_agree_on_it() {
        let mut pace = Pace::default();
        for (ns, is_known) in [(5, false), (6, false), (2, false), (9, true), (10, true)] {
            let ns = ns * SPAN_NS;
            // The machine slept before the first of them, and its counter did not.
            let asleep = if ns == 2 * SPAN_NS { 0 } else { 1 << 50 };
            let cycles = cycles_at(ns, 3_000) + asleep;
            pace.learn(cycles, cycles + 2, ns);
            assert_eq!(pace.is_known(), is_known, "{ns}");
        }
    }

    #[test]
    fn what_was_interrupted_is_not_learned_from() {
        let mut pace = known(10_000_000);
        let later = cycles_at(10_500_000, 3_000);
        assert!(pace.time_at(later).is_some());
        pace.learn(later, later + TIGHT_CYCLES + 1, 10_600_000);
        assert_eq!((pace.base_ns, pace.is_known()), (10_000_000, false));
        learn_at(&mut pace, 12_000_000, 3_000);
        assert!(pace.is_known(), "the next look is as good as any");
    }

    #[test]
    fn a_counter_that_changes_its_pace_is_not_used_until_it_stays() {
        for (per_us, is_used) in [(3_000, true), (3_300, true), (4_000, false), (1_500, false)] {
            let mut pace = known(5_000_000);
            let mut cycles = cycles_at(5_000_000, 3_000);
            for (ns, is_used) in [(8_000_000, is_used), (11_000_000, true)] {
                cycles += cycles_at(3_000_000, per_us);
                pace.learn(cycles, cycles, ns);
                assert_eq!(pace.time_at(cycles), is_used.then_some(ns), "{per_us}");
            }
        }
    }

    #[test]
    fn a_counter_that_stands_still_or_goes_back_is_not_used() {
        for step in [0, u64::MAX, 1_u64.wrapping_neg() << 40] {
            let (mut pace, mut cycles) = (known(5_000_000), 5);
            for ns in (6_000_000..60_000_000).step_by(3_000_000) {
                pace.learn(cycles, cycles, ns);
                assert!(!pace.is_known(), "{step}");
                cycles = cycles.wrapping_add(step);
            }
        }
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
