//! When what failed is tried again.

use std::time::{Duration, Instant};

/// What failed is tried again after so long, doubled each time up to the last.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Backoff {
    at: Option<Instant>,
    after: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff {
            at: None,
            after: FIRST,
        }
    }

    /// Whether it is too early for another try.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now < at)
    }

    /// After how long the next try comes, if this one fails.
    pub(super) fn after(&self) -> Duration {
        self.after
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.at = Some(now + self.after);
        self.after = (self.after * 2).min(LAST);
    }

    pub(super) fn succeeded(&mut self) {
        *self = Backoff::new();
    }

    /// The next try is not put off any more: no later one will come.
    pub(super) fn is_last_chance(&mut self) {
        self.at = None;
    }
}
