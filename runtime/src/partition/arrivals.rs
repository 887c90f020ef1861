//! New connections: taken in, or turned away.

use std::io;

use super::Partition;
use super::accept::Welcome;
use super::connections::token;
use super::shed::ShedReason;
use crate::connection::Connection;
use crate::io::poller::Interest;
use crate::transport::Arrival;

/// How many connections that were turned away a partition sees to their ends: a close right behind
/// the reply would become a reset, which can overtake it. Further ones are closed without a word.
const TURNED_AWAY: usize = 256;

/// What a partition knows of the coming and going of its connections.
pub(super) struct Arrivals {
    /// Connections that were turned away, and linger. They are not counted as open.
    pub(super) turned_away: usize,
    /// When the last connection ended, or the partition began.
    last_end_ns: u64,
    /// The time from one end to the next, smoothed over the last ones.
    end_interval_ns: u64,
}

impl Arrivals {
    pub(super) fn new(now_ns: u64) -> Self {
        Arrivals {
            turned_away: 0,
            last_end_ns: now_ns,
            end_interval_ns: 0,
        }
    }

    /// A connection ended, so there is room for another one.
    pub(super) fn note_end(&mut self, now_ns: u64) {
        let interval_ns = now_ns.saturating_sub(self.last_end_ns);
        self.end_interval_ns = self.end_interval_ns - self.end_interval_ns / 8 + interval_ns / 8;
        self.last_end_ns = now_ns;
    }

    /// In how many seconds the next connection may end: as long after the last one as the others
    /// were apart, but no sooner than after the time for which none has ended. One at least.
    fn retry_after_s(&self, now_ns: u64) -> u64 {
        let quiet_ns = now_ns.saturating_sub(self.last_end_ns);
        let estimate_ns = self.end_interval_ns.max(quiet_ns);
        estimate_ns.div_ceil(1_000_000_000).clamp(1, 60)
    }
}

impl Partition {
    pub(super) fn accept(&mut self, listeners: u32) -> io::Result<()> {
        let mut own = Vec::new();
        let keep = |arrival, welcome| own.push((arrival, welcome));
        self.acceptor.accept(&self.poller, listeners, keep)?;
        for (arrival, welcome) in own {
            self.admit(arrival, welcome);
        }
        Ok(())
    }

    /// Takes a connection in; it is served in this turn already, for its first request is often
    /// there. It was counted when it was accepted, unless it is one too many.
    pub(super) fn admit(&mut self, arrival: Arrival, welcome: Welcome) {
        let is_too_many = welcome == Welcome::TurnedAway;
        if is_too_many {
            self.published.shed.count(ShedReason::Connections);
            if self.arrivals.turned_away >= TURNED_AWAY {
                return;
            }
        }
        let now_ns = self.clock.now_ns();
        let entry = self.connections.vacant_entry();
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let token = token(self.generation, entry.key());
        if let Err(error) = self.poller.add(&arrival.socket, token, Interest::Read) {
            let peer = arrival.peer;
            tracing::error!(%peer, %error, "cannot watch a new connection: closed");
            if !is_too_many {
                self.mailbox.connection_ended();
            }
            return;
        }
        let transport = self.entrance.admit(arrival);
        let policy = self.worker.policy();
        let mut connection = Box::new(Connection::new(transport, policy, now_ns));
        if is_too_many {
            let retry_after_s = self.arrivals.retry_after_s(now_ns);
            if !connection.turn_away(retry_after_s, &mut self.worker, &mut self.buffers) {
                return;
            }
            self.arrivals.turned_away += 1;
        } else {
            self.published.traffic.connected();
        }
        connection.is_ready = true;
        entry.insert((self.generation, connection));
        self.ready.push(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_next_end_is_expected_after_the_usual_time() {
        let mut arrivals = Arrivals::new(SECOND);
        assert_eq!(arrivals.retry_after_s(SECOND), 1);
        assert_eq!(
            arrivals.retry_after_s(5 * SECOND),
            4,
            "none has ended for so long"
        );
        let mut now_ns = SECOND;
        for _ in 0..100 {
            now_ns += 3 * SECOND;
            arrivals.note_end(now_ns);
        }
        assert_eq!(arrivals.retry_after_s(now_ns), 3);
        for _ in 0..100 {
            arrivals.note_end(now_ns);
        }
        assert_eq!(arrivals.retry_after_s(now_ns), 1);
        assert_eq!(arrivals.retry_after_s(now_ns + 1000 * SECOND), 60);
    }
}
