//! When requests are meant to be sent: fixed before the run, whatever the server does.

use std::collections::VecDeque;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::phase::RateStep;
use crate::random::SplitMix;

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
    /// The steps to come: when they begin, and their intervals.
    later: VecDeque<(f64, f64)>,
    /// When the present step began.
    begin_ns: f64,
    interval_ns: f64,
    /// How many were taken since.
    taken: u64,
    next_ns: f64,
    random: SplitMix,
}

impl Schedule {
    /// `rate_per_s` requests each second; constant ones begin at once. Equal seeds give equal
    /// schedules.
    pub fn new(arrivals: Arrivals, rate_per_s: f64, seed: u64) -> Schedule {
        let step = RateStep {
            rate_per_s,
            duration: Duration::MAX,
        };
        Schedule::stepped(arrivals, Duration::ZERO, &[step], seed)
    }

    /// The rates of these steps, one after the other; the first one also before, in the warm-up, and
    /// the last one for ever.
    pub fn stepped(
        arrivals: Arrivals,
        warmup: Duration,
        steps: &[RateStep],
        seed: u64,
    ) -> Schedule {
        let mut end_ns = warmup.as_secs_f64() * 1e9;
        let mut later = VecDeque::new();
        for (index, step) in steps.iter().enumerate() {
            let begin_ns = if index == 0 { 0.0 } else { end_ns };
            later.push_back((begin_ns, 1e9 / step.rate_per_s));
            end_ns += step.duration.as_secs_f64() * 1e9;
        }
        let mut schedule = Schedule {
            arrivals,
            later,
            begin_ns: 0.0,
            interval_ns: f64::INFINITY,
            taken: 0,
            next_ns: 0.0,
            random: SplitMix::new(seed),
        };
        schedule.enter_steps();
        schedule
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
            Arrivals::Constant => self.begin_ns + self.taken as f64 * self.interval_ns,
            Arrivals::Poisson => self.next_ns + self.random.gap(self.interval_ns),
        };
        self.enter_steps();
        due_ns
    }

    /// Begins each step whose time has come. Random arrivals have no memory, so the gap that
    /// reaches into the next step may as well be drawn anew there.
    #[inline]
    fn enter_steps(&mut self) {
        while let Some(&(begin_ns, interval_ns)) = self.later.front()
            && self.next_ns >= begin_ns
        {
            self.later.pop_front();
            self.begin_ns = begin_ns;
            self.interval_ns = interval_ns;
            self.taken = 0;
            self.next_ns = match self.arrivals {
                Arrivals::Constant => begin_ns,
                Arrivals::Poisson => begin_ns + self.random.gap(interval_ns),
            };
        }
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
    fn steps_follow_each_other_at_their_times() {
        let step = |rate_per_s, ms| RateStep {
            rate_per_s,
            duration: Duration::from_millis(ms),
        };
        let steps = [step(1000.0, 2), step(4000.0, 1), step(1000.0, 5)];
        let warmup = Duration::from_millis(1);
        let mut schedule = Schedule::stepped(Arrivals::Constant, warmup, &steps, 1);
        let us: Vec<_> = (0..9).map(|_| schedule.take_ns() / 1000).collect();
        // The warm-up and 2 ms at 1 a ms, 1 ms at 4, and then 1 a ms again, beyond the end too.
        assert_eq!(us, [0, 1000, 2000, 3000, 3250, 3500, 3750, 4000, 5000]);
        let mut random = Schedule::stepped(Arrivals::Poisson, warmup, &steps, 1);
        let times: Vec<_> = (0..9).map(|_| random.take_ns()).collect();
        assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn equal_seeds_give_equal_schedules() {
        assert_eq!(
            first(Arrivals::Poisson, 50.0, 100),
            first(Arrivals::Poisson, 50.0, 100)
        );
    }
}
