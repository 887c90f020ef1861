//! What stands between a decoded request and its reply.

mod refusing;
mod settling;

use std::ops::Range;
use std::sync::Arc;

use snapback_operators::{
    Chain, Context, Headers, Panicked, Peer, Place, Reply, ReplyHead, Request, Run,
};

use super::deferrals::{Deferrals, Desk};
use super::failure::{complete, log_failure};
use super::overload::QueueDelay;
use super::policy::Policy;
use super::prepare::CONTENT_BYTES_PER_TURN;
use super::refusal::Refusals;
use super::shed::ShedReason;
use super::traffic::Traffic;
use crate::checkpoint::Marks;
use crate::http1::{Decoded, Echo, HeadEncoder, Persistence, Reject, has_no_body};
use crate::io::clock::{now_ns, unix_seconds};
use crate::log_limit::LogLimit;
use crate::openapi;
use crate::outbox::{Outbox, Slot};
use crate::panics;
use crate::tee::Recorder;
pub(crate) use settling::Outboxes;
use settling::Settling;

/// Gives requests their ids, and answers them in place.
pub(crate) struct Worker {
    pub(super) run: Arc<Run>,
    pub(super) partition: u32,
    /// The offset that the next request gets.
    pub(super) next: u64,
    chain: Box<dyn Chain>,
    pub(super) replier: Replier,
    deferrals: Deferrals,
    queue_delay: QueueDelay,
    /// How many requests were answered in place.
    answered: u64,
    /// Where a reply that comes later is written, before it goes to its place.
    scratch: Vec<u8>,
    /// What the reply at hand says back; empty between requests.
    pub(super) echo: Echo,
    /// How much of encoded bodies may still be decoded in this turn.
    pub(super) content_budget_bytes: usize,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'p> {
    /// The token of its connection.
    pub(super) connection: u64,
    pub(super) peer: &'p Peer,
    /// There are further requests of the connection, or there may be.
    pub(super) more_follows: bool,
}

impl<'p> Sender<'p> {
    #[inline]
    pub(crate) fn new(connection: u64, peer: &'p Peer, more_follows: bool) -> Self {
        Sender {
            connection,
            peer,
            more_follows,
        }
    }
}

/// What a request has beside what the codec says of it.
pub(super) struct Extras<'e> {
    /// The body, decoded.
    pub(super) body: &'e [u8],
    /// The name of its key.
    pub(super) identity: Option<&'e str>,
    pub(super) echo: Option<&'e Echo>,
}

