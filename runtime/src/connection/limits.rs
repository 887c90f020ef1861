//! What becomes of a connection that is one too many, or waits too long.

use super::deadlines::{Awaited, Busy};
use super::{Connection, Phase, is_full};
use crate::http1::Reject;
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::partition::{Buffers, TimeoutKind, Worker};

impl Connection {
    /// Notes until when it may wait, unless it is simply idle.
    pub(super) fn note_deadlines(&mut self, worker: &Worker, inbox: &Inbox, outbox: &Outbox) {
        let is_read = self.phase == Phase::Open && !self.undecoded && !is_full(outbox, worker);
        let awaited = match self.phase {
            Phase::Lingering { .. } => Awaited::Close,
            // Of a client that waits for replies no request is expected.
            _ if !is_read || inbox.is_empty() && !self.transport.holds_part() => Awaited::Nothing,
            _ if self.decoder.is_in_body() => Awaited::Body,
            _ => Awaited::Head,
        };
        let has_unsent = !outbox.is_flushed() || self.transport.is_blocked();
        let busy = Busy {
            awaited,
            taken_bytes: has_unsent.then(|| outbox.taken_bytes() + self.transport.flushed_bytes()),
            request_due_ns: outbox.first_due_ns(),
        };
        self.deadlines
            .busy(worker.turn_ns(), &busy, &worker.policy().times);
    }

    /// When it is to be looked at though no event comes.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.deadlines.due_ns()
    }

    /// Gives the offsets of its deferred requests whose time is over to `overdue`.
    pub(crate) fn take_overdue_requests(&mut self, now_ns: u64, overdue: impl FnMut(u64)) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.take_overdue(now_ns, overdue);
            self.deadlines.set_request_due(outbox.first_due_ns());
        }
    }

    /// What its client has taken too long for, if anything.
    pub(crate) fn overdue(&self, now_ns: u64) -> Option<TimeoutKind> {
        self.deadlines.overdue(now_ns)
    }

    /// Lets it wait for its next request without limit.
    pub(crate) fn stay(&mut self) {
        self.deadlines.stay();
    }

    /// Ends it because its client took too long. Tells whether there is something to say, which is
    /// to be sent: the 408 of a request that began. Without that it is to be closed.
    pub(crate) fn time_out(
        &mut self,
        kind: TimeoutKind,
        worker: &mut Worker,
        buffers: &mut Buffers,
    ) -> bool {
        let reject = match kind {
            TimeoutKind::Header => Reject::HeadTooSlow,
            TimeoutKind::Body => Reject::BodyTooSlow,
            TimeoutKind::Write => {
                self.socket().reset_on_close();
                return false;
            }
            TimeoutKind::KeepAlive => {
                self.transport.say_goodbye();
                return false;
            }
            TimeoutKind::Linger | TimeoutKind::Request => return false,
        };
        let Some(inbox) = self.inbox.take() else {
            return false;
        };
        buffers.take_inbox(inbox);
        let mut outbox = self.outbox.take().unwrap_or_else(|| buffers.outbox());
        self.reject(&reject, worker, &mut outbox);
        self.outbox = Some(outbox);
        true
    }

    /// Tells a client that it is one too many, and closes. Not where it would have to be told in TLS:
    /// a handshake costs more than it is worth.
    pub(crate) fn turn_away(
        &mut self,
        retry_after_s: u64,
        worker: &mut Worker,
        buffers: &mut Buffers,
    ) -> bool {
        if self.transport.awaits_handshake() {
            return false;
        }
        let mut outbox = buffers.outbox();
        worker.turn_away(retry_after_s, &mut outbox);
        self.outbox = Some(outbox);
        self.phase = Phase::Closing;
        self.is_turned_away = true;
        true
    }

    /// Whether it was one too many.
    pub(crate) fn is_turned_away(&self) -> bool {
        self.is_turned_away
    }
}
