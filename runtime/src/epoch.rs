//! The epoch thread of a query: cuts epochs, commits them in order, ends the query.
//!
//! At the end of a turn a partition publishes what it has handed out and what is answered. So an
//! epoch is cut by reading two numbers of each partition; no partition is asked, or even woken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;

use crate::checkpoint::{Checkpoint, Marks, Recovered};
use crate::control::{self, EpochWatch};
use crate::error::Error;
use crate::io::clock::now_ns;
use crate::options::Options;
use crate::partition::latency::histogram;
use crate::partition::{Mailbox, Phase, Published};
use crate::progress::{CheckpointProgress, LatencySummary, PartitionProgress, QueryProgress};
use crate::query::{self, Shared};
use crate::session::Registry;

/// A commit that failed is tried again after so long, doubled each time up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What the epoch thread is told.
pub(crate) enum Message {
    /// A partition has its listeners in hand.
    PartitionServes,
    /// A partition panicked, and starts anew.
    PartitionPanicked(usize),
    /// A partition's thread is about to end, and has closed its connections.
    PartitionEnded(Result<(), Error>),
    /// Drain and end.
    Stop,
}

/// What the epoch thread has of a partition.
pub(crate) struct PartitionHandle {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) published: Arc<CachePadded<Published>>,
    latencies_seen: Vec<u64>,
    settled_before: u64,
}

impl PartitionHandle {
    pub(crate) fn new(mailbox: Arc<Mailbox>, published: Arc<CachePadded<Published>>) -> Self {
        let settled_before = published.offsets().settled;
        PartitionHandle {
            mailbox,
            published,
            latencies_seen: Vec::new(),
            settled_before,
        }
    }

    /// What others see of it.
    pub(crate) fn view(&self) -> query::PartitionView {
        query::PartitionView {
            mailbox: Arc::downgrade(&self.mailbox),
            published: Arc::clone(&self.published),
        }
    }
}

pub(crate) struct EpochThread {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    partitions: Vec<PartitionHandle>,
    running: usize,
    commits: Option<Commits>,
    messages: Receiver<Message>,
    interval: Duration,
    last_cut: Instant,
    shutdown_delay: Duration,
    shutdown_timeout: Duration,
    /// When the next step of the end is due, once the query is ending.
    ending: Option<Ending>,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Serving on, for whoever still sends here.
    Delay { until: Instant },
    /// Connections that end are gone; those that stay are answered.
    Drain { until: Instant },
    /// Partitions were told to end.
    Stop,
}

