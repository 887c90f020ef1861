//! One connection: bytes in, replies in order, bytes out.

mod deadlines;
mod limits;
mod phase;

use std::io;

use crate::content::Decoding;
use crate::http1::{CONTINUE, Decoder, HeadMemo, HeaderTable, Reject, Step};
use crate::inbox::Inbox;
use crate::io::clock::now_ns;
use crate::io::poller::Interest;
use crate::io::socket::{Read, Socket};
use crate::outbox::Outbox;
use crate::partition::{Buffers, Policy, Sender, TimerId, Worker};
use crate::transport::{Received, Scratch, Transport};
use deadlines::Deadlines;
pub(crate) use deadlines::TimeLimits;
use phase::Phase;
pub(crate) use phase::Served;

/// What one connection may use of a turn before the others are looked after: 128 answers.
const SHARE: u32 = 1024;
/// What an answer uses of it; a request that is turned away costs next to nothing.
const ANSWER: u32 = 8;
/// Whenever so much was used the clock is looked at, in case the answers take long.
const LOOK_EVERY: u32 = 256;
/// What a client may still send behind its last request before its connection is cut. Until then
/// it is read and thrown away: closing at once would make the kernel send a reset, which can
/// overtake the reply.
const LINGER_BYTES: usize = 1 << 20;

pub(crate) struct Connection {
    transport: Transport,
    decoder: Decoder,
    /// Only while an encoded body is decoded.
    decoding: Option<Box<Decoding>>,
    /// Only while a part of a request waits for the rest.
    inbox: Option<Box<Inbox>>,
    /// Only while the kernel does not take replies as fast as they are made.
    outbox: Option<Box<Outbox>>,
    phase: Phase,
    /// The kernel may hold bytes that were not read.
    readable: bool,
    /// The peer hung up, so that the socket must be read until its end is seen.
    hung_up: bool,
    /// The peer takes no more replies.
    is_gone: bool,
    /// The inbox may hold whole requests that had no share of the last turn. Until they are answered
    /// nothing more is read, or who sends faster than it is served would fill the memory.
    undecoded: bool,
    is_turned_away: bool,
    /// Since when it has always had more to answer than its share; [`u64::MAX`] when it had not.
    behind_since_ns: u64,
    /// How many bytes the request at hand needs in all, when that is known.
    wanted_bytes: usize,
    /// How many more requests are answered before it closes.
    requests_left: u64,
    /// Until when it may wait for its client.
    deadlines: Deadlines,
    /// What the poller was told to watch for.
    interest: Interest,
    /// The timer that looks after it, and for when that is set.
    pub(crate) timer: Option<(TimerId, u64)>,
    /// The oldest unanswered offset, as the partition knows it.
    pub(crate) known_unanswered: Option<u64>,
    /// It stands in the partition's list of connections to serve, where it must not stand twice.
    pub(crate) is_ready: bool,
    /// A deferred reply came in this turn.
    pub(crate) is_replied: bool,
}