/// Turns what the chain said of a request into its reply.
pub(crate) struct Replier {
    encoder: HeadEncoder,
    pub(crate) head: ReplyHead,
    refusals: Refusals,
    policy: Policy,
    /// Replies say `Connection: close`.
    draining: bool,
    log: LogLimit,
    /// Notes what is answered; none without a tee.
    recorder: Option<Box<Recorder>>,
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
        let replier = Replier::new(&run, partition, policy);
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
            echo: Echo::default(),
            content_budget_bytes: CONTENT_BYTES_PER_TURN,
        }
    }

    /// Notes what it answers.
    pub(crate) fn with_recorder(mut self, recorder: Option<Recorder>) -> Self {
        self.replier.recorder = recorder.map(Box::new);
        self
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

    /// Begins a turn, at the time that its replies say.
    #[inline]
    pub(crate) fn set_now(&mut self, unix_seconds: u64) {
        if self.replier.encoder.set_now(unix_seconds) {
            self.replier.refusals.forget();
        }
        self.content_budget_bytes = CONTENT_BYTES_PER_TURN;
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

    /// What the partition counts of its requests and replies.
    #[inline]
    pub(crate) fn traffic(&self) -> &Traffic {
        self.deferrals.traffic()
    }

    /// Whether what is answered is noted, for a tee.
    #[inline]
    pub(crate) fn is_teed(&self) -> bool {
        self.replier.recorder.is_some()
    }

    /// Hands over what was noted of an epoch; whether that is done, or there was nothing to do.
    pub(crate) fn seal(&mut self, epoch: u64, marks: Marks) -> bool {
        let recorder = self.replier.recorder.as_mut();
        recorder.is_none_or(|recorder| recorder.seal(epoch, marks))
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
        let tee_sheds = self.replier.recorder.as_ref().is_some_and(|it| it.sheds());
        if self.deferrals.is_full() | self.queue_delay.sheds() | has_deadline | tee_sheds {
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
        if self.replier.recorder.as_ref().is_some_and(|it| it.sheds()) {
            return Some(ShedReason::Tee);
        }
        if self.queue_delay.sheds() && !self.queue_delay.takes_on(now_ns) {
            return Some(ShedReason::QueueDelay);
        }
        // The turn may have lasted for longer than the client waits.
        let over_ns = timeout_ms
            .saturating_mul(1_000_000)
            .saturating_add(self.turn_ns());
        let is_over = over_ns <= now_ns().max(self.turn_ns());
        (timeout_ms != u64::MAX && is_over).then_some(ShedReason::Deadline)
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
        sender: Sender<'_>,
        outbox: &mut Outbox,
    ) -> bool {
        let extras = Extras {
            body: decoded.body,
            identity: None,
            echo: None,
        };
        self.answer_with(decoded, extras, sender, outbox)
    }

    /// The same, for a request of which more is known than the codec says.
    #[inline(always)]
    pub(super) fn answer_with(
        &mut self,
        decoded: &Decoded<'_, '_>,
        extras: Extras<'_>,
        sender: Sender<'_>,
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
            sender.peer,
        )
        .with_headers(Headers::new(decoded.headers))
        .with_body(extras.body)
        .with_identity(extras.identity);
        let (keep_alive, persistence) = replier.persistence(decoded, sender.more_follows);

        let out = outbox.bytes();
        let room = replier.leave_room(out);
        if !replier.policy.route.matches(request.target()) {
            replier.answer_elsewhere(&request, out);
            replier.put_head(out, room, persistence, decoded.is_head, None, extras.echo);
            deferrals.traffic().replied(replier.head.status());
            return keep_alive;
        }
        self.next += 1;
        let place = Place {
            connection: sender.connection,
            slot: offset,
        };
        let mut desk = deferrals.desk(place, false);
        if replier.call(&mut **chain, &request, out, &mut desk) {
            let work = desk.into_work();
            out.truncate(room.start);
            deferrals.add();
            let times_ns = (deferrals.turn_ns(), deferrals.due_ns(decoded.timeout_ms));
            let mut slot = Slot::new(offset, persistence, decoded.is_head, times_ns, work);
            if let Some(recorder) = &mut replier.recorder {
                slot.stash = recorder.stash(&request, times_ns.0);
            }
            slot.echo = extras.echo.map(|echo| Box::new(echo.clone()));
            outbox.defer(slot);
        } else {
            let is_head = decoded.is_head;
            if let Some(recorder) = &mut replier.recorder {
                let (status, turn_ns) = (replier.head.status(), deferrals.turn_ns());
                let body = sent_body(&out[room.end..], status, is_head);
                recorder.note(&request, turn_ns, status, body);
            }
            replier.put_head(out, room, persistence, is_head, Some(offset), extras.echo);
            deferrals.traffic().replied(replier.head.status());
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
        let turn_ns = deferrals.turn_ns();
        let filled = outboxes.fill(place, scratch, replier, turn_ns, &mut |replier, out| {
            Reply::new(out, &mut replier.head).problem(status, &detail);
            None
        });
        let is_answered = filled.since_ns.is_some();
        if is_answered {
            deferrals.remove(1);
            deferrals.traffic().replied(status);
        }
        is_answered
    }

    /// Answers a malformed request; the connection must close after it.
    #[cold]
    pub(crate) fn reject(&mut self, reject: &Reject, outbox: &mut Outbox) {
        self.deferrals.traffic().replied(reject.status());
        self.replier.encoder.encode_reject(reject, outbox.bytes());
    }
}

/// Of a body what is sent.
fn sent_body(body: &[u8], status: u16, is_head: bool) -> &[u8] {
    if is_head || has_no_body(status) {
        return &[];
    }
    body
}

impl Replier {
    /// Replies of a partition, under its policy.
    pub(crate) fn new(run: &Run, partition: u32, policy: Policy) -> Self {
        let mut encoder = HeadEncoder::new(unix_seconds());
        encoder.tell_ids(run, partition);
        Replier {
            encoder,
            head: ReplyHead::default(),
            refusals: Refusals::default(),
            policy,
            draining: false,
            log: LogLimit::default(),
            recorder: None,
        }
    }

    /// Whether the connection goes on, and what the reply says about that.
    #[inline]
    pub(super) fn persistence(
        &self,
        decoded: &Decoded<'_, '_>,
        more_follows: bool,
    ) -> (bool, Persistence) {
        let keep_alive = decoded.keep_alive && (more_follows || !self.draining);
        if keep_alive {
            (true, decoded.persistence())
        } else {
            (false, Persistence::Close)
        }
    }

    /// Leaves room for the head before the body, as long as the last head was, which fits nearly
    /// always: the body is then written once, to where it is sent from.
    #[inline]
    pub(crate) fn leave_room(&self, out: &mut Vec<u8>) -> Range<usize> {
        let start = out.len();
        let room = start..start + self.encoder.expected_len();
        out.resize(room.end, 0);
        room
    }

    /// Runs the chain; afterwards there is a reply, or a place reserved for it. A request whose
    /// operators panic still lies whole in the inbox, so it is tried again. Tells whether the reply
    /// comes later.
    #[inline(always)]
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

    /// Answers what is not for the pipeline: what describes it, or nothing. `OPTIONS *` asks about the server as a whole, which has
    /// nothing to add to what its services say of themselves (RFC 9110, section 9.3.7).
    #[cold]
    fn answer_elsewhere(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        if request.target() == "*" {
            Reply::new(out, &mut self.head).status(204).empty();
            return;
        }
        if let Some(open_api) = &self.policy.open_api
            && request.path() == openapi::PATH
        {
            let mut reply = Reply::new(out, &mut self.head);
            return open_api.answer(request.method(), &mut reply);
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
    pub(crate) fn put_head(
        &mut self,
        out: &mut Vec<u8>,
        room: Range<usize>,
        persistence: Persistence,
        is_head: bool,
        offset: Option<u64>,
        echo: Option<&Echo>,
    ) {
        let body_bytes = out.len() - room.end;
        let head = self
            .encoder
            .encode_with(&self.head, body_bytes, persistence, offset, echo);
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
