//! When requests are meant to be sent: fixed before the run, whatever the server does.

use clap::ValueEnum;
use serde::Serialize;

/// How requests of an open loop are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One after each interval.
    Constant,
    /// At random, independent of each other, as those of many clients are.
    Poisson,
}

/// The times at which the requests of an open loop are meant to be sent, in ns since its start.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    interval_ns: f64,
    /// How many were taken.
    taken: u64,
    next_ns: f64,
    random: SplitMix,
}

impl Schedule {
    /// `rate_per_s` requests each second; constant ones begin at once. Equal seeds give equal
    /// schedules.
    pub fn new(arrivals: Arrivals, rate_per_s: f64, seed: u64) -> Schedule {
        let interval_ns = 1e9 / rate_per_s;
        let mut random = SplitMix(seed);
        let next_ns = match arrivals {
            Arrivals::Constant => 0.0,
            Arrivals::Poisson => random.gap(interval_ns),
        };
        Schedule {
            arrivals,
            interval_ns,
            taken: 0,
            next_ns,
            random,
        }
    }

    /// When the next request is meant to be sent.
    #[inline]
    pub fn peek_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// Takes the next request.
    #[inline]
    pub fn take_ns(&mut self) -> u64 {
        let due_ns = self.peek_ns();
        self.taken += 1;
        self.next_ns = match self.arrivals {
            // Not a sum, whose rounding errors would add up to a drift.
            Arrivals::Constant => self.taken as f64 * self.interval_ns,
            Arrivals::Poisson => self.next_ns + self.random.gap(self.interval_ns),
        };
        due_ns
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough randomness for arrival times in four lines.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// Exponentially distributed, with this mean.
    fn gap(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Uniform in (0, 1].
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(arrivals: Arrivals, rate_per_s: f64, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(arrivals, rate_per_s, 7);
        (0..count).map(|_| schedule.take_ns()).collect()
    }

    #[test]
    fn constant_arrivals_are_one_interval_apart_and_do_not_drift() {
        assert_eq!(
            first(Arrivals::Constant, 1000.0, 3),
            [0, 1_000_000, 2_000_000]
        );
        // A third of a second has no exact interval; the last of an hour is right all the same.
        let hour = first(Arrivals::Constant, 3.0, 3 * 3600 + 1);
        assert_eq!(hour.last(), Some(&3_600_000_000_000));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_the_process() {
        let times = first(Arrivals::Poisson, 1000.0, 100_000);
        let mean_ns = *times.last().expect("100,000 of them") as f64 / times.len() as f64;
        assert!((mean_ns / 1e6 - 1.0).abs() < 0.02, "mean gap {mean_ns} ns");
        let long = times
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > 3_000_000)
            .count();
        // e⁻³ of the gaps are longer than three intervals.
        assert!(
            (long as f64 / 1e5 / (-3.0_f64).exp() - 1.0).abs() < 0.1,
            "{long} long gaps"
        );
    }

    #[test]
    fn equal_seeds_give_equal_schedules() {
        assert_eq!(
            first(Arrivals::Poisson, 50.0, 100),
            first(Arrivals::Poisson, 50.0, 100)
        );
    }
}
