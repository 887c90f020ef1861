//! What a run observes, while it runs.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connection::Fault;

/// How long a step of the timeline is.
pub const STEP_NS: u64 = 100_000_000;
/// Steps that are kept, ten minutes; later replies count in the last one.
const MAX_STEPS: usize = 6000;

/// What arrived in one step of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Replies that are no errors.
    pub good: u64,
    /// Replies 503.
    pub shed: u64,
}

/// What went wrong, by kind; each counts requests, unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorCounts {
    /// Connections that could not be established again.
    pub connect: u64,
    /// Lost when the server reset their connection.
    pub reset: u64,
    /// Lost when the server closed their connection.
    pub eof: u64,
    /// Not answered in time.
    pub timeout: u64,
    /// Lost when the server sent what is no reply.
    pub malformed: u64,
    /// Answered with a status from 400 to 499.
    pub status_4xx: u64,
    /// Answered with a status of 500 or more.
    pub status_5xx: u64,
    /// Answered with a body other than the expected one.
    pub wrong_body: u64,
    /// Meant to be sent in the run, but every connection was busy to its end.
    pub unsent: u64,
}

impl ErrorCounts {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    /// Each kind with its name.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("connect", self.connect),
            ("reset", self.reset),
            ("eof", self.eof),
            ("timeout", self.timeout),
            ("malformed", self.malformed),
            ("status 4xx", self.status_4xx),
            ("status 5xx", self.status_5xx),
            ("wrong body", self.wrong_body),
            ("unsent", self.unsent),
        ]
    }

    /// `requests` were lost with their connection.
    pub(super) fn lost(&mut self, fault: Fault, requests: u64) {
        let count = match fault {
            Fault::Eof => &mut self.eof,
            Fault::Reset => &mut self.reset,
            Fault::Malformed => &mut self.malformed,
            Fault::Timeout => &mut self.timeout,
        };
        *count += requests;
    }
}

/// The counters and histograms of a run.
#[derive(Debug)]
pub(super) struct Record {
    /// Of each request that was due in the window and not shed, from when it was due, in ns.
    pub(super) latency_ns: Histogram<u64>,
    /// Of each that was answered 503, from when it was sent: how long it takes to be told.
    pub(super) shed_ns: Histogram<u64>,
    /// What arrived when, from the begin of the window.
    pub(super) timeline: Vec<Step>,
    /// Of each request of an open loop that found a connection free: how late this program was.
    pub(super) lag_ns: Histogram<u64>,
    /// Over the whole run: an error in the warm-up is one, too.
    pub(super) errors: ErrorCounts,
    /// Replies that arrived in the window.
    pub(super) completed: u64,
    /// Of the window, how long this program had nothing to do.
    pub(super) idle_ns: u64,
}

/// The longest latency that is told apart; longer ones count as this.
const MAX_LATENCY_NS: u64 = 100_000_000_000;

impl Record {
    pub(super) fn new() -> Record {
        Record {
            latency_ns: histogram(),
            shed_ns: histogram(),
            timeline: Vec::new(),
            lag_ns: histogram(),
            errors: ErrorCounts::default(),
            completed: 0,
            idle_ns: 0,
        }
    }

    /// Notes a reply of this status that arrived so long after the window began.
    #[inline]
    pub(super) fn arrived(&mut self, status: u16, since_begin_ns: u64) {
        self.completed += 1;
        let index = ((since_begin_ns / STEP_NS) as usize).min(MAX_STEPS - 1);
        if index >= self.timeline.len() {
            self.timeline.resize(index + 1, Step::default());
        }
        match status {
            503 => self.timeline[index].shed += 1,
            400.. => {}
            _ => self.timeline[index].good += 1,
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3).expect("the bounds are constants, and valid")
}