impl Connection {
    /// A connection that begins now, under the policy of its partition's worker.
    pub(crate) fn new(transport: Transport, policy: &Policy, now_ns: u64) -> Self {
        Connection {
            transport,
            decoder: Decoder::default(),
            decoding: None,
            inbox: None,
            outbox: None,
            phase: Phase::Open,
            readable: true,
            hung_up: false,
            is_gone: false,
            undecoded: false,
            is_turned_away: false,
            behind_since_ns: u64::MAX,
            wanted_bytes: 0,
            requests_left: policy.max_requests,
            deadlines: Deadlines::new(now_ns, &policy.times),
            interest: Interest::Read,
            timer: None,
            known_unanswered: None,
            is_ready: false,
            is_replied: false,
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        self.transport.socket()
    }

    /// Notes an event of the poller.
    #[inline]
    pub(crate) fn note_event(&mut self, hung_up: bool, is_gone: bool) {
        self.readable = true;
        self.hung_up |= hung_up;
        self.is_gone |= is_gone;
    }

    /// The offset of the oldest request whose reply is not sent.
    #[inline]
    pub(crate) fn oldest_unanswered(&self) -> Option<u64> {
        self.outbox
            .as_ref()
            .and_then(|outbox| outbox.oldest_unanswered())
    }

    /// Whether everything is sent and nothing more will be read as a request.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    /// For the begin of a drain: lets the deferred reply that the client waits for be the last, if
    /// nothing shows that the client has sent more. Else it is told at its next request.
    pub(crate) fn end_with_deferred(&mut self) {
        if self.phase == Phase::Open
            && !self.readable
            && self.inbox.is_none()
            && !self.transport.holds_part()
            && let Some(outbox) = &mut self.outbox
            && outbox.end_with_last_slot()
        {
            self.phase = Phase::Closing;
        }
    }

    /// Closes a connection whose time is over, in order: what waits is sent, then its end, and what
    /// the client has sent meanwhile is read. Tells whether it was silent: then bytes that are read
    /// now are of a request that crossed the close.
    pub(crate) fn part(&mut self) -> bool {
        let is_silent = self.phase == Phase::Open
            && self.inbox.is_none()
            && self.outbox.is_none()
            && !self.transport.holds_part();
        if matches!(self.phase, Phase::Open | Phase::Ended) {
            self.phase = Phase::Closing;
        }
        self.readable = true;
        is_silent
    }

    /// Whether bytes came behind the last reply.
    pub(crate) fn was_sent_more(&self) -> bool {
        matches!(self.phase, Phase::Lingering { left_bytes } if left_bytes < LINGER_BYTES)
    }

    /// Where replies wait, if some do.
    pub(crate) fn outbox(&mut self) -> Option<&mut Outbox> {
        self.outbox.as_deref_mut()
    }

    /// Takes the outbox out of a connection that is closed.
    pub(crate) fn take_outbox(&mut self) -> Option<Box<Outbox>> {
        self.outbox.take()
    }

    /// What the poller is to watch for, when that changed.
    #[inline]
    pub(crate) fn changed_interest(&mut self) -> Option<Interest> {
        let has_unsent = |outbox: &Outbox| !outbox.is_flushed();
        let is_blocked = self.outbox.as_deref().is_some_and(has_unsent);
        let interest = if is_blocked || self.transport.is_blocked() {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        (interest != self.interest).then(|| {
            self.interest = interest;
            interest
        })
    }

    /// The share of a turn: fill the inbox, answer what is whole, flush the outbox.
    #[inline]
    pub(crate) fn serve(
        &mut self,
        token: u64,
        worker: &mut Worker,
        buffers: &mut Buffers,
    ) -> Served {
        if self.transport.awaits_handshake() && !buffers.scratch.may_shake_hands {
            return Served::Handshake;
        }
        let mut inbox = match self.inbox.take() {
            None => buffers.inbox(),
            Some(inbox) => buffers.enlarge(inbox),
        };
        let mut outbox = self.outbox.take().unwrap_or_else(|| buffers.outbox());
        let served = self
            .exchange(token, worker, &mut inbox, &mut outbox, buffers)
            // Who reset the connection, or made it fail otherwise, is gone.
            .unwrap_or(Served::Closed);
        let is_idle = inbox.is_empty() && outbox.is_empty() && !self.transport.holds_part();
        if self.phase == Phase::Open && is_idle {
            self.deadlines
                .idle(worker.turn_ns(), &worker.policy().times);
        } else {
            self.note_deadlines(worker, &inbox, &outbox);
        }
        if served == Served::Closed || inbox.is_empty() {
            buffers.take_inbox(inbox);
        } else {
            self.inbox = Some(buffers.shrink(inbox));
        }
        // The outbox of a closed connection tells how many replies are awaited in it.
        if served != Served::Closed && outbox.is_empty() {
            buffers.take_outbox(outbox);
        } else {
            self.outbox = Some(outbox);
        }
        served
    }

    #[inline]
    fn exchange(
        &mut self,
        token: u64,
        worker: &mut Worker,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        buffers: &mut Buffers,
    ) -> io::Result<Served> {
        let Buffers { scratch, memo, .. } = buffers;
        let mut sent_bytes = outbox.flush(&mut self.transport, scratch)?;
        let mut again = false;
        if matches!(self.phase, Phase::Open | Phase::Ended) && !is_full(outbox, worker) {
            if self.readable && self.phase == Phase::Open && !self.undecoded {
                self.fill(inbox, worker, outbox, scratch)?;
            }
            self.undecoded = self.answer(token, worker, inbox, outbox, memo);
            again = self.undecoded;
            sent_bytes += outbox.flush(&mut self.transport, scratch)?;
        }
        worker.traffic().sent(sent_bytes);
        if self.phase == Phase::Ended && !again && outbox.is_empty() {
            // What is left of a request whose end will never come is nobody's any more.
            self.transport.say_goodbye();
            return Ok(Served::Closed);
        }
        if self.phase == Phase::Closing && outbox.is_empty() && self.transport.finish()? {
            inbox.clear();
            self.phase = Phase::Lingering {
                left_bytes: LINGER_BYTES,
            };
        }
        if let Phase::Lingering { left_bytes } = self.phase {
            return self.linger(inbox, left_bytes);
        }
        // What is not read because replies wait is read when they have gone.
        let more = self.phase == Phase::Open && self.readable;
        let again = (again || more) && !is_full(outbox, worker) || self.transport.is_cut_short();
        if !again {
            self.behind_since_ns = u64::MAX;
        } else if self.undecoded {
            self.behind_since_ns = self.behind_since_ns.min(worker.turn_ns());
        }
        Ok(if again {
            Served::Again
        } else if self.is_gone {
            // Where nothing is read, no read tells of it; who still waits for replies waits in vain.
            Served::Closed
        } else {
            Served::Waiting
        })
    }

    #[inline]
    fn fill(
        &mut self,
        inbox: &mut Inbox,
        worker: &mut Worker,
        outbox: &mut Outbox,
        scratch: &mut Scratch,
    ) -> io::Result<()> {
        let before_bytes = inbox.unparsed().len();
        let (received, emptied) = self.transport.fill(inbox, self.wanted_bytes, scratch)?;
        let bytes = inbox.unparsed().len().saturating_sub(before_bytes);
        worker.traffic().received(bytes);
        if self.deadlines.is_in_body() {
            self.deadlines.count_body(bytes);
        }
        match received {
            // A read that brought less than there was room for has emptied the socket: the read
            // that would only say so is skipped (245 ns).
            Received::Some => self.readable = self.hung_up || !emptied,
            Received::End => self.phase = Phase::Ended,
            Received::PlainHttp => {
                self.reject(&Reject::PlainHttp, worker, outbox);
            }
            // Replies that are still awaited cannot be sent any more.
            Received::Failed if !outbox.is_empty() => {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Received::Failed => {
                inbox.clear();
                self.phase = Phase::Closing;
            }
        }
        Ok(())
    }

    /// Answers what is whole, and tells whether more may be.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        token: u64,
        worker: &mut Worker,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        memo: &mut HeadMemo,
    ) -> bool {
        let mut used = 0;
        loop {
            if inbox.is_empty() {
                return false;
            }
            let mut headers = HeaderTable::new();
            let limits = &worker.policy().limits;
            let bytes = inbox.unparsed();
            match self.decoder.decode(bytes, memo, &mut headers, limits) {
                Ok(Step::Request(mut decoded)) => {
                    let more_follows = decoded.consumed < inbox.unparsed().len() || self.readable;
                    self.requests_left -= 1;
                    decoded.keep_alive &= self.requests_left > 0;
                    let sender = Sender::new(token, self.transport.peer(), more_follows);
                    let (keep_alive, cost) = match worker.refusal(&decoded) {
                        None => {
                            let keep_alive = if !worker.prepares(&decoded) {
                                worker.answer(&decoded, sender, outbox)
                            } else {
                                let decoding = &mut self.decoding;
                                match worker.prepare(&decoded, sender, decoding, outbox) {
                                    Some(keep_alive) => keep_alive,
                                    None => {
                                        self.requests_left += 1;
                                        self.decoder.put_back(inbox.unparsed(), &decoded);
                                        return true;
                                    }
                                }
                            };
                            (keep_alive, worker.queue_delay().cost_of_answer(ANSWER))
                        }
                        Some(reason) => {
                            self.decoding = None;
                            let keep_alive = worker.refuse(reason, &decoded, more_follows, outbox);
                            (keep_alive, 1)
                        }
                    };
                    let consumed = decoded.consumed;
                    inbox.consume(consumed);
                    self.wanted_bytes = 0;
                    self.deadlines.request_ended();
                    if !keep_alive {
                        self.phase = Phase::Closing;
                        return false;
                    }
                    let is_time_to_look = (used + cost) / LOOK_EVERY > used / LOOK_EVERY;
                    used += cost;
                    let is_used = is_time_to_look
                        && (used >= SHARE || worker.queue_delay().share_is_over(now_ns));
                    if is_used || is_full(outbox, worker) {
                        return true;
                    }
                }
                Ok(Step::NeedMore {
                    send_continue,
                    needed_bytes,
                }) => {
                    self.wanted_bytes = needed_bytes;
                    let sender = Sender::new(token, self.transport.peer(), true);
                    if worker.denies_early(&self.decoder, inbox.unparsed(), sender, outbox) {
                        self.phase = Phase::Closing;
                        return false;
                    }
                    if send_continue {
                        outbox.bytes().extend_from_slice(CONTINUE);
                    }
                    return false;
                }
                Ok(Step::Dechunk) => {
                    match self
                        .decoder
                        .dechunk(inbox.unparsed_mut(), &worker.policy().limits)
                    {
                        Ok(bytes) => inbox.truncate(bytes),
                        Err(reject) => return self.reject(&reject, worker, outbox),
                    }
                }
                Err(reject) => return self.reject(&reject, worker, outbox),
            }
        }
    }

    #[cold]
    fn reject(&mut self, reject: &Reject, worker: &mut Worker, outbox: &mut Outbox) -> bool {
        worker.reject(reject, outbox);
        self.phase = Phase::Closing;
        false
    }

    /// Since when it has been behind, if it is.
    pub(crate) fn behind_since_ns(&self) -> u64 {
        self.behind_since_ns
    }

    /// Throws away what comes until the client closes as well.
    #[cold]
    fn linger(&mut self, inbox: &mut Inbox, mut left_bytes: usize) -> io::Result<Served> {
        inbox.clear();
        while self.readable {
            let (read, emptied) = inbox.fill(self.transport.socket(), 0)?;
            inbox.clear();
            match read {
                Read::End => return Ok(Served::Closed),
                Read::Empty => self.readable = false,
                Read::Bytes(bytes) => {
                    left_bytes = left_bytes.saturating_sub(bytes);
                    if left_bytes == 0 {
                        return Ok(Served::Closed);
                    }
                    self.readable = self.hung_up || !emptied;
                }
            }
        }
        self.phase = Phase::Lingering { left_bytes };
        Ok(Served::Waiting)
    }
}

/// Whether so much waits to be sent that no further request is taken on.
#[inline]
fn is_full(outbox: &Outbox, worker: &Worker) -> bool {
    outbox.unsent_bytes() >= worker.policy().max_reply_buffer_bytes
        || outbox.unanswered() >= worker.policy().max_pipelined
}
