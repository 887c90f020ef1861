//! The commits of a query: strictly in order, tried again when they fail, and put off while another
//! process still has the checkpoint.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::checkpoint::{Awaited, Checkpoint, Marks, Opened, Recovered};
use crate::control::EpochWatch;
use crate::progress::CheckpointProgress;

pub(super) struct Commits {
    ledger: Ledger,
    /// The epoch that is open.
    epoch: u64,
    /// What the newest committed epoch says.
    committed: BTreeMap<u32, Marks>,
    committed_epoch: Option<u64>,
    /// A sink has rows of the open epoch.
    has_rows: bool,
    duration: Duration,
    failure: Option<String>,
    /// Since when there is something that is not committed.
    behind_since: Option<Instant>,
    backoff: Backoff,
}

enum Ledger {
    Held {
        checkpoint: Checkpoint,
        /// By how much the marks of each partition are above the offsets of this run: what the
        /// process that was taken over handed out after this one had begun to count.
        shifts: BTreeMap<u32, u64>,
    },
    /// The process that was taken over still commits.
    Awaited(Awaited),
}

impl Commits {
    pub(super) fn new(checkpoint: Opened, recovered: Recovered) -> Self {
        let ledger = match checkpoint {
            Opened::Awaited(awaited) => Ledger::Awaited(awaited),
            Opened::Held(checkpoint) => Ledger::Held {
                checkpoint,
                shifts: BTreeMap::new(),
            },
        };
        Commits {
            ledger,
            epoch: recovered.last_epoch.map_or(0, |epoch| epoch + 1),
            committed: recovered.partitions,
            committed_epoch: recovered.last_epoch,
            has_rows: false,
            duration: Duration::ZERO,
            failure: None,
            behind_since: None,
            backoff: Backoff::new(),
        }
    }

    /// The epoch that is open.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The newest epoch that is committed.
    pub(super) fn committed_epoch(&self) -> Option<u64> {
        self.committed_epoch
    }

    /// Who has the lock that is awaited.
    pub(super) fn awaited_lock(&self) -> Option<String> {
        match &self.ledger {
            Ledger::Awaited(awaited) => Some(awaited.holder().to_owned()),
            Ledger::Held { .. } => None,
        }
    }

    /// Takes the checkpoint over if its lock is free; tells whether that is done.
    ///
    /// What it says now is the end of the other process. This run goes on from there: to the marks
    /// of each partition are added the requests that this run has handed out since it began, so
    /// that every request of both counts once, and no mark goes back.
    pub(super) fn try_lock(&mut self, now: Instant, watch: &EpochWatch) -> bool {
        let Ledger::Awaited(awaited) = &self.ledger else {
            return true;
        };
        if self.backoff.is_waiting(now) {
            return false;
        }
        let (checkpoint, recovered) = match awaited.try_open() {
            Ok(Some(opened)) => opened,
            Ok(None) => return false,
            Err(error) => {
                self.failed(&error.to_string(), now, watch);
                return false;
            }
        };
        let shift = |(&partition, found): (&u32, &Marks)| {
            let began = self.committed.get(&partition).map_or(0, |marks| marks.next);
            (partition, found.next.saturating_sub(began))
        };
        let shifts = recovered.partitions.iter().map(shift).collect();
        tracing::info!(
            from = awaited.holder(),
            epoch = recovered.last_epoch,
            "the checkpoint is taken over"
        );
        self.epoch = recovered.last_epoch.map_or(0, |epoch| epoch + 1);
        self.committed_epoch = recovered.last_epoch;
        self.committed = recovered.partitions;
        self.ledger = Ledger::Held { checkpoint, shifts };
        self.succeeded();
        true
    }

    /// A commit that failed is not put off any more: no later one will come.
    pub(super) fn is_last_chance(&mut self) {
        self.backoff.is_last_chance();
    }

    /// Something is to be committed as soon as the sink has it.
    pub(super) fn fall_behind(&mut self, now: Instant, watch: &EpochWatch) {
        self.behind_since.get_or_insert(now);
        watch.cut(now);
    }

    /// Commits these marks as the open epoch, if they say anything new, or the sink has rows of it.
    /// Partitions that this run does not have keep what an earlier one said. Tells whether what they
    /// say is committed.
    ///
    /// What is put off because another process has the checkpoint does not count as a lag of it:
    /// how long that takes is up to the connections of the other.
    pub(super) fn cut(
        &mut self,
        run_id: &str,
        marks: BTreeMap<u32, Marks>,
        has_rows: bool,
        now: Instant,
        watch: &EpochWatch,
    ) -> bool {
        let Ledger::Held { checkpoint, shifts } = &mut self.ledger else {
            self.behind_since.get_or_insert(now);
            return false;
        };
        let mut all = self.committed.clone();
        all.extend(marks.into_iter().map(|(partition, marks)| {
            let shift = shifts.get(&partition).copied().unwrap_or(0);
            let (next, settled) = (marks.next + shift, marks.settled + shift);
            (partition, Marks { next, settled })
        }));
        self.has_rows |= has_rows;
        if all == self.committed && !self.has_rows {
            return true;
        }
        self.behind_since.get_or_insert(now);
        watch.cut(now);
        if self.backoff.is_waiting(now) {
            return false;
        }
        let committed = checkpoint.commit(run_id, self.epoch, &all, self.has_rows);
        match &committed {
            Ok(_) => {
                if self.failure.is_some() {
                    tracing::info!(epoch = self.epoch, "commits to the checkpoint resume");
                }
                watch.committed(now.elapsed());
                self.committed_epoch = Some(self.epoch);
                self.epoch += 1;
                self.committed = all;
                self.has_rows = false;
                self.behind_since = None;
                self.succeeded();
            }
            Err(error) => self.failed(&error.to_string(), now, watch),
        }
        self.duration = now.elapsed();
        committed.is_ok()
    }

    fn succeeded(&mut self) {
        self.failure = None;
        self.backoff.succeeded();
    }

    fn failed(&mut self, error: &str, now: Instant, watch: &EpochWatch) {
        watch.failed(error.to_owned());
        tracing::error!(epoch = self.epoch, %error, retry_after = ?self.backoff.after(),
            "cannot commit to the checkpoint; serving goes on");
        self.failure = Some(error.to_owned());
        self.backoff.failed(now);
    }

    pub(super) fn progress(&self, now: Instant) -> CheckpointProgress {
        let lag = self
            .behind_since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        CheckpointProgress {
            committed_epoch: self.committed_epoch,
            duration_ms: self.duration.as_secs_f64() * 1e3,
            lag_ms: lag.as_secs_f64() * 1e3,
            failure: self.failure.clone(),
            waiting_for: self
                .awaited_lock()
                .map(|holder| format!("the lock of {holder}, which was taken over and drains")),
        }
    }
}
