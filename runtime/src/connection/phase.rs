//! Where a connection is in its life, and what it needs next.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests are read and answered.
    Open,
    /// The client sends no more; what it sent is answered.
    Ended,
    /// The last reply is made; nothing is read until it is sent.
    Closing,
    /// Everything is sent; what still comes is thrown away, so many bytes at most.
    Lingering { left_bytes: usize },
}

/// What a connection needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// An event.
    Waiting,
    /// Another turn: its share of this one is used up.
    Again,
    /// A share of a turn that is for handshakes.
    Handshake,
    /// Nothing: it is over.
    Closed,
}
