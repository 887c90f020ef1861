//! What a run observes, while it runs.

use std::collections::VecDeque;
use std::ops::Range;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connection::{Fault, InFlight};
use super::heat::Heat;
use super::phase::Phase;
use super::progress::Feed;
use super::reply::Reply;
use super::stalls::Stalls;
use super::timeline::Timeline;

/// What a reply is, for those who count only this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As wished.
    Good,
    /// 503: the server had too much to do.
    Shed,
    /// Another error, or another body than the expected one.
    Failed,
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
    /// What is measured, in ns since the start of the run: from the end of the warm-up on.
    window_ns: Range<u64>,
    /// Whether the window is open, so that arrivals count.
    pub(super) is_open: bool,
    /// What became of the requests that were due in the window, phase by phase; at least one.
    pub(super) phases: Vec<Phase>,
    /// What arrived in the window, step by step.
    pub(super) timeline: Timeline,
    /// The good ones of these, by time and latency.
    pub(super) heat: Heat,
    /// When this program could not run in the window.
    pub(super) stalls: Stalls,
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
pub(super) const MAX_LATENCY_NS: u64 = 100_000_000_000;

impl Record {
    /// Of a run whose phases end at these times, and of which somebody may want to see something
    /// meanwhile.
    pub(super) fn new(begin_ns: u64, phase_ends_ns: &[u64], feed: Option<Feed>) -> Record {
        let end_ns = phase_ends_ns.last().copied().unwrap_or(begin_ns);
        Record {
            window_ns: begin_ns..end_ns,
            is_open: false,
            phases: phase_ends_ns.iter().map(|&end| Phase::new(end)).collect(),
            timeline: Timeline::new(feed),
            heat: Heat::new(end_ns - begin_ns),
            stalls: Stalls::new(),
            lag_ns: histogram(),
            errors: ErrorCounts::default(),
            completed: 0,
            idle_ns: 0,
        }
    }

    /// A reply arrived.
    #[inline]
    pub(super) fn replied(&mut self, reply: &Reply, body: Body, request: InFlight, now_ns: u64) {
        let outcome = match (reply.status, body) {
            (503, _) => Outcome::Shed,
            (400.., _) | (_, Body::Wrong) => Outcome::Failed,
            _ => Outcome::Good,
        };
        let latency_ns = now_ns.saturating_sub(request.due_ns);
        if self.is_open {
            self.completed += 1;
            let at_ns = now_ns.saturating_sub(self.window_ns.start);
            self.timeline
                .arrived(outcome, latency_ns, at_ns, &self.errors);
            if outcome == Outcome::Good {
                self.heat.arrived(latency_ns, at_ns);
            }
        }
        if let Some(phase) = self.phase(request.due_ns) {
            phase.answered(outcome, latency_ns, reply.retry_after);
        }
        match reply.status {
            400..500 => self.errors.status_4xx += 1,
            500.. => self.errors.status_5xx += 1,
            _ if body == Body::Wrong => self.errors.wrong_body += 1,
            _ => {}
        }
    }

    /// A wait that does not sleep, and found so many sockets ready, took so much time.
    #[inline]
    pub(super) fn waited(&mut self, since_ns: u64, length_ns: u64, ready: usize) {
        let at_ns = since_ns.saturating_sub(self.window_ns.start);
        self.stalls.waited(at_ns, length_ns, ready);
    }

    /// A connection is gone, and with it these requests.
    pub(super) fn lost(&mut self, fault: Fault, requests: &VecDeque<InFlight>, now_ns: u64) {
        let count = requests.len() as u64;
        self.errors.lost(fault, count);
        if self.is_open && count > 0 {
            let at_ns = now_ns.saturating_sub(self.window_ns.start);
            self.timeline.lost(count, at_ns, &self.errors);
        }
        for request in requests {
            self.phase(request.due_ns).into_iter().for_each(Phase::lost);
        }
    }

    /// A request of an open loop found no connection free in time.
    pub(super) fn unsent(&mut self, due_ns: u64) {
        self.errors.unsent += 1;
        self.phase(due_ns).into_iter().for_each(Phase::unsent);
    }

    /// The phase in which a request was due; none outside of the window.
    #[inline]
    fn phase(&mut self, due_ns: u64) -> Option<&mut Phase> {
        if !self.window_ns.contains(&due_ns) {
            return None;
        }
        self.phases.iter_mut().find(|phase| due_ns < phase.end_ns)
    }
}

/// Whether the body of a reply is the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// It is, or none was.
    Right,
    /// It is another one.
    Wrong,
}

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3).expect("the bounds are constants, and valid")
}
