//! What stands between a decoded request and its reply.

mod settling;

use std::ops::Range;
use std::sync::Arc;

use snapback_operators::{
    Chain, Context, Headers, Panicked, Peer, Place, Reply, ReplyHead, Request, Run,
};

use super::deferrals::{Deferrals, Desk};
use super::overload::QueueDelay;
use super::refusal::{Key, Refusals};
use super::shed::ShedReason;
use crate::connection::TimeLimits;
use crate::http1::{Decoded, HeadEncoder, Limits, Persistence, Reject, has_no_body};
use crate::io::clock::{now_ns, unix_seconds};
use crate::log_limit::LogLimit;
use crate::outbox::{Outbox, Slot};
use crate::panics;
use crate::route::Route;
pub(crate) use settling::Outboxes;
use settling::Settling;

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
    /// Requests that one connection may send.
    pub(crate) max_requests: u64,
    /// How long a connection may take for what.
    pub(crate) times: TimeLimits,
}

/// Gives requests their ids, and answers them in place.
pub(crate) struct Worker {
    run: Arc<Run>,
    partition: u32,
    /// The offset that the next request gets.
    next: u64,
    chain: Box<dyn Chain>,
    replier: Replier,
    deferrals: Deferrals,
    queue_delay: QueueDelay,
    /// How many requests were answered in place.
    answered: u64,
    /// Where a reply that comes later is written, before it goes to its place.
    scratch: Vec<u8>,
}

/// Turns what the chain said of a request into its reply.
struct Replier {
    encoder: HeadEncoder,
    head: ReplyHead,
    refusals: Refusals,
    policy: Policy,
    /// Replies say `Connection: close`.
    draining: bool,
    log: LogLimit,
}

impl Worker {
    pub(crate) fn new(
        chain: Box<dyn Chain>,
        run: Arc<Run>,
        partition: u32,
        next: u64,
        policy: Policy,
        deferrals: Deferrals,
        queue_delay: QueueDelay,
    ) -> Self {
        let replier = Replier {
            encoder: HeadEncoder::new(unix_seconds()),
            head: ReplyHead::default(),
            refusals: Refusals::default(),
            policy,
            draining: false,
            log: LogLimit::default(),
        };
        Worker {
            run,
            partition,
            next,
            chain,
            replier,
            deferrals,
            queue_delay,
            answered: 0,
            scratch: Vec::new(),
        }
    }

    /// The offset that the next request gets.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many requests were answered in place.
    #[inline]
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        &self.replier.policy
    }

    /// Sets the time that replies say, once per turn.
    #[inline]
    pub(crate) fn set_now(&mut self, unix_seconds: u64) {
        if self.replier.encoder.set_now(unix_seconds) {
            self.replier.refusals.forget();
        }
    }

    /// From now on a reply is the last of its connection, as soon as no other request waits there.
    pub(crate) fn drain(&mut self) {
        self.replier.draining = true;
    }

    /// The requests whose replies come later.
    #[inline]
    pub(crate) fn deferrals(&mut self) -> &mut Deferrals {
        &mut self.deferrals
    }

    /// The time that requests wait.
    #[inline]
    pub(crate) fn queue_delay(&mut self) -> &mut QueueDelay {
        &mut self.queue_delay
    }

    /// When the present turn began.
    #[inline]
    pub(crate) fn turn_ns(&self) -> u64 {
        self.deferrals.turn_ns()
    }

    /// Why the request must be turned away, if so.
    #[inline]
    pub(crate) fn refusal(&mut self, decoded: &Decoded<'_, '_>) -> Option<ShedReason> {
        let has_deadline = decoded.timeout_ms != u64::MAX;
        if self.deferrals.is_full() | self.queue_delay.sheds() | has_deadline {
            self.find_refusal(decoded.timeout_ms)
        } else {
            None
        }
    }

    #[cold]
    fn find_refusal(&mut self, timeout_ms: u64) -> Option<ShedReason> {
        if self.deferrals.is_full() {
            return Some(ShedReason::InFlight);
        }
        if self.queue_delay.sheds() && !self.queue_delay.takes_on(now_ns) {
            return Some(ShedReason::QueueDelay);
        }
        // The turn may have lasted for longer than the client waits.
        let over_ns = timeout_ms
            .saturating_mul(1_000_000)
            .saturating_add(self.turn_ns());
        (timeout_ms != u64::MAX && over_ns <= now_ns()).then_some(ShedReason::Deadline)
    }

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
        let keep_alive = decoded.keep_alive && (more_follows || !self.replier.draining);
        let persistence = if keep_alive {
            decoded.persistence()
        } else {
            Persistence::Close
        };
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
        refusals.write(key, encoder, decoded.is_head, outbox.bytes());
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
        refusals.write(key, encoder, false, outbox.bytes());
    }

    /// Answers one request: its reply is at the end of the outbox, or its place is kept there.
    /// Tells whether the connection goes on.
    ///
    /// In a drain the reply says that the connection closes, unless more of the client's bytes are
    /// there already: whoever pipelines gets a reply to all that it had sent.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        decoded: &Decoded<'_, '_>,
        connection: u64,
        peer: &Peer,
        more_follows: bool,
        outbox: &mut Outbox,
    ) -> bool {
        let Worker {
            run,
            chain,
            replier,
            deferrals,
            ..
        } = self;
        let offset = self.next;
        let request = Request::new(
            run.request_id(self.partition, offset),
            decoded.method,
            decoded.target,
            peer,
        )
        .with_headers(Headers::new(decoded.headers))
        .with_body(decoded.body);
        let keep_alive = decoded.keep_alive && (more_follows || !replier.draining);
        let persistence = if keep_alive {
            decoded.persistence()
        } else {
            Persistence::Close
        };

        let out = outbox.bytes();
        let room = replier.leave_room(out);
        if !replier.policy.route.matches(request.target()) {
            replier.not_found(&request, out);
            replier.put_head(out, room, persistence, decoded.is_head);
            return keep_alive;
        }
        self.next += 1;
        let place = Place {
            connection,
            slot: offset,
        };
        let mut desk = deferrals.desk(place, false);
        if replier.call(&mut **chain, &request, out, &mut desk) {
            let work = desk.into_work();
            out.truncate(room.start);
            deferrals.add();
            let times_ns = (deferrals.turn_ns(), deferrals.due_ns(decoded.timeout_ms));
            outbox.defer(Slot::new(
                offset,
                persistence,
                decoded.is_head,
                times_ns,
                work,
            ));
        } else {
            replier.put_head(out, room, persistence, decoded.is_head);
            outbox.end_reply(offset);
            self.answered += 1;
        }
        keep_alive
    }

    /// Ends a turn of a chain in which rows may wait: those that became ready go on.
    pub(crate) fn settle(&mut self, outboxes: &mut dyn Outboxes) {
        let Worker {
            run,
            chain,
            replier,
            deferrals,
            scratch,
            ..
        } = self;
        deferrals.begin_settling();
        let mut settling = Settling {
            run,
            replier,
            deferrals,
            scratch,
            outboxes,
            panicked: false,
        };
        let failed = panics::in_operators(|| chain.settle(&mut settling).is_err());
        if failed || settling.panicked {
            chain.refresh();
        }
    }

    /// Answers a deferred request with a problem, whose detail is its id and `why`; the work on it
    /// is cancelled. Tells whether its client still waited.
    pub(crate) fn give_up(
        &mut self,
        place: Place,
        status: u16,
        why: &str,
        outboxes: &mut dyn Outboxes,
    ) -> bool {
        let Worker {
            run,
            replier,
            deferrals,
            scratch,
            ..
        } = self;
        let id = run.request_id(self.partition, place.slot);
        let detail = format!("request {id} {why}");
        let filled = outboxes.fill(place, scratch, replier, &mut |replier, out| {
            Reply::new(out, &mut replier.head).problem(status, &detail);
            None
        });
        deferrals.remove(usize::from(filled));
        filled
    }

    /// Answers a malformed request; the connection must close after it.
    #[cold]
    pub(crate) fn reject(&mut self, reject: &Reject, outbox: &mut Outbox) {
        self.replier.encoder.encode_reject(reject, outbox.bytes());
    }
}

