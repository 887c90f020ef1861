//! Turning away: requests and connections that get a short reply and no work.

use super::{Replier, Worker};
use crate::http1::{Decoded, Persistence};
use crate::outbox::Outbox;
use crate::partition::refusal::Key;
use crate::partition::shed::ShedReason;

impl Worker {
    /// Turns a request away: it gets no offset, and its body is not looked at. Tells whether the
    /// connection goes on.
    #[cold]
    pub(crate) fn refuse(
        &mut self,
        reason: ShedReason,
        decoded: &Decoded<'_, '_>,
        more_follows: bool,
        outbox: &mut Outbox,
    ) -> bool {
        self.deferrals.count_shed(reason);
        let (keep_alive, persistence) = self.replier.persistence(decoded, more_follows);
        let key = Key {
            reason,
            persistence,
            // Turns are short again within a tenth of a second of less coming in.
            retry_after_s: match reason {
                ShedReason::InFlight => self.deferrals.retry_after_s(),
                _ => 1,
            },
        };
        let Replier {
            refusals, encoder, ..
        } = &mut self.replier;
        let status = refusals.write(key, encoder, decoded.is_head, outbox.bytes());
        self.deferrals.traffic().replied(status);
        keep_alive
    }

    /// Turns a connection away.
    #[cold]
    pub(crate) fn turn_away(&mut self, retry_after_s: u64, outbox: &mut Outbox) {
        let key = Key {
            reason: ShedReason::Connections,
            persistence: Persistence::Close,
            retry_after_s,
        };
        let Replier {
            refusals, encoder, ..
        } = &mut self.replier;
        let status = refusals.write(key, encoder, false, outbox.bytes());
        self.deferrals.traffic().replied(status);
    }
}
