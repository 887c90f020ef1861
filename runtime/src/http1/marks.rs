//! Header fields that concern the server beside the framing, as one bit each.

/// Which of them a request has. The codec sees every name anyway; whoever serves the request looks
/// for their values only when one is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    /// `Content-Encoding`: the body is not what it stands for.
    pub(crate) const CONTENT_ENCODING: Marks = Marks(1);
    /// `x-request-id`: the client has an id for the request.
    pub(crate) const REQUEST_ID: Marks = Marks(2);
    /// `traceparent`: the request belongs to a trace.
    pub(crate) const TRACEPARENT: Marks = Marks(4);

    /// Adds these.
    #[inline]
    pub(crate) fn add(&mut self, other: Marks) {
        self.0 |= other.0;
    }

    /// Whether any of these is there.
    #[inline]
    pub(crate) fn has(self, any: Marks) -> bool {
        self.0 & any.0 != 0
    }
}
