//! Requests whose replies come later.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use snapback_operators::{Host, KeptHead, Place, Request, Ticket};
use tokio::runtime::Handle;

use super::Published;
use super::shed::ShedReason;
use super::traffic::Traffic;
use crate::outbox::Work;

/// How many heads of requests are kept to be filled again.
const KEPT_HEADS: usize = 1024;

/// What a partition knows of the requests that are deferred, but for their slots, which stand in
/// the outboxes.
// Heads move between here and the tickets, which hold a pointer each.
#[expect(clippy::vec_box)]
pub(crate) struct Deferrals {
    /// Runs futures; none when the chain has no operator that makes some.
    runtime: Option<Handle>,
    /// Wakes the partition.
    waker: Waker,
    timeout_ns: u64,
    /// How many requests may be deferred at a time; further ones are answered 503.
    max_waiting: usize,
    /// How many requests are deferred now.
    waiting: usize,
    heads: Vec<Box<KeptHead>>,
    /// When the present turn began.
    turn_ns: u64,
    /// How long a deferred request takes until its reply, smoothed over the last ones.
    sojourn_ns: u64,
    /// When the last deferred reply came, or the first of those that wait was deferred.
    quiet_since_ns: u64,
    published: Arc<CachePadded<Published>>,
    /// The stages that rows passed in this turn, and since when they were in them.
    passed: Vec<(u8, u64)>,
    /// When an operator wants to be settled again.
    settle_at_ns: Option<u64>,
    /// How far apart the beginnings of micro-batches are at least.
    batch_interval_ns: u64,
}

impl Deferrals {
    pub(crate) fn new(
        runtime: Option<Handle>,
        waker: Waker,
        timeout_ns: u64,
        max_waiting: usize,
        published: Arc<CachePadded<Published>>,
    ) -> Self {
        Deferrals {
            runtime,
            waker,
            timeout_ns,
            max_waiting,
            waiting: 0,
            heads: Vec::new(),
            turn_ns: 0,
            sojourn_ns: 0,
            quiet_since_ns: 0,
            published,
            passed: Vec::new(),
            settle_at_ns: None,
            batch_interval_ns: 0,
        }
    }

    /// With micro-batches that begin at an interval.
    pub(crate) fn with_batch_interval(mut self, interval: Duration) -> Self {
        self.batch_interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    pub(crate) fn batch_interval_ns(&self) -> u64 {
        self.batch_interval_ns
    }

    #[inline]
    pub(crate) fn begin_turn(&mut self, now_ns: u64) {
        self.turn_ns = now_ns;
    }

    #[inline]
    pub(crate) fn turn_ns(&self) -> u64 {
        self.turn_ns
    }

    /// Whether any request is deferred now.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.waiting > 0
    }

    pub(crate) fn add(&mut self) {
        if self.waiting == 0 {
            self.quiet_since_ns = self.turn_ns;
        }
        self.waiting += 1;
    }

    /// So many requests are not deferred any more.
    pub(crate) fn remove(&mut self, requests: usize) {
        self.waiting -= requests;
    }

    /// How many requests are deferred now.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What the partition counts of its requests and replies.
    #[inline]
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.published.traffic
    }

    /// A row goes on that was in this stage since then. It has passed it when the turn's work on
    /// deferred rows is done: a batch runs within the turn, and the clock is read once for all.
    pub(crate) fn pass(&mut self, stage: u8, since_ns: u64) {
        self.passed.push((stage, since_ns));
    }

    /// The work on deferred rows is done.
    pub(crate) fn note_stages(&mut self, now_ns: u64) {
        for (stage, since_ns) in self.passed.drain(..) {
            let stages = &self.published.stages;
            stages.passed(stage, now_ns.saturating_sub(since_ns));
        }
    }

    /// A batch of so many rows was run.
    pub(crate) fn ran_batch(&self, rows: usize) {
        self.published.stages.ran_batch(rows);
    }

    /// A deferred request was answered after so long.
    pub(crate) fn note_reply(&mut self, sojourn_ns: u64) {
        self.sojourn_ns = self.sojourn_ns - self.sojourn_ns / 8 + sojourn_ns / 8;
        self.quiet_since_ns = self.turn_ns;
    }

    /// In how many seconds there may be room again: those that are deferred now will be answered in
    /// about the time that the last ones took, but no sooner than after the time for which nothing
    /// has come. One at least.
    pub(crate) fn retry_after_s(&self) -> u64 {
        let quiet_ns = self.turn_ns.saturating_sub(self.quiet_since_ns);
        self.sojourn_ns.max(quiet_ns).div_ceil(1_000_000_000).max(1)
    }

    /// Counts a request that was turned away.
    pub(crate) fn count_shed(&self, reason: ShedReason) {
        self.published.shed.count(reason);
    }

    /// Whether no further request may be deferred.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= self.max_waiting
    }

    /// When a request that is taken on now, and whose client waits so long, is over its time.
    pub(crate) fn due_ns(&self, timeout_ms: u64) -> u64 {
        let timeout_ns = timeout_ms.saturating_mul(1_000_000).min(self.timeout_ns);
        self.turn_ns.saturating_add(timeout_ns)
    }

    /// When an operator wants to be settled though no event comes.
    #[inline]
    pub(crate) fn settle_at_ns(&self) -> Option<u64> {
        self.settle_at_ns
    }

    pub(crate) fn settle_again_at(&mut self, time_ns: u64) {
        self.settle_at_ns = Some(self.settle_at_ns.map_or(time_ns, |at| at.min(time_ns)));
    }

    pub(crate) fn begin_settling(&mut self) {
        self.settle_at_ns = None;
    }

    /// Takes a head back, to be filled again.
    pub(crate) fn keep(&mut self, head: Box<KeptHead>) {
        if self.heads.len() < KEPT_HEADS {
            self.heads.push(head);
        }
    }

    /// What the operators need to defer the request whose reply belongs to `place`; `is_counted`
    /// when it is deferred already.
    #[inline]
    pub(crate) fn desk(&mut self, place: Place, is_counted: bool) -> Desk<'_> {
        Desk {
            place,
            is_counted,
            deferrals: self,
            work: None,
        }
    }
}

/// Where the operators put off the reply to one request.
pub(crate) struct Desk<'d> {
    place: Place,
    is_counted: bool,
    deferrals: &'d mut Deferrals,
    work: Option<Work>,
}

impl Desk<'_> {
    /// The future that works on the reply, if there is one.
    pub(crate) fn into_work(self) -> Option<Work> {
        self.work
    }
}

impl Host for Desk<'_> {
    fn reserve(&mut self, request: &Request<'_>) -> Option<Ticket> {
        if !self.is_counted && self.deferrals.is_full() {
            return None;
        }
        let mut head = self.deferrals.heads.pop().unwrap_or_default();
        head.fill(request);
        Some(Ticket::new(self.place, head))
    }

    fn overloaded(&mut self) -> u64 {
        self.deferrals.count_shed(ShedReason::Rows);
        self.deferrals.retry_after_s()
    }

    fn spawn(&mut self, _place: Place, work: snapback_operators::Work) {
        if let Some(runtime) = &self.deferrals.runtime {
            self.work = Some(Work(runtime.spawn(work).abort_handle()));
        }
    }

    fn waker(&mut self) -> Waker {
        self.deferrals.waker.clone()
    }
}
