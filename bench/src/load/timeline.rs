//! What arrived when: a run in steps of a tenth of a second.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::progress::{Feed, News};
use super::record::{ErrorCounts, MAX_LATENCY_NS, Outcome};

/// How long a step of the timeline is.
pub const STEP_NS: u64 = 100_000_000;

/// Steps that are kept, ten minutes; what arrives later counts in the last one.
const MAX_STEPS: usize = 6000;

/// For how long that is.
pub(super) const KEPT_NS: u64 = MAX_STEPS as u64 * STEP_NS;

/// What arrived in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Step {
    /// Replies as wished.
    pub good: u64,
    /// Replies 503.
    pub shed: u64,
    /// Other errors, and requests lost with their connection.
    pub failed: u64,
    /// From when they were due, of the good ones; 0 without any, as below.
    pub good_p50_us: f64,
    /// 99 of 100 good ones took at most this.
    pub good_p99_us: f64,
    /// The longest of the good ones.
    pub good_max_us: f64,
}

/// The steps up to now. The last one is open until something arrives after its end.
#[derive(Debug)]
pub(super) struct Timeline {
    steps: Vec<Step>,
    /// The good latencies of the open step.
    open_ns: Histogram<u64>,
    /// Who is told of each step that closes.
    feed: Option<Feed>,
    /// Replies and failures in the steps that closed.
    done: u64,
}

impl Timeline {
    pub(super) fn new(feed: Option<Feed>) -> Timeline {
        let open_ns = Histogram::new_with_bounds(1, MAX_LATENCY_NS, 2);
        Timeline {
            steps: Vec::new(),
            open_ns: open_ns.expect("the bounds are constants, and valid"),
            feed,
            done: 0,
        }
    }

    /// Counts a reply that arrived so long after the beginning, in the order of arrival. The errors
    /// are for who is told of a step that closes.
    #[inline]
    pub(super) fn arrived(
        &mut self,
        outcome: Outcome,
        latency_ns: u64,
        at_ns: u64,
        errors: &ErrorCounts,
    ) {
        let step = self.step(at_ns, errors);
        match outcome {
            Outcome::Good => {
                step.good += 1;
                self.open_ns.saturating_record(latency_ns);
            }
            Outcome::Shed => step.shed += 1,
            Outcome::Failed => step.failed += 1,
        }
    }

    /// Counts requests that were lost.
    pub(super) fn lost(&mut self, requests: u64, at_ns: u64, errors: &ErrorCounts) {
        self.step(at_ns, errors).failed += requests;
    }

    #[inline]
    fn step(&mut self, at_ns: u64, errors: &ErrorCounts) -> &mut Step {
        let index = ((at_ns / STEP_NS) as usize).min(MAX_STEPS - 1);
        if index >= self.steps.len() {
            self.close();
            self.tell(errors);
            self.steps.resize(index + 1, Step::default());
        }
        &mut self.steps[index]
    }

    #[cold]
    fn close(&mut self) {
        let at_us = |quantile| self.open_ns.value_at_quantile(quantile) as f64 / 1e3;
        if let Some(step) = self.steps.last_mut() {
            step.good_p50_us = at_us(0.5);
            step.good_p99_us = at_us(0.99);
            step.good_max_us = at_us(1.0);
        }
        self.open_ns.clear();
    }

    #[cold]
    fn tell(&mut self, errors: &ErrorCounts) {
        let (Some(feed), Some(&step)) = (&self.feed, self.steps.last()) else {
            return;
        };
        self.done += step.good + step.shed + step.failed;
        feed.tell(News::Closed {
            step,
            end_ns: self.steps.len() as u64 * STEP_NS,
            done: self.done,
            errors: errors.total(),
        });
    }

    /// All steps, the last one closed.
    pub(super) fn into_steps(mut self) -> Vec<Step> {
        self.close();
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_own_counts_and_percentiles() {
        let none = ErrorCounts::default();
        let mut timeline = Timeline::new(None);
        for latency_us in 1..=100 {
            timeline.arrived(Outcome::Good, latency_us * 1000, 5, &none);
        }
        timeline.arrived(Outcome::Shed, 1, STEP_NS - 1, &none);
        timeline.arrived(Outcome::Good, 7_000_000, 2 * STEP_NS, &none);
        timeline.lost(3, 2 * STEP_NS + 1, &none);
        let steps = timeline.into_steps();
        let counts: Vec<_> = steps.iter().map(|s| (s.good, s.shed, s.failed)).collect();
        assert_eq!(counts, [(100, 1, 0), (0, 0, 0), (1, 0, 3)]);
        assert!((49.0..=52.0).contains(&steps[0].good_p50_us), "{steps:?}");
        assert!((98.0..=101.0).contains(&steps[0].good_p99_us), "{steps:?}");
        assert_eq!(steps[1], Step::default());
        // The last one is closed too, and forgot the first.
        assert!(
            (6900.0..=7100.0).contains(&steps[2].good_p50_us),
            "{steps:?}"
        );
    }

    #[test]
    fn what_comes_after_the_last_step_counts_in_it() {
        let none = ErrorCounts::default();
        let mut timeline = Timeline::new(None);
        timeline.arrived(Outcome::Good, 1, u64::MAX, &none);
        timeline.lost(1, u64::MAX, &none);
        let steps = timeline.into_steps();
        assert_eq!((steps.len(), steps[MAX_STEPS - 1].failed), (MAX_STEPS, 1));
    }
}
