//! Requests whose replies come later.

use std::task::Waker;

use snapback_operators::{Host, KeptHead, Place, Request, Ticket};
use tokio::runtime::Handle;

use crate::outbox::Work;

/// How many requests of a partition may be deferred at a time; further ones are answered 503.
const MAX_WAITING: usize = 65_536;
/// How many heads of requests are kept to be filled again.
const KEPT_HEADS: usize = 1024;
/// Deadlines are looked after this often at the least and at the most, and eight times in a
/// `requestTimeout`, so a 504 comes at most an eighth of it late.
const LOOK_EVERY_NS: std::ops::RangeInclusive<u64> = 1_000_000..=100_000_000;

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
    /// How many requests are deferred now.
    waiting: usize,
    heads: Vec<Box<KeptHead>>,
    /// When the present turn began.
    turn_ns: u64,
    /// When an operator wants to be settled again.
    settle_at_ns: Option<u64>,
    /// When deadlines are looked after next.
    look_at_ns: u64,
}

impl Deferrals {
    pub(crate) fn new(runtime: Option<Handle>, waker: Waker, timeout_ns: u64) -> Self {
        Deferrals {
            runtime,
            waker,
            timeout_ns,
            waiting: 0,
            heads: Vec::new(),
            turn_ns: 0,
            settle_at_ns: None,
            look_at_ns: 0,
        }
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
            self.look_at_ns = self.turn_ns + self.look_every_ns();
        }
        self.waiting += 1;
    }

    /// So many requests are not deferred any more.
    pub(crate) fn remove(&mut self, requests: usize) {
        self.waiting -= requests;
    }

    /// When something is to be done though no event comes.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.any().then(|| {
            self.settle_at_ns
                .map_or(self.look_at_ns, |at| at.min(self.look_at_ns))
        })
    }

    pub(crate) fn settle_again_at(&mut self, time_ns: u64) {
        self.settle_at_ns = Some(self.settle_at_ns.map_or(time_ns, |at| at.min(time_ns)));
    }

    pub(crate) fn begin_settling(&mut self) {
        self.settle_at_ns = None;
    }

    /// Requests that were taken on before this time are over their deadline, if it is time to look
    /// after that.
    pub(crate) fn expired_before_ns(&mut self) -> Option<u64> {
        if !self.any() || self.turn_ns < self.look_at_ns {
            return None;
        }
        self.look_at_ns = self.turn_ns + self.look_every_ns();
        self.turn_ns.checked_sub(self.timeout_ns)
    }

    fn look_every_ns(&self) -> u64 {
        (self.timeout_ns / 8).clamp(*LOOK_EVERY_NS.start(), *LOOK_EVERY_NS.end())
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
        if !self.is_counted && self.deferrals.waiting >= MAX_WAITING {
            return None;
        }
        let mut head = self.deferrals.heads.pop().unwrap_or_default();
        head.fill(request);
        Some(Ticket::new(self.place, head))
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
