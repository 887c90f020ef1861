//! The buffers in which a partition reads and seals records, one connection after the other.

use std::fmt::Display;

use snapback_operators::Peer;

use super::tls::{MAX_REST_BYTES, SEAL_BYTES};
use crate::io::clock::unix_seconds;
use crate::log_limit::LogLimit;

/// How much one read may bring.
const READ_BYTES: usize = 64 << 10;
/// A record's header, and what its cipher adds at most (RFC 8446, section 5.2, and RFC 5246).
const RECORD_OVERHEAD_BYTES: usize = 5 + 256;
/// A record's content at most.
const RECORD_BYTES: usize = 16 << 10;
/// For what TLS itself has to say before a record: a key update, an alert.
const CONTROL_BYTES: usize = 1 << 10;

/// What the layers of a partition's connections share. Nothing of a connection stays in it; a
/// partition whose connections are plain never fills it.
#[derive(Default)]
pub(crate) struct Scratch {
    incoming: Vec<u8>,
    sealed: Vec<u8>,
    log: LogLimit,
    /// The connection that is served may take a step of its handshake.
    pub(crate) may_shake_hands: bool,
}

impl Scratch {
    /// A buffer that begins with `rest`, and has room for one read.
    pub(super) fn incoming(&mut self, rest: &[u8]) -> &mut Vec<u8> {
        self.incoming.clear();
        self.incoming.reserve_exact(READ_BYTES + MAX_REST_BYTES);
        self.incoming.extend_from_slice(rest);
        &mut self.incoming
    }

    /// A buffer with room for [`SEAL_BYTES`] of plaintext once they are sealed.
    pub(super) fn sealed(&mut self) -> &mut [u8] {
        const RECORDS: usize = SEAL_BYTES.div_ceil(RECORD_BYTES);
        const BYTES: usize = SEAL_BYTES + RECORDS * RECORD_OVERHEAD_BYTES + CONTROL_BYTES;
        if self.sealed.is_empty() {
            self.sealed.resize(BYTES, 0);
        }
        &mut self.sealed
    }

    /// Notes why a connection came to nothing, ten lines a second at most: anyone may cause them.
    #[cold]
    pub(super) fn log_failure(&mut self, what: &str, peer: &Peer, reason: &dyn Display) {
        if let Some(suppressed) = self.log.pass(unix_seconds()) {
            tracing::info!(%peer, %reason, suppressed, "{what}: the connection is closed");
        }
    }
}
