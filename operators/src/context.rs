//! What an operator has in hand beside its row.

use std::task::Waker;

use crate::defer::{Host, Place, Ticket, Work};
use crate::reply::Reply;
use crate::request::{CorrelationId, Request};

/// The request of a row and the reply to it.
pub struct Context<'c, 'r> {
    request: &'r Request<'r>,
    reply: Reply<'c>,
    host: &'c mut dyn Host,
    deferred: bool,
    failed: bool,
}

impl<'c, 'r> Context<'c, 'r> {
    /// The context of one request. `host` is asked only by operators that answer later.
    #[inline]
    pub fn new(request: &'r Request<'r>, reply: Reply<'c>, host: &'c mut dyn Host) -> Self {
        Context {
            request,
            reply,
            host,
            deferred: false,
            failed: false,
        }
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

    /// Puts the reply off: the row stops here, and goes on when the ticket is given back. When too
    /// many requests are deferred already, this one is answered 503 and there is no ticket. A
    /// request that was answered before is not deferred either: nobody waits for it.
    pub fn defer(&mut self) -> Option<Ticket> {
        if !self.reply.is_open() {
            return None;
        }
        let ticket = self.host.reserve(self.request);
        match ticket {
            Some(_) => self.deferred = true,
            None => self.overloaded(),
        }
        ticket
    }

    /// Whether the reply was put off.
    #[inline]
    pub fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Answers 500: an operator failed at this request. Whoever drives the chain logs it.
    #[cold]
    pub fn fail(&mut self) {
        self.reply.reset();
        self.problem(500, "the pipeline failed at request");
        self.failed = true;
    }

    /// Answers with a problem document that names the request behind `what`: by its own id, and by
    /// the client's as well, if it has sent one.
    #[cold]
    pub fn problem(&mut self, status: u16, what: &str) {
        let detail = format!("{what} {}", self.request.id());
        let members = match self.request.correlation_id() {
            CorrelationId::Taken(id) => &[("correlationId", id)][..],
            CorrelationId::Made(_) => &[],
        };
        self.reply.problem_with(status, &detail, members);
    }

    /// Whether an operator failed at this request.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes back everything that was done for the request, so that it can be tried again.
    #[cold]
    pub fn reset(&mut self) {
        self.reply.reset();
        self.deferred = false;
    }

    /// Answers 503: there is no room for this request now.
    #[cold]
    pub fn overloaded(&mut self) {
        let seconds = self.host.overloaded();
        self.reply.header("retry-after", &seconds.to_string());
        self.reply.problem(
            503,
            "too many requests are being worked on: try again later",
        );
    }

    /// Runs a future elsewhere; see [`Host::spawn`].
    pub fn spawn(&mut self, place: Place, work: Work) {
        self.host.spawn(place, work);
    }

    /// Wakes whoever drives the chain; see [`Host::waker`].
    pub fn waker(&mut self) -> Waker {
        self.host.waker()
    }
}
