//! The end of a partition: how it stops accepting, when it has drained, and what it does with the
//! connections that are left when the time is over.

use std::mem;

use super::Partition;
use super::accept::Welcome;
use super::connections::{Connections, Replies, find, token};
use crate::io::clock::unix_seconds;

/// What is said of a deferred request that is left when `shutdownTimeout` is over.
const NOT_BEFORE_THE_END: &str = "was not answered before the server ended";

impl Partition {
    /// Takes what waits in the backlog, closes the listeners, and lets replies be the last of their
    /// connections from now on, also those that are still worked on.
    pub(super) fn begin_drain(&mut self) {
        self.worker.drain();
        let mut own = Vec::new();
        self.acceptor.close(&self.poller, |arrival, welcome| {
            own.push((arrival, welcome))
        });
        for (arrival, welcome) in own {
            self.admit(arrival, welcome);
        }
        for (_, (_, connection)) in &mut self.connections {
            connection.end_with_deferred();
        }
    }

    /// Whether no connection is left to which a reply may be owed. Those that only linger were told
    /// so, and have everything.
    pub(super) fn is_drained(&self) -> bool {
        self.connections
            .iter()
            .all(|(_, (_, connection))| connection.is_over())
            && self
                .mailbox
                .retire(self.connections.len() - self.arrivals.turned_away)
    }

    /// The time is over. Every connection is read once more, and what had come is answered; what is
    /// still worked on is answered 503; then all are closed.
    ///
    /// Between the last read of a silent connection and its close, which is the next thing that
    /// happens to it, a request may still come: nobody can answer it any more. The log counts them.
    pub(super) fn part(&mut self) {
        let start_ns = self.clock.now_ns();
        self.published.begin_turn(start_ns);
        self.worker.set_now(unix_seconds());
        self.worker.deferrals().begin_turn(start_ns);
        self.worker.queue_delay().begin_turn(start_ns);
        self.begun_ns = start_ns;
        while let Some(arrival) = self.mailbox.take_accepted() {
            self.admit(arrival, Welcome::Taken);
        }
        // There is no later turn that handshakes could be left to.
        self.buffers.scratch.may_shake_hands = true;
        let mut crossed = 0;
        for token in tokens(&self.connections) {
            self.serve_for_the_last_time(token);
            if !self.worker.deferrals().any() {
                crossed += usize::from(self.part_with(token));
            }
        }
        if self.worker.deferrals().any() {
            self.give_up_deferred();
            for token in tokens(&self.connections) {
                crossed += usize::from(self.part_with(token));
            }
        }
        let served_ns = self.clock.now_ns();
        self.end_turn(start_ns, served_ns);
        if crossed > 0 {
            tracing::warn!(
                crossed,
                "requests came just as their silent connections were closed at the end of \
                 shutdownTimeout, and have no reply"
            );
        }
    }

    /// Reads a connection once more, and answers what had come, but no more than may be pipelined.
    fn serve_for_the_last_time(&mut self, token: u64) {
        let mut left = self.worker.policy().max_pipelined as u64;
        while let Some(connection) = find(&mut self.connections, token) {
            connection.note_event(false, false);
            connection.is_ready = false;
            let before = self.worker.answered();
            self.serve(token);
            let served = self.worker.answered() - before;
            left = left.saturating_sub(served);
            let again = find(&mut self.connections, token).is_some_and(|it| it.is_ready);
            if !again || served == 0 || left == 0 {
                return;
            }
        }
    }

    /// Answers what the operators can still answer, and tells the others that they waited in vain.
    fn give_up_deferred(&mut self) {
        self.settle();
        self.note_unanswered();
        let mut outboxes = Replies {
            connections: &mut self.connections,
            replied: mem::take(&mut self.replied),
        };
        for place in outboxes.awaited() {
            self.worker
                .give_up(place, 503, NOT_BEFORE_THE_END, &mut outboxes);
        }
        let replied = outboxes.replied;
        self.send_replied(replied);
    }

    /// Closes a connection; whether a request crossed that.
    fn part_with(&mut self, token: u64) -> bool {
        let Some(connection) = find(&mut self.connections, token) else {
            return false;
        };
        let is_silent = connection.part();
        self.serve(token);
        is_silent
            && find(&mut self.connections, token)
                .is_some_and(|connection| connection.was_sent_more())
    }
}

/// The tokens of all connections, which may end while they are gone through.
fn tokens(connections: &Connections) -> Vec<u64> {
    let tokens = connections.iter();
    tokens
        .map(|(key, (generation, _))| token(*generation, key))
        .collect()
}
