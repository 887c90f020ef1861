//! Replies that come later: how they are written, and how they get to their places.

use std::panic::{AssertUnwindSafe, catch_unwind};

use snapback_operators::{Context, Place, Reply, Run, Ticket, Turn, discard_payload};

use super::super::failure::{complete, log_failure};
use super::{Deferrals, Replier, sent_body};
use crate::outbox::{Outbox, Work};

/// The outboxes of a partition's connections.
pub(crate) trait Outboxes {
    /// Hands the outbox at `place`, unless the connection is gone, to `take`.
    fn with(&mut self, place: Place, take: &mut dyn FnMut(&mut Outbox));

    /// Notes that a reply came into its place.
    fn replied(&mut self, place: Place, since_ns: u64);
}

/// What became of a row that went on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    /// The stage that it was in, and since when, if anyone waits for its reply.
    pub(super) passed: Option<(u8, u64)>,
    /// When its request was taken on, if its reply was written.
    pub(super) since_ns: Option<u64>,
}

/// What writes a reply that comes later. When it is put off again, it gives the work that makes it.
type Write<'w> = &'w mut dyn FnMut(&mut Replier, &mut Vec<u8>) -> Option<Option<Work>>;

impl dyn Outboxes + '_ {
    /// Writes a reply, and puts it into its place, if anyone waits for it there; else the row may
    /// have been put off again.
    pub(super) fn fill(
        &mut self,
        place: Place,
        scratch: &mut Vec<u8>,
        replier: &mut Replier,
        turn_ns: u64,
        write: Write<'_>,
    ) -> Filled {
        let mut filled = Filled::default();
        self.with(place, &mut |outbox| {
            let Some(slot) = outbox.awaited(place.slot) else {
                return;
            };
            filled.passed = Some((slot.stage, slot.stage_since_ns));
            scratch.clear();
            let room = replier.leave_room(scratch);
            if let Some(work) = write(replier, scratch) {
                slot.work = work;
                slot.stage = slot.stage.saturating_add(1);
                slot.stage_since_ns = turn_ns;
                return;
            }
            if let (Some(recorder), Some(stash)) = (&mut replier.recorder, slot.stash.take()) {
                let status = replier.head.status();
                let body = sent_body(&scratch[room.end..], status, slot.is_head);
                recorder.note_reply(&stash, slot.since_ns, status, body);
            }
            let (offset, echo) = (Some(place.slot), slot.echo.as_deref());
            replier.put_head(scratch, room, slot.persistence, slot.is_head, offset, echo);
            filled.since_ns = Some(slot.since_ns);
            outbox.fill(place.slot, scratch);
        });
        if let Some(since_ns) = filled.since_ns {
            self.replied(place, since_ns);
        }
        filled
    }
}

/// The end of a turn, as the chain sees it.
pub(super) struct Settling<'s> {
    pub(super) run: &'s Run,
    pub(super) replier: &'s mut Replier,
    pub(super) deferrals: &'s mut Deferrals,
    pub(super) scratch: &'s mut Vec<u8>,
    pub(super) outboxes: &'s mut dyn Outboxes,
    pub(super) panicked: bool,
}

impl Turn for Settling<'_> {
    fn resume(&mut self, ticket: Ticket, work: &mut dyn FnMut(&mut Context<'_, '_>)) {
        let (place, head) = ticket.into_parts();
        let turn_ns = self.deferrals.turn_ns();
        let Settling {
            run,
            deferrals,
            panicked,
            ..
        } = self;
        let filled = self.outboxes.fill(
            place,
            self.scratch,
            self.replier,
            turn_ns,
            &mut |replier, out| {
                head.with_request(run, |request| {
                    let mut desk = deferrals.desk(place, true);
                    let unanswered_status = replier.policy.unanswered_status;
                    let mut cx =
                        Context::new(request, Reply::new(out, &mut replier.head), &mut desk);
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(&mut cx))) {
                        discard_payload(payload);
                        *panicked = true;
                        cx.reset();
                        cx.fail();
                    }
                    if cx.has_failed() {
                        log_failure(1, &cx, &mut replier.log);
                    }
                    let deferred = cx.is_deferred();
                    if !deferred {
                        complete(&mut cx, unanswered_status, &mut replier.log);
                    }
                    deferred.then(|| desk.into_work())
                })
            },
        );
        if let Some((stage, since_ns)) = filled.passed {
            self.deferrals.pass(stage, since_ns);
        }
        if filled.since_ns.is_some() {
            self.deferrals.traffic().replied(self.replier.head.status());
            self.deferrals.remove(1);
        }
        self.deferrals.keep(head);
    }

    fn is_awaited(&mut self, ticket: &Ticket) -> bool {
        let place = ticket.place();
        let mut is_awaited = false;
        self.outboxes.with(place, &mut |outbox| {
            is_awaited = outbox.awaited(place.slot).is_some();
        });
        is_awaited
    }

    fn ran_batch(&mut self, rows: usize) {
        self.deferrals.ran_batch(rows);
    }

    fn batch_interval_ns(&self) -> u64 {
        self.deferrals.batch_interval_ns()
    }

    fn now_ns(&mut self) -> u64 {
        self.deferrals.turn_ns()
    }

    fn settle_again_at(&mut self, time_ns: u64) {
        self.deferrals.settle_again_at(time_ns);
    }
}
