//! The phases of an open loop, each with a rate of its own.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::record::{Outcome, histogram};
use super::report::Percentiles;

/// A rate, and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateStep {
    /// Requests per second.
    pub rate_per_s: f64,
    /// For how long.
    pub duration: Duration,
}

/// What became of the requests that were due in one phase.
#[derive(Debug)]
pub(super) struct Phase {
    /// When the next one begins, in ns since the start of the run.
    pub(super) end_ns: u64,
    /// Of each reply but those 503, from when its request was due.
    pub(super) answered_ns: Histogram<u64>,
    /// Of each reply 503, from when its request was due.
    pub(super) shed_ns: Histogram<u64>,
    /// Replies 503 with a `Retry-After`.
    retry_after: u64,
    good: u64,
    failed: u64,
    unsent: u64,
}

impl Phase {
    pub(super) fn new(end_ns: u64) -> Phase {
        Phase {
            end_ns,
            answered_ns: histogram(),
            shed_ns: histogram(),
            retry_after: 0,
            good: 0,
            failed: 0,
            unsent: 0,
        }
    }

    #[inline]
    pub(super) fn answered(&mut self, outcome: Outcome, latency_ns: u64, retry_after: bool) {
        match outcome {
            Outcome::Shed => {
                self.shed_ns.saturating_record(latency_ns);
                self.retry_after += u64::from(retry_after);
                return;
            }
            Outcome::Good => self.good += 1,
            Outcome::Failed => self.failed += 1,
        }
        self.answered_ns.saturating_record(latency_ns);
    }

    pub(super) fn lost(&mut self) {
        self.failed += 1;
    }

    pub(super) fn unsent(&mut self) {
        self.unsent += 1;
    }

    pub(super) fn report(&self, step: RateStep) -> PhaseReport {
        let seconds = step.duration.as_secs_f64();
        PhaseReport {
            rate_per_s: step.rate_per_s,
            seconds,
            good: self.good,
            shed: self.shed_ns.len(),
            retry_after: self.retry_after,
            failed: self.failed,
            unsent: self.unsent,
            latency: Percentiles::of(&self.answered_ns),
            shed_latency: Percentiles::of(&self.shed_ns),
            histogram_ns: recorded(&self.answered_ns),
            shed_histogram_ns: recorded(&self.shed_ns),
        }
    }
}

/// What became of the requests that were due in one phase, whenever their replies came.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// Requests per second that were due.
    pub rate_per_s: f64,
    /// How long it was.
    pub seconds: f64,
    /// Replies as wished.
    pub good: u64,
    /// Replies 503.
    pub shed: u64,
    /// Those of them that said `Retry-After`.
    pub retry_after: u64,
    /// Other errors, and requests lost with their connection.
    pub failed: u64,
    /// Never sent: no connection was free within the client's patience.
    pub unsent: u64,
    /// Of all replies but those 503, from when their requests were due.
    pub latency: Percentiles,
    /// Of the replies 503.
    pub shed_latency: Percentiles,
    /// Every latency as (ns, how often).
    pub histogram_ns: Vec<(u64, u64)>,
    /// The same of the replies 503.
    pub shed_histogram_ns: Vec<(u64, u64)>,
}

/// A histogram as (value, how often), as reports keep it.
pub(crate) fn recorded(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}
