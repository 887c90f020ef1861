//! The share of a turn that TLS handshakes get.

use super::Partition;

impl Partition {
    /// Takes handshakes on as long as the others had in this turn, one step at least. A step takes
    /// a hundred times as long as a request: so clients that connect many at once share the turns
    /// with those that are connected, and neither wait until the last of the others is served.
    #[cold]
    pub(super) fn shake_hands(&mut self, start_ns: u64, served_ns: &mut u64) {
        let others_ns = self.clock.now_ns() - start_ns;
        let end_ns = start_ns + 2 * others_ns;
        self.buffers.scratch.may_shake_hands = true;
        while let Some(token) = self.handshakes.pop_front() {
            self.serve_in_turn(token, start_ns, served_ns);
            if self.clock.now_ns() >= end_ns {
                break;
            }
        }
        self.buffers.scratch.may_shake_hands = false;
    }
}