impl EpochThread {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, from start, with all its parts"
    )]
    pub(crate) fn new(
        shared: Arc<Shared>,
        registry: Arc<Registry>,
        partitions: Vec<PartitionHandle>,
        checkpoint: Option<Checkpoint>,
        recovered: Recovered,
        messages: Receiver<Message>,
        options: &Options,
        interval: Duration,
    ) -> Self {
        EpochThread {
            shared,
            registry,
            running: partitions.len(),
            partitions,
            commits: checkpoint.map(|checkpoint| Commits::new(checkpoint, recovered)),
            messages,
            interval,
            last_cut: Instant::now(),
            shutdown_delay: options.shutdown_delay,
            shutdown_timeout: options.shutdown_timeout,
            ending: None,
        }
    }

    /// Runs until all partitions have ended.
    pub(crate) fn run(mut self) {
        let mut next_cut = self.last_cut + self.interval;
        while self.running > 0 {
            let due = self.ending_due().map_or(next_cut, |due| due.min(next_cut));
            let wait = due.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(wait) {
                Ok(Message::Stop) => self.begin_ending(),
                Ok(Message::PartitionEnded(result)) => self.partition_ended(result),
                Ok(Message::PartitionServes) => {}
                Ok(Message::PartitionPanicked(partition)) => {
                    tracing::error!(
                        query = self.shared.name,
                        partition,
                        "a partition panicked and starts anew; its connections are lost"
                    );
                    self.shared.note_restart();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    if self.ending_due().is_some_and(|due| due <= now) {
                        self.continue_ending();
                    }
                    if next_cut <= now {
                        self.cut();
                        // After a commit that took long, the missed cuts are not made up for.
                        next_cut = (next_cut + self.interval).max(Instant::now());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end();
    }

    /// Ends an epoch: commits what the partitions published, and records the progress.
    fn cut(&mut self) {
        let now = Instant::now();
        let marks: Vec<_> = self
            .partitions
            .iter()
            .map(|partition| partition.published.offsets())
            .collect();
        let marks_by_partition = (0..).zip(&marks).map(|(index, offsets)| {
            (
                index,
                Marks {
                    next: offsets.next,
                    settled: offsets.settled,
                },
            )
        });
        let checkpoint = self.commits.as_mut().map(|commits| {
            let marks = marks_by_partition.collect();
            commits.cut(&self.shared.run_id, marks, now, &self.shared.epochs);
            commits.progress(now)
        });

        self.watch_turns();
        let interval = now - self.last_cut;
        self.last_cut = now;
        let mut latencies = histogram();
        let mut partitions = Vec::new();
        for (index, (partition, offsets)) in self.partitions.iter_mut().zip(&marks).enumerate() {
            let mut own = histogram();
            partition
                .published
                .latencies
                .drain_into(&mut partition.latencies_seen, &mut own);
            partition.mailbox.note_epoch();
            let (longest_turn_ns, longest_end_ns) = partition.published.take_longest();
            let start_offset = std::mem::replace(&mut partition.settled_before, offsets.settled);
            partitions.push(PartitionProgress {
                partition: index,
                start_offset,
                settled: offsets.settled,
                next: offsets.next,
                connections: partition.mailbox.connections(),
                requests_per_second: (offsets.settled - start_offset) as f64
                    / interval.as_secs_f64(),
                latency: LatencySummary::of(&own),
                longest_turn_us: longest_turn_ns as f64 / 1e3,
                longest_end_of_turn_us: longest_end_ns as f64 / 1e3,
            });
            latencies
                .add(&own)
                .expect("the histograms have the same bounds");
        }
        self.shared.record_progress(QueryProgress {
            id: self.shared.id.clone(),
            run_id: self.shared.run_id.clone(),
            name: self.shared.name.clone(),
            epoch: self.commits.as_ref().map_or(0, |commits| commits.epoch),
            timestamp_ms: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            interval_ms: interval.as_secs_f64() * 1e3,
            requests_per_second: partitions.iter().map(|part| part.requests_per_second).sum(),
            latency: LatencySummary::of(&latencies),
            partitions,
            checkpoint,
        });
    }

    /// A stuck turn answers nobody on its partition; the status says so, and the log once.
    fn watch_turns(&mut self) {
        let now_ns = now_ns();
        let stuck = self.partitions.iter().position(|partition| {
            partition
                .published
                .turn_ns(now_ns)
                .is_some_and(|turn_ns| turn_ns > control::STUCK_TURN.as_nanos() as u64)
        });
        if self.shared.set_stuck(stuck)
            && let Some(partition) = stuck
        {
            tracing::warn!(
                query = self.shared.name,
                partition,
                "a turn takes longer than a second: an operator blocks its partition"
            );
        }
    }

    fn partition_ended(&mut self, result: Result<(), Error>) {
        self.running -= 1;
        if let Err(error) = result {
            tracing::error!(query = self.shared.name, %error, "the query ends");
            self.shared.set_exception(error);
            self.stop_now();
        }
    }

    fn begin_ending(&mut self) {
        if self.ending.is_none() {
            self.shared.enter(query::Phase::Draining);
            self.ending = Some(Ending::Delay {
                until: Instant::now() + self.shutdown_delay,
            });
        }
    }

    fn ending_due(&self) -> Option<Instant> {
        match self.ending {
            Some(Ending::Delay { until } | Ending::Drain { until }) => Some(until),
            Some(Ending::Stop) | None => None,
        }
    }

    fn continue_ending(&mut self) {
        match self.ending {
            Some(Ending::Delay { .. }) => {
                self.tell_all(Phase::Draining);
                self.ending = Some(Ending::Drain {
                    until: Instant::now() + self.shutdown_timeout,
                });
            }
            Some(Ending::Drain { .. }) => self.stop_now(),
            Some(Ending::Stop) | None => {}
        }
    }

    fn stop_now(&mut self) {
        self.shared.enter(query::Phase::Draining);
        self.tell_all(Phase::Stopping);
        self.ending = Some(Ending::Stop);
    }

    fn tell_all(&self, phase: Phase) {
        for partition in &self.partitions {
            partition.mailbox.advance(phase);
        }
    }

    /// The last epoch says what all partitions had answered when they ended. The checkpoint is
    /// unlocked before anyone is told, so that a query may be started from it at once.
    fn end(mut self) {
        if let Some(commits) = &mut self.commits {
            // There is no later moment to put it off to.
            commits.retry_at = None;
        }
        self.cut();
        self.commits = None;
        self.shared.enter(query::Phase::Ended);
        self.registry.query_ended();
    }
}

/// The commits of a query: strictly in order, tried again when they fail.
struct Commits {
    checkpoint: Checkpoint,
    /// The epoch that is open.
    epoch: u64,
    /// What the newest committed epoch says.
    committed: BTreeMap<u32, Marks>,
    committed_epoch: Option<u64>,
    duration: Duration,
    failure: Option<String>,
    /// Since when there is something that is not committed.
    behind_since: Option<Instant>,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

impl Commits {
    fn new(checkpoint: Checkpoint, recovered: Recovered) -> Self {
        Commits {
            checkpoint,
            epoch: recovered.last_epoch.map_or(0, |epoch| epoch + 1),
            committed: recovered.partitions,
            committed_epoch: recovered.last_epoch,
            duration: Duration::ZERO,
            failure: None,
            behind_since: None,
            retry_at: None,
            retry_after: FIRST_RETRY,
        }
    }

    /// Commits these marks as the open epoch, if they say anything new. Partitions that this run
    /// does not have keep what an earlier one said.
    fn cut(&mut self, run_id: &str, marks: BTreeMap<u32, Marks>, now: Instant, watch: &EpochWatch) {
        let mut all = self.committed.clone();
        all.extend(marks);
        if all == self.committed {
            return;
        }
        self.behind_since.get_or_insert(now);
        watch.cut(now);
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match self.checkpoint.commit(run_id, self.epoch, &all) {
            Ok(_) => {
                if self.failure.take().is_some() {
                    tracing::info!(epoch = self.epoch, "commits to the checkpoint resume");
                }
                watch.committed();
                self.committed_epoch = Some(self.epoch);
                self.epoch += 1;
                self.committed = all;
                self.behind_since = None;
                self.retry_at = None;
                self.retry_after = FIRST_RETRY;
            }
            Err(error) => {
                tracing::error!(epoch = self.epoch, %error, retry_after = ?self.retry_after,
                    "cannot commit to the checkpoint; serving goes on");
                watch.failed(error.to_string());
                self.failure = Some(error.to_string());
                self.retry_at = Some(now + self.retry_after);
                self.retry_after = (self.retry_after * 2).min(LAST_RETRY);
            }
        }
        self.duration = now.elapsed();
    }

    fn progress(&self, now: Instant) -> CheckpointProgress {
        let lag = self
            .behind_since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        CheckpointProgress {
            committed_epoch: self.committed_epoch,
            duration_ms: self.duration.as_secs_f64() * 1e3,
            lag_ms: lag.as_secs_f64() * 1e3,
            failure: self.failure.clone(),
        }
    }
}
