//! Answering later: tickets, and what a chain asks of whoever drives it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::Waker;

use crate::context::Context;
use crate::request::{Peer, Request, RequestId, Run};
use crate::row::{Finished, Row};

/// The place of a reply that will come later, and the head of its request.
///
/// Whoever drives the chain makes it; an operator keeps it with its row, and gives it back with
/// [`Turn::resume`]. A ticket whose connection is gone is dropped there without harm, and dropping
/// one leaves its request to its deadline.
pub struct Ticket {
    place: Place,
    head: Box<KeptHead>,
}

/// Where a deferred reply belongs, in the words of whoever drives the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The connection, with its generation.
    pub connection: u64,
    /// The slot of the connection's outbox.
    pub slot: u64,
}

impl Ticket {
    /// A ticket for the reply at `place`.
    pub fn new(place: Place, head: Box<KeptHead>) -> Self {
        Ticket { place, head }
    }

    /// Where the reply belongs.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The parts, for whoever made it.
    pub fn into_parts(self) -> (Place, Box<KeptHead>) {
        (self.place, self.head)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?})", self.place)
    }
}

/// A future that an operator started; its output is already where the operator finds it.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an operator that answers later needs of whoever drives the chain.
pub trait Host {
    /// Reserves the place of the reply to the request at hand; `None` when too many requests are
    /// deferred already, which is the 503 of this one.
    fn reserve(&mut self, request: &Request<'_>) -> Option<Ticket>;

    /// Notes that there is no room for the request at hand; gives the seconds after which another
    /// try is worth it.
    fn overloaded(&mut self) -> u64;

    /// Runs a future elsewhere. It is dropped unfinished when nobody waits for the reply any more.
    fn spawn(&mut self, place: Place, work: Work);

    /// Wakes whoever drives the chain, so that it settles.
    fn waker(&mut self) -> Waker;
}

/// The end of a turn, at which rows that became ready go on.
pub trait Turn {
    /// Hands the context of a deferred request to `work`, in which its row goes on, unless nobody
    /// waits for it any more. A panic in `work` is the request's 500.
    fn resume(&mut self, ticket: Ticket, work: &mut dyn FnMut(&mut Context<'_, '_>));

    /// Whether anybody still waits for the reply of a deferred request: not when the connection is
    /// gone or the request's time is over. Work on its row is then in vain.
    fn is_awaited(&mut self, ticket: &Ticket) -> bool;

    /// Notes that a batch of so many rows was run, for whoever counts them.
    fn ran_batch(&mut self, rows: usize) {
        let _ = rows;
    }

    /// How long lies between the beginnings of two micro-batches at least, in nanoseconds.
    fn batch_interval_ns(&self) -> u64 {
        0
    }

    /// The time, in nanoseconds of a clock of the driver's.
    fn now_ns(&mut self) -> u64;

    /// Asks for the next turn to settle at this time at the latest.
    fn settle_again_at(&mut self, time_ns: u64);
}

/// The operators behind a deferred one.
pub trait Sink<R: Row> {
    /// Takes one row.
    fn push<'r>(&mut self, cx: &mut Context<'_, 'r>, row: R::At<'r>);
}

/// The end of a pipeline: the reply is made.
pub(crate) struct End;

impl<R: Finished> Sink<R> for End {
    #[inline]
    fn push<'r>(&mut self, _cx: &mut Context<'_, 'r>, _row: R::At<'r>) {}
}

/// The head of a deferred request. Its body is not kept: a row that waits owns what it needs.
///
/// Heads are pooled: a warm one is filled again without an allocation.
#[derive(Default)]
pub struct KeptHead {
    /// Method, target, identity, then names and values.
    bytes: Vec<u8>,
    method_end: usize,
    target_end: usize,
    /// Where the identity ends, if there is one.
    identity_end: Option<usize>,
    /// Where each name and value ends.
    fields: Vec<(usize, usize)>,
    partition: u32,
    offset: u64,
    peer: Option<Peer>,
}

/// Shows neither query nor header values: they may hold secrets.
impl fmt::Debug for KeptHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = (self.partition, self.offset);
        write!(f, "KeptHead({place:?}, {} fields)", self.fields.len())
    }
}

impl KeptHead {
    /// Copies the head of a request.
    pub fn fill(&mut self, request: &Request<'_>) {
        self.bytes.clear();
        self.fields.clear();
        self.bytes.extend_from_slice(request.method().as_bytes());
        self.method_end = self.bytes.len();
        self.bytes.extend_from_slice(request.target().as_bytes());
        self.target_end = self.bytes.len();
        self.identity_end = request.identity().map(|identity| {
            self.bytes.extend_from_slice(identity.as_bytes());
            self.bytes.len()
        });
        for (name, value) in request.headers().iter() {
            self.bytes.extend_from_slice(name.as_bytes());
            let name_end = self.bytes.len();
            self.bytes.extend_from_slice(value);
            self.fields.push((name_end, self.bytes.len()));
        }
        self.partition = request.id().partition();
        self.offset = request.id().offset();
        self.peer = Some(request.peer());
    }

    /// The id of the request, whose run is `run`.
    pub fn id<'r>(&self, run: &'r Run) -> RequestId<'r> {
        run.request_id(self.partition, self.offset)
    }

    /// Makes a request of it again, without its body, and hands it to `work`.
    pub fn with_request<T>(&self, run: &Run, work: impl FnOnce(&Request<'_>) -> T) -> T {
        let text = |range| str::from_utf8(&self.bytes[range]).unwrap_or_default();
        let mut table = [httparse::EMPTY_HEADER; 100];
        let identity = self.identity_end.map(|end| text(self.target_end..end));
        let mut start = self.identity_end.unwrap_or(self.target_end);
        let fields = table.iter_mut().zip(&self.fields);
        let count = fields.len();
        for (field, (name_end, value_end)) in fields {
            field.name = text(start..*name_end);
            field.value = &self.bytes[*name_end..*value_end];
            start = *value_end;
        }
        let peer = self.peer.unwrap_or(Peer::Unix);
        let (method, target) = (
            text(0..self.method_end),
            text(self.method_end..self.target_end),
        );
        let request = Request::new(self.id(run), method, target, &peer)
            .with_headers(crate::Headers::new(&table[..count]))
            .with_identity(identity);
        work(&request)
    }
}
