//! What a partition does when nothing happens for too long.

use std::mem;

use snapback_operators::Place;

use super::connections::find;
use super::shed::TimeoutKind;
use super::{Partition, Phase};
use crate::io::poller::Wait;

/// A partition that polls without sleeping looks at the clock for its timers at one of so many empty
/// polls, which are a few hundred nanoseconds each.
const POLLS_PER_LOOK: u32 = 64;

impl Partition {
    /// How long to sleep when no event comes.
    #[inline]
    pub(super) fn sleep(&mut self) -> Wait {
        match self.due_ns().min(self.acceptor.paused_until_ns()) {
            u64::MAX => Wait::Block,
            time_ns => Wait::Until(time_ns),
        }
    }

    /// When something is to be done though no event comes; [`u64::MAX`] when nothing is.
    #[inline]
    fn due_ns(&mut self) -> u64 {
        let settle_at_ns = self.worker.deferrals().settle_at_ns();
        let timers_ns = self.timers.next_ns();
        settle_at_ns.map_or(timers_ns, |settle_at_ns| settle_at_ns.min(timers_ns))
    }

    /// After a wait that brought nothing: whether something is due all the same.
    pub(super) fn is_due(&mut self, slept: bool) -> bool {
        let due_ns = self.due_ns();
        if due_ns == u64::MAX {
            return false;
        }
        let is_precise = self.worker.deferrals().settle_at_ns().is_some();
        self.empty_polls = self.empty_polls.wrapping_add(1);
        if !slept && !is_precise && !self.empty_polls.is_multiple_of(POLLS_PER_LOOK) {
            return false;
        }
        due_ns <= self.clock.now_ns()
    }

    /// Sets the timer of a connection whose deadline is before it.
    #[cold]
    pub(super) fn arm(&mut self, token: u64) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        if let Some((timer, _)) = connection.timer.take() {
            self.timers.cancel(timer);
        }
        let due_ns = connection.due_ns();
        if due_ns < u64::MAX {
            connection.timer = Some((self.timers.insert(due_ns, token), due_ns));
        }
    }

    /// Looks at the connections whose timers fire.
    #[cold]
    pub(super) fn look_after_timers(&mut self, now_ns: u64) {
        let mut fired = mem::take(&mut self.fired);
        self.timers.expire(now_ns, |token| fired.push(token));
        for token in fired.drain(..) {
            self.look_after(token, now_ns);
        }
        self.fired = fired;
    }

    /// Most timers fire early: the connection has done something since they were set.
    fn look_after(&mut self, token: u64, now_ns: u64) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        connection.timer = None;
        let overdue = &mut self.overdue;
        if connection.due_ns() <= now_ns {
            connection.take_overdue_requests(now_ns, |slot| {
                overdue.push(Place {
                    connection: token,
                    slot,
                });
            });
        }
        match connection.overdue(now_ns) {
            // Who was promised in a drain that it may still ask is not sent away before its end.
            Some(TimeoutKind::KeepAlive) if self.phase == Phase::Draining => connection.stay(),
            Some(kind) => self.time_out(token, kind),
            None => self.arm(token),
        }
    }

    fn time_out(&mut self, token: u64, kind: TimeoutKind) {
        self.published.shed.count_timeout(kind);
        let (worker, buffers) = (&mut self.worker, &mut self.buffers);
        let has_reply = find(&mut self.connections, token)
            .is_some_and(|connection| connection.time_out(kind, worker, buffers));
        if has_reply {
            self.serve(token);
        } else {
            self.close(token);
        }
    }
}