impl Replier {
    /// Leaves room for the head before the body, as long as the last head was, which fits nearly
    /// always: the body is then written once, to where it is sent from.
    #[inline]
    fn leave_room(&self, out: &mut Vec<u8>) -> Range<usize> {
        let start = out.len();
        let room = start..start + self.encoder.expected_len();
        out.resize(room.end, 0);
        room
    }

    /// Runs the chain; afterwards there is a reply, or a place reserved for it. A request whose
    /// operators panic still lies whole in the inbox, so it is tried again. Tells whether the reply
    /// comes later.
    #[inline]
    fn call(
        &mut self,
        chain: &mut dyn Chain,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        desk: &mut Desk<'_>,
    ) -> bool {
        let mut attempts = 1;
        let mut cx = Context::new(request, Reply::new(out, &mut self.head), desk);
        while let Err(Panicked) = panics::in_operators(|| chain.call(&mut cx)) {
            if attempts == self.policy.max_attempts {
                cx.fail();
                log_failure(attempts, &cx, &mut self.log);
                break;
            }
            attempts += 1;
        }
        let deferred = cx.is_deferred();
        if !deferred {
            complete(&mut cx, self.policy.unanswered_status, &mut self.log);
        }
        deferred
    }

    /// Answers what is not for the pipeline. `OPTIONS *` asks about the server as a whole, which has
    /// nothing to add to what its services say of themselves (RFC 9110, section 9.3.7).
    #[cold]
    fn not_found(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        if request.target() == "*" {
            Reply::new(out, &mut self.head).status(204).empty();
            return;
        }
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

/// Answers a request whose row left the pipeline without a reply, or with one that must not be
/// sent.
#[inline]
fn complete(cx: &mut Context<'_, '_>, unanswered_status: u16, log: &mut LogLimit) {
    let reply = cx.reply();
    if reply.is_open() {
        reply.status(unanswered_status).empty();
    }
    if reply.fault().is_some() {
        refuse_reply(cx, log);
    }
}

/// The log says where an operator failed, and nothing of what the panic said, which may hold a part
/// of the request.
#[cold]
fn log_failure(attempts: u32, cx: &Context<'_, '_>, log: &mut LogLimit) {
    let place = panics::take_place();
    if let Some(suppressed) = log.pass(unix_seconds()) {
        let place = place.map_or_else(|| "an unknown place".to_owned(), |place| place.to_string());
        let request_id = cx.request().id();
        tracing::error!(%request_id, attempts, place, suppressed, "an operator failed: answered 500");
    }
}

/// The pipeline's reply must not be sent.
#[cold]
fn refuse_reply(cx: &mut Context<'_, '_>, log: &mut LogLimit) {
    let id = cx.request().id();
    if let Some(fault) = cx.reply().fault()
        && let Some(suppressed) = log.pass(unix_seconds())
    {
        tracing::error!(request_id = %id, %fault, suppressed, "the pipeline's reply cannot be sent: answered 500");
    }
    cx.reply().reset();
    cx.reply().problem(
        500,
        &format!("the pipeline's reply to request {id} cannot be sent"),
    );
}
