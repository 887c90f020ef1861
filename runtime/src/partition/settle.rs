//! The replies of a turn that were deferred: from rows that became ready to what is sent.

use std::mem;

use super::Partition;
use super::connections::{Replies, find};
use super::shed::TimeoutKind;

/// What is said of a request whose `requestTimeout` is over.
const NOT_IN_TIME: &str = "was not answered in time";

impl Partition {
    /// Rows that became ready go on; requests whose time is over are answered; what came is sent.
    /// Gives the time when that was done.
    pub(super) fn settle(&mut self) -> u64 {
        let mut outboxes = Replies {
            connections: &mut self.connections,
            replied: mem::take(&mut self.replied),
        };
        // First, so that nothing more is done for those whose time is over.
        for place in self.overdue.drain(..) {
            if self.worker.give_up(place, 504, NOT_IN_TIME, &mut outboxes) {
                self.published.shed.count_timeout(TimeoutKind::Request);
            }
        }
        self.worker.settle(&mut outboxes);
        let replied = outboxes.replied;
        self.send_replied(replied)
    }

    /// Sends the deferred replies that came, and gives the time when that was done.
    pub(super) fn send_replied(&mut self, mut replied: Vec<(u64, u64)>) -> u64 {
        for (token, _) in &replied {
            // Once for all replies that came to it.
            let connection = find(&mut self.connections, *token);
            if connection.is_some_and(|connection| mem::take(&mut connection.is_replied)) {
                self.serve(*token);
            }
        }
        let served_ns = self.clock.now_ns();
        self.worker.deferrals().note_stages(served_ns);
        for (_, since_ns) in replied.drain(..) {
            self.worker.deferrals().note_reply(served_ns - since_ns);
            self.published.latencies.record(served_ns - since_ns, 1);
        }
        self.replied = replied;
        served_ns
    }
}
