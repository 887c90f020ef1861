//! What stands between a decoded request and its reply.

use std::sync::Arc;

use snapback_operators::{
    Chain, Context, Headers, Panicked, Peer, Reply, ReplyHead, Request, Run,
};

use crate::http1::{Decoded, HeadEncoder, Limits, Persistence, Reject};
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

/// A partition's instance of the chain, and all that it needs to answer a request in place.
pub(crate) struct Worker {
    chain: Box<dyn Chain>,
    run: Arc<Run>,
    partition: u32,
    /// The offset that the next request gets.
    next: u64,
    encoder: HeadEncoder,
    head: ReplyHead,
    pub(crate) policy: Policy,
    /// Replies say `Connection: close`.
    pub(crate) draining: bool,
}

impl Worker {
    pub(crate) fn new(
        chain: Box<dyn Chain>,
        run: Arc<Run>,
        partition: u32,
        next: u64,
        policy: Policy,
    ) -> Self {
        Worker {
            chain,
            run,
            partition,
            next,
            encoder: HeadEncoder::default(),
            head: ReplyHead::default(),
            policy,
            draining: false,
        }
    }

    /// The offset that the next request gets.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Sets the time that replies say, once per turn.
    #[inline]
    pub(crate) fn set_now(&mut self, unix_seconds: u64) {
        self.encoder.set_now(unix_seconds);
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
        let offset = self.next;
        let request =
            Request::new(self.run.request_id(self.partition, offset), decoded.method, decoded.target, peer)
                .with_headers(Headers::new(decoded.headers))
                .with_body(decoded.body);
        let keep_alive = decoded.keep_alive && !self.draining;
        let persistence = match (keep_alive, decoded.http_minor) {
            (false, _) => Persistence::Close,
            (true, 0) => Persistence::KeepAlive10,
            (true, _) => Persistence::KeepAlive,
        };

        let room = self.encoder.expected_len();
        let out = outbox.bytes();
        let start = out.len();
        out.resize(start + room, 0);
        let routed = self.policy.route.matches(request.path());
        if routed {
            self.next += 1;
            self.call(&request, out);
        } else {
            self.not_found(&request, out);
        }
        self.put_head(out, start, room, persistence, decoded.is_head);
        if routed {
            outbox.end_reply(offset);
        }
        keep_alive
    }

    /// Runs the chain; afterwards there is a reply in any case.
    #[inline]
    fn call(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let mut cx = Context::new(request, Reply::new(out, &mut self.head));
        if let Err(Panicked) = self.chain.call(&mut cx) {
            self.call_again(request, out);
        } else if cx.reply().is_open() {
            cx.reply().status(self.policy.unanswered_status).empty();
        }
        if let Some(fault) = self.head.fault() {
            tracing::error!(request_id = %request.id(), %fault, "a reply cannot be sent: answered 500");
            let detail = format!("request {} was answered with a reply that cannot be sent", request.id());
            let mut reply = Reply::new(out, &mut self.head);
            reply.problem(500, &detail);
        }
    }

    /// The first attempt panicked. The request still lies whole in the inbox, so it is tried again.
    #[cold]
    fn call_again(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        for attempt in 1.. {
            let mut cx = Context::new(request, Reply::new(out, &mut self.head));
            if attempt == self.policy.max_attempts {
                tracing::error!(request_id = %request.id(), attempts = attempt, "an operator panicked: answered 500");
                let detail = format!("the pipeline failed at request {}", request.id());
                cx.reply().problem(500, &detail);
                return;
            }
            match self.chain.call(&mut cx) {
                Err(Panicked) => {}
                Ok(()) if cx.reply().is_open() => {
                    cx.reply().status(self.policy.unanswered_status).empty();
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    #[cold]
    fn not_found(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let detail = format!("no service at {:?}; there is one at {}", request.path(), self.policy.route);
        Reply::new(out, &mut self.head).problem(404, &detail);
    }

    /// Answers a malformed request; the connection must close after it.
    #[cold]
    pub(crate) fn reject(&mut self, reject: &Reject, outbox: &mut Outbox) {
        let room = self.encoder.expected_len();
        let out = outbox.bytes();
        let start = out.len();
        out.resize(start + room, 0);
        Reply::new(out, &mut self.head).problem(reject.status(), &reject.to_string());
        self.put_head(out, start, room, Persistence::Close, false);
    }

    /// Writes the head into the room that was left for it before the body. The room is as long as
    /// the last head was, which fits nearly always; else the body is moved.
    #[inline]
    fn put_head(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        room: usize,
        persistence: Persistence,
        is_head: bool,
    ) {
        let body_start = start + room;
        let status = self.head.status();
        let body_bytes = out.len() - body_start;
        let head = self.encoder.encode(&self.head, body_bytes, persistence);
        if is_head || status == 204 || status == 304 {
            out.truncate(body_start);
        }
        if head.len() == room {
            out[start..body_start].copy_from_slice(head);
        } else {
            out.splice(start..body_start, head.iter().copied());
        }
    }
}
