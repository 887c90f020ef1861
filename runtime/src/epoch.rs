//! The epoch thread of a query: cuts epochs, commits them in order, ends the query.
//!
//! At the end of a turn a partition publishes what it has handed out and what is answered. So an
//! epoch is cut by reading two numbers of each partition; no partition is asked, or even woken.

mod backoff;
mod commits;
mod teeing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;

use crate::checkpoint::{Marks, Opened, Recovered};
use crate::control;
use crate::error::Error;
use crate::handoff::Offering;
use crate::io::clock::now_ns;
use crate::options::Options;
use crate::partition::latency::histogram;
use crate::partition::{Mailbox, Phase, Published};
use crate::progress::{LatencySummary, PartitionProgress, QueryProgress, TeeProgress};
use crate::query::{self, Shared};
use crate::session::Registry;
use crate::tee::{Resume, Teed};
use commits::Commits;
pub(crate) use teeing::Teeing;

/// How often the lock of the checkpoint is tried while a process that was taken over has it.
const LOCK_EVERY: Duration = Duration::from_millis(50);

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
    /// Another process has the listeners, and serves: drain and end.
    HandedOver { pid: u32 },
    /// The rows of an epoch are in the sink of the tee, or are not.
    Teed(Teed),
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
    teeing: Option<Teeing>,
    messages: Receiver<Message>,
    interval: Duration,
    last_cut: Instant,
    shutdown_delay: Duration,
    shutdown_timeout: Duration,
    /// When the next step of the end is due, once the query is ending.
    ending: Option<Ending>,
    /// Offers the listeners to a new process until the query ends.
    offering: Option<Offering>,
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
        checkpoint: Option<Opened>,
        recovered: Recovered,
        messages: Receiver<Message>,
        options: &Options,
        interval: Duration,
    ) -> Self {
        let commits = checkpoint.map(|checkpoint| Commits::new(checkpoint, recovered));
        shared.set_awaited_lock(commits.as_ref().and_then(Commits::awaited_lock));
        EpochThread {
            shared,
            registry,
            running: partitions.len(),
            partitions,
            commits,
            teeing: None,
            messages,
            interval,
            last_cut: Instant::now(),
            shutdown_delay: options.shutdown_delay,
            shutdown_timeout: options.shutdown_timeout,
            ending: None,
            offering: None,
        }
    }

    /// Offers the listeners to a new process from now on.
    pub(crate) fn offers(&mut self, offering: Option<Offering>) {
        self.offering = offering;
    }

    /// Writes what is served to a sink from now on.
    pub(crate) fn tees(&mut self, teeing: Option<Teeing>) {
        self.teeing = teeing;
    }

    /// Runs until all partitions have ended.
    pub(crate) fn run(mut self) {
        // What the thread logs says of which query it is.
        let _span = tracing::error_span!("epochs", query = self.shared.name).entered();
        let mut next_cut = self.last_cut + self.interval;
        while self.running > 0 {
            let due = self.ending_due().map_or(next_cut, |due| due.min(next_cut));
            let mut wait = due.saturating_duration_since(Instant::now());
            if self.awaits_lock() {
                self.try_lock();
                wait = wait.min(LOCK_EVERY);
            }
            match self.messages.recv_timeout(wait) {
                Ok(Message::Stop) => self.begin_ending(self.shutdown_delay),
                Ok(Message::HandedOver { pid }) => {
                    self.shared.set_successor(pid);
                    // Whoever connects finds the new process: nobody must be told to go elsewhere.
                    self.begin_ending(Duration::ZERO);
                    self.registry.leave_admin();
                }
                Ok(Message::PartitionEnded(result)) => self.partition_ended(result),
                Ok(Message::PartitionServes) => {}
                Ok(Message::Teed(teed)) => self.teed(teed),
                Ok(Message::PartitionPanicked(partition)) => {
                    tracing::error!(
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
        if self.teeing.is_some() {
            self.cut_tee(now);
        } else {
            let marks = self.published_marks();
            self.commit(marks, false, now);
            for partition in &self.partitions {
                partition.mailbox.note_epoch();
            }
        }
        self.watch_turns();
        self.note_progress(now);
    }

    fn published_marks(&self) -> BTreeMap<u32, Marks> {
        let published = self.partitions.iter().map(|partition| {
            let offsets = partition.published.offsets();
            Marks {
                next: offsets.next,
                settled: offsets.settled,
            }
        });
        (0..).zip(published).collect()
    }

    /// Commits these marks; tells whether what they say is durable, as far as anything is.
    fn commit(&mut self, marks: BTreeMap<u32, Marks>, has_rows: bool, now: Instant) -> bool {
        let Some(commits) = &mut self.commits else {
            return true;
        };
        let (run_id, watch) = (&self.shared.run_id, &self.shared.epochs);
        commits.cut(run_id, marks, has_rows, now, watch)
    }

    /// Lets the rows of the open epoch be written. The epoch is committed when they are.
    fn cut_tee(&mut self, now: Instant) {
        let waits = self.awaits_lock();
        let Some(teeing) = self.teeing.as_mut().filter(|_| !waits) else {
            return;
        };
        let (epoch, resume) = match &self.commits {
            Some(commits) => (commits.epoch(), Resume::After(commits.committed_epoch())),
            None => (teeing.epoch(), Resume::Append),
        };
        if !teeing.cut(epoch, resume, now)
            && let Some(commits) = &mut self.commits
        {
            commits.fall_behind(now, &self.shared.epochs);
        }
    }

    fn teed(&mut self, teed: Teed) {
        let now = Instant::now();
        let Some(teeing) = &mut self.teeing else {
            return;
        };
        match teed.outcome {
            Err(why) => teeing.failed(&why, now),
            Ok(marks) => {
                let epoch = teeing.wrote(teed.rows);
                let is_committed = self.commit(marks, teed.rows > 0, now);
                if let (Some(teeing), Some(epoch), true) = (&self.teeing, epoch, is_committed)
                    && teed.rows > 0
                {
                    teeing.committed(epoch);
                }
            }
        }
    }

    fn note_progress(&mut self, now: Instant) {
        let checkpoint = self.commits.as_ref().map(|commits| commits.progress(now));
        let interval = now - self.last_cut;
        self.last_cut = now;
        let mut latencies = histogram();
        let mut partitions = Vec::new();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let offsets = partition.published.offsets();
            let mut own = histogram();
            partition
                .published
                .latencies
                .drain_into(&mut partition.latencies_seen, &mut own);
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
            epoch: self.commits.as_ref().map_or(0, |commits| commits.epoch()),
            timestamp_ms: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            interval_ms: interval.as_secs_f64() * 1e3,
            requests_per_second: partitions.iter().map(|part| part.requests_per_second).sum(),
            latency: LatencySummary::of(&latencies),
            partitions,
            checkpoint,
            tee: self
                .teeing
                .as_ref()
                .map(|teeing| TeeProgress::of(&teeing.seen())),
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
                partition,
                "a turn takes longer than a second: an operator blocks its partition"
            );
        }
    }

    fn partition_ended(&mut self, result: Result<(), Error>) {
        self.running -= 1;
        if let Err(error) = result {
            tracing::error!(%error, "the query ends");
            self.shared.set_exception(error);
            self.stop_now();
        }
    }

    fn begin_ending(&mut self, delay: Duration) {
        self.offering = None;
        if self.ending.is_none() {
            tracing::info!(?delay, "the query drains");
            self.shared.enter(query::Phase::Draining);
            self.ending = Some(Ending::Delay {
                until: Instant::now() + delay,
            });
            self.registry.query_ends();
        }
    }

    fn awaits_lock(&self) -> bool {
        let commits = self.commits.as_ref();
        commits.is_some_and(|commits| commits.awaited_lock().is_some())
    }

    /// Opens the checkpoint, if the process that was taken over has let go of it.
    fn try_lock(&mut self) {
        let commits = self.commits.as_mut();
        if commits.is_some_and(|commits| commits.try_lock(Instant::now(), &self.shared.epochs)) {
            self.shared.set_awaited_lock(None);
        }
    }

    /// A query that ends before the one that it took over from waits for the lock, as long as for
    /// connections, so that what it answered gets into the checkpoint.
    fn await_lock(&mut self) {
        let until = Instant::now() + self.shutdown_timeout;
        while self.awaits_lock() && Instant::now() < until {
            self.try_lock();
            if self.awaits_lock() {
                thread::park_timeout(LOCK_EVERY);
            }
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
        self.offering = None;
        self.shared.enter(query::Phase::Draining);
        self.tell_all(Phase::Stopping);
        self.ending = Some(Ending::Stop);
    }

    fn tell_all(&self, phase: Phase) {
        for partition in &self.partitions {
            partition.mailbox.advance(phase);
        }
    }

    /// The last rows go to the sink, and after them the marks to the checkpoint; for as long as for
    /// connections this is tried. What the sink does not have, the checkpoint does not say.
    fn end_tee(&mut self) {
        let until = Instant::now() + self.shutdown_timeout;
        // What is in flight has not all rows.
        let mut is_complete = self
            .teeing
            .as_ref()
            .is_none_or(|teeing| !teeing.is_in_flight());
        let mut is_done = self.teeing.is_none();
        if is_complete && !is_done {
            self.cut_tee_now();
        }
        while !is_done {
            let left = until.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(Message::Teed(teed)) => {
                    let has_failed = teed.outcome.is_err();
                    is_done = is_complete && !has_failed;
                    self.teed(teed);
                    if !is_done {
                        if has_failed && is_complete {
                            thread::park_timeout(LOCK_EVERY.min(left));
                        }
                        is_complete = true;
                        self.cut_tee_now();
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let now = Instant::now();
        self.note_progress(now);
        if let Some(teeing) = self.teeing.take() {
            let seen = teeing.seen();
            if !is_done {
                tracing::error!(
                    pending_bytes = seen.pending_bytes,
                    failure = seen.failure,
                    "the last rows are not in the sink; the checkpoint does not have their epoch"
                );
            }
            teeing.end();
        }
    }

    fn cut_tee_now(&mut self) {
        if let Some(teeing) = &mut self.teeing {
            teeing.is_last_chance();
        }
        self.cut_tee(Instant::now());
    }

    /// The last epoch says what all partitions had answered when they ended. The checkpoint is
    /// unlocked before anyone is told, so that a query may be started from it at once.
    fn end(mut self) {
        self.await_lock();
        if let Some(commits) = &mut self.commits {
            commits.is_last_chance();
        }
        match self.teeing {
            Some(_) => self.end_tee(),
            None => self.cut(),
        }
        self.commits = None;
        self.shared.enter(query::Phase::Ended);
        tracing::info!("the query has ended");
        self.registry.query_ended();
    }
}
