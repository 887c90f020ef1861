//! What an operator has in hand beside its row.

use crate::reply::Reply;
use crate::request::Request;

/// The request of a row and the reply to it.
#[derive(Debug)]
pub struct Context<'c, 'r> {
    request: &'r Request<'r>,
    reply: Reply<'c>,
}

impl<'c, 'r> Context<'c, 'r> {
    /// The context of one request.
    #[inline]
    pub fn new(request: &'r Request<'r>, reply: Reply<'c>) -> Self {
        Context { request, reply }
    }

    /// The request; it outlives the row.
    #[inline]
    pub fn request(&self) -> &'r Request<'r> {
        self.request
    }

    /// The reply under construction.
    #[inline]
    pub fn reply(&mut self) -> &mut Reply<'c> {
        &mut self.reply
    }
}
