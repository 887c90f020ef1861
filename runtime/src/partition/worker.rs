//! What stands between a decoded request and its reply.

use std::ops::Range;
use std::sync::Arc;

use snapback_operators::{Chain, Context, Headers, Panicked, Peer, Reply, ReplyHead, Request, Run};

use crate::http1::{Decoded, HeadEncoder, Limits, Persistence, Reject, has_no_body};
use crate::io::clock::unix_seconds;
use crate::outbox::Outbox;
use crate::route::Route;

/// The settings of a query that a request meets.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) limits: Limits,
    pub(crate) route: Route,
    /// The status of a request whose row left the pipeline without a reply.
    pub(crate) unanswered_status: u16,
    /// How often a request is tried whose operators panic.
    pub(crate) max_attempts: u32,
    /// Replies that may wait in one connection.
    pub(crate) max_pipelined: usize,
    /// Bytes of replies that may wait in one connection before it is not decoded further.
    pub(crate) max_reply_buffer_bytes: usize,
}

/// Gives requests their ids, and answers them in place.
pub(crate) struct Worker {
    run: Arc<Run>,
    partition: u32,
    /// The offset that the next request gets.
    next: u64,
    service: Service,
}

/// A partition's instance of the chain, and what turns its results into replies.
struct Service {
    chain: Box<dyn Chain>,
    encoder: HeadEncoder,
    head: ReplyHead,
    policy: Policy,
    /// Replies say `Connection: close`.
    draining: bool,
}

impl Worker {
    pub(crate) fn new(
        chain: Box<dyn Chain>,
        run: Arc<Run>,
        partition: u32,
        next: u64,
        policy: Policy,
    ) -> Self {
        let service = Service {
            chain,
            encoder: HeadEncoder::new(unix_seconds()),
            head: ReplyHead::default(),
            policy,
            draining: false,
        };
        Worker {
            run,
            partition,
            next,
            service,
        }
    }

    /// The offset that the next request gets.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        &self.service.policy
    }

    /// Sets the time that replies say, once per turn.
    #[inline]
    pub(crate) fn set_now(&mut self, unix_seconds: u64) {
        self.service.encoder.set_now(unix_seconds);
    }

    /// From now on every reply is the last of its connection.
    pub(crate) fn drain(&mut self) {
        self.service.draining = true;
    }

    /// Answers one request: its reply is at the end of the outbox.
    /// Tells whether the connection goes on.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        decoded: &Decoded<'_, '_>,
        peer: &Peer,
        outbox: &mut Outbox,
    ) -> bool {
        let (service, offset) = (&mut self.service, self.next);
        let id = self.run.request_id(self.partition, offset);
        let request = Request::new(id, decoded.method, decoded.target, peer)
            .with_headers(Headers::new(decoded.headers))
            .with_body(decoded.body);
        let keep_alive = decoded.keep_alive && !service.draining;
        let persistence = if keep_alive {
            decoded.persistence()
        } else {
            Persistence::Close
        };

        let room = service.leave_room(outbox);
        let out = outbox.bytes();
        let routed = service.policy.route.matches(request.path());
        if routed {
            self.next += 1;
            service.call(&request, out);
        } else {
            service.not_found(&request, out);
        }
        service.put_head(out, room, persistence, decoded.is_head);
        if routed {
            outbox.end_reply(offset);
        }
        keep_alive
    }

    /// Answers a malformed request; the connection must close after it.
    #[cold]
    pub(crate) fn reject(&mut self, reject: &Reject, outbox: &mut Outbox) {
        self.service.encoder.encode_reject(reject, outbox.bytes());
    }
}

impl Service {
    /// Leaves room for the head before the body, as long as the last head was, which fits nearly
    /// always: the body is then written once, to where it is sent from.
    #[inline]
    fn leave_room(&self, outbox: &mut Outbox) -> Range<usize> {
        let out = outbox.bytes();
        let start = out.len();
        let room = start..start + self.encoder.expected_len();
        out.resize(room.end, 0);
        room
    }

    /// Runs the chain; afterwards there is a reply in any case. A request whose operators panic
    /// still lies whole in the inbox, so it is tried again.
    #[inline]
    fn call(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let Service {
            chain,
            head,
            policy,
            ..
        } = self;
        let mut cx = Context::new(request, Reply::new(out, head));
        let mut attempts = 1;
        while let Err(Panicked) = chain.call(&mut cx) {
            if attempts == policy.max_attempts {
                give_up(attempts, &mut cx);
                break;
            }
            attempts += 1;
        }
        let reply = cx.reply();
        if reply.is_open() {
            reply.status(policy.unanswered_status).empty();
        }
        if reply.fault().is_some() {
            refuse_reply(&mut cx);
        }
    }

    #[cold]
    fn not_found(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let detail = format!(
            "no service at {:?}; there is one at {}",
            request.path(),
            self.policy.route
        );
        Reply::new(out, &mut self.head).problem(404, &detail);
    }

    /// Writes the head into its room; where it does not fit, the body is moved.
    #[inline]
    fn put_head(
        &mut self,
        out: &mut Vec<u8>,
        room: Range<usize>,
        persistence: Persistence,
        is_head: bool,
    ) {
        let body_bytes = out.len() - room.end;
        let head = self.encoder.encode(&self.head, body_bytes, persistence);
        if is_head || has_no_body(self.head.status()) {
            out.truncate(room.end);
        }
        if head.len() == room.len() {
            out[room].copy_from_slice(head);
        } else {
            out.splice(room, head.iter().copied());
        }
    }
}

#[cold]
fn give_up(attempts: u32, cx: &mut Context<'_, '_>) {
    let id = cx.request().id();
    tracing::error!(request_id = %id, attempts, "an operator panicked: answered 500");
    cx.reply()
        .problem(500, &format!("the pipeline failed at request {id}"));
}

/// The pipeline's reply must not be sent.
#[cold]
fn refuse_reply(cx: &mut Context<'_, '_>) {
    let id = cx.request().id();
    if let Some(fault) = cx.reply().fault() {
        tracing::error!(request_id = %id, %fault, "the pipeline's reply cannot be sent: answered 500");
    }
    cx.reply().reset();
    cx.reply().problem(
        500,
        &format!("the pipeline's reply to request {id} cannot be sent"),
    );
}
