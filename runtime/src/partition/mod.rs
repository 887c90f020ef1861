//! A partition: one thread, its listeners, its connections, its instance of the chain.
//!
//! The turn is the page to read: wait, serve each ready connection, end the turn. A partition
//! shares nothing with the others but the listening sockets, and takes no lock; others reach it
//! through its [`Mailbox`] and see it through what it [`Published`].

mod accept;
mod arrivals;
mod bell;
pub(crate) mod buckets;
mod buffers;
mod connections;
mod deferrals;
mod drain;
mod failure;
mod handshakes;
pub(crate) mod latency;
mod mailbox;
mod overload;
mod policy;
mod prepare;
mod published;
mod refusal;
mod settle;
pub(crate) mod shed;
mod spin;
pub(crate) mod stages;
mod timeouts;
mod timers;
pub(crate) mod traffic;
pub(crate) mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use slab::Slab;
use snapback_operators::Place;

use crate::checkpoint::Marks;
use crate::connection::Served;
use crate::io::clock::unix_seconds;
use crate::io::cycle_clock::CycleClock;
use crate::io::poller::{Interest, Poller, Wait};
use crate::transport::Entrance;
pub(crate) use accept::Acceptor;
use accept::Welcome;
use arrivals::Arrivals;
pub(crate) use buffers::Buffers;
use connections::{Connections, find, key_of};
pub(crate) use deferrals::Deferrals;
pub(crate) use mailbox::{Mailbox, Phase};
pub(crate) use overload::QueueDelay;
pub(crate) use policy::Policy;
pub(crate) use published::Published;
pub(crate) use shed::TimeoutKind;
pub(crate) use spin::Spin;
pub(crate) use timers::{TimerId, Timers};
pub(crate) use worker::{Sender, Worker};

/// The poller's tokens below this are connections: a slab key and a generation.
const WAKE: u64 = u64::MAX;
const FIRST_LISTENER: u64 = u64::MAX - (1 << 20);

pub(crate) struct Partition {
    clock: CycleClock,
    poller: Poller,
    mailbox: Arc<Mailbox>,
    published: Arc<CachePadded<Published>>,
    acceptor: Acceptor,
    arrivals: Arrivals,
    entrance: Entrance,
    connections: Connections,
    /// Tells apart the connections that a slab key had one after the other.
    generation: u32,
    /// Connections with an event, or with more to do than their share of the last turn.
    ready: Vec<u64>,
    /// The next turn's `ready`, while this one is gone through.
    again: Vec<u64>,
    /// Connections that wait for a step of their TLS handshake, first come first.
    handshakes: VecDeque<u64>,
    /// Connections to which a deferred reply came, and since when it was awaited; empty between
    /// turns.
    replied: Vec<(u64, u64)>,
    /// The oldest unanswered offset of each connection that has one at the end of a turn, and a last
    /// entry that is no connection's: a set that is never empty keeps its memory.
    unanswered: BTreeSet<(u64, usize)>,
    /// Connections whose oldest unanswered offset is to be looked at when the turn ends. A batch
    /// answers within the turn, and so does not touch the set.
    changed: Vec<u64>,
    timers: Timers,
    /// Connections whose timers fired, and deferred requests whose time is over; empty between turns.
    fired: Vec<u64>,
    overdue: Vec<Place>,
    /// Waits that neither slept nor brought anything.
    empty_polls: u32,
    /// When the last connection that had requests in this turn began its share.
    begun_ns: u64,
    worker: Worker,
    buffers: Buffers,
    spin: Spin,
    phase: Phase,
    /// The number of epochs that were cut, as of the last turn.
    epoch: u64,
}

impl Partition {
    pub(crate) fn new(
        mailbox: Arc<Mailbox>,
        published: Arc<CachePadded<Published>>,
        mut acceptor: Acceptor,
        entrance: Entrance,
        worker: Worker,
        spin: Spin,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(mailbox.wake(), WAKE, Interest::Wake)?;
        acceptor.watch(&poller, FIRST_LISTENER)?;
        // What was sent to a partition that ended in a panic is its successor's to take.
        mailbox.ring();
        let mut clock = CycleClock::new();
        let now_ns = clock.now_ns();
        Ok(Partition {
            clock,
            poller,
            mailbox,
            published,
            acceptor,
            arrivals: Arrivals::new(now_ns),
            entrance,
            connections: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            again: Vec::new(),
            handshakes: VecDeque::new(),
            replied: Vec::new(),
            unanswered: BTreeSet::from([(u64::MAX, usize::MAX)]),
            changed: Vec::new(),
            timers: Timers::new(now_ns),
            fired: Vec::new(),
            overdue: Vec::new(),
            empty_polls: 0,
            begun_ns: 0,
            worker,
            buffers: Buffers::default(),
            spin,
            phase: Phase::Serving,
            epoch: 0,
        })
    }

    /// The offset that the next request gets.
    pub(crate) fn next(&self) -> u64 {
        self.worker.next()
    }

    /// Runs until the partition is stopped, or drained.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while self.phase == Phase::Serving || self.phase == Phase::Draining && !self.is_drained() {
            self.turn()?;
        }
        if self.phase == Phase::Stopping {
            self.part();
        }
        Ok(())
    }

    /// One pass of the loop.
    fn turn(&mut self) -> io::Result<()> {
        let due = self.wait()?;
        if self.ready.is_empty() && self.handshakes.is_empty() && !due {
            if self.worker.is_teed() && self.mailbox.epoch() != self.epoch {
                self.seal();
            }
            return Ok(());
        }
        let start_ns = self.clock.now_ns();
        self.published.begin_turn(start_ns);
        self.worker.set_now(unix_seconds());
        self.worker.deferrals().begin_turn(start_ns);
        self.worker.queue_delay().begin_turn(start_ns);
        let (mut served_ns, mut left) = (start_ns, self.ready.len());
        self.begun_ns = start_ns;
        let mut ready = mem::take(&mut self.ready);
        let shares = self.worker.queue_delay().shares(left);
        if shares < left {
            served_ns = self.turn_away(ready.drain(shares..), start_ns);
            left = shares;
        }
        for token in ready.drain(..) {
            self.worker.queue_delay().begin_share(served_ns, left);
            left -= 1;
            self.serve_in_turn(token, start_ns, &mut served_ns);
        }
        if !self.handshakes.is_empty() {
            self.shake_hands(start_ns, &mut served_ns);
        }
        if self.timers.next_ns() <= start_ns {
            self.look_after_timers(start_ns);
        }
        if due || self.worker.deferrals().any() {
            served_ns = self.settle();
        }
        // The emptied list is reused; what is to be served again comes first in the next turn.
        self.ready = mem::replace(&mut self.again, ready);
        self.end_turn(start_ns, served_ns);
        Ok(())
    }

    /// Serves a connection, and counts what it asked from the beginning of the turn on.
    #[inline]
    fn serve_in_turn(&mut self, token: u64, start_ns: u64, served_ns: &mut u64) {
        if let Some(connection) = find(&mut self.connections, token) {
            connection.is_ready = false;
        }
        let before = self.worker.answered();
        self.serve(token);
        let requests = self.worker.answered() - before;
        if requests > 0 {
            self.begun_ns = *served_ns;
            *served_ns = self.clock.now_ns();
            self.published
                .latencies
                .record(*served_ns - start_ns, requests);
        }
    }

    /// Serves the connections that have no share of an overloaded turn, and gives the time when that
    /// was done.
    #[cold]
    fn turn_away(&mut self, tokens: impl Iterator<Item = u64>, start_ns: u64) -> u64 {
        let mut served_ns = start_ns;
        for token in tokens {
            self.worker.queue_delay().begin_no_share();
            self.serve_in_turn(token, start_ns, &mut served_ns);
        }
        let served_ns = self.clock.now_ns();
        self.worker.queue_delay().begin_shares(served_ns);
        served_ns
    }

    /// Takes events, and messages when there are some. Sleeps only when nothing is left to do.
    /// Tells whether a turn is due though no connection is ready.
    #[inline]
    fn wait(&mut self) -> io::Result<bool> {
        let wait = if self.has_work() || self.spin.look_again(|| self.clock.now_ns()) {
            Wait::Poll
        } else if self.mailbox.may_sleep() {
            self.sleep()
        } else {
            Wait::Poll
        };
        let (mut woken, mut listeners) = (false, 0u32);
        let (connections, ready) = (&mut self.connections, &mut self.ready);
        let mut next = wait;
        loop {
            let before = ready.len();
            let is_all = self.poller.wait(next, |event| match event.token {
                WAKE => woken = true,
                token if token >= FIRST_LISTENER => {
                    listeners |= 1 << (token - FIRST_LISTENER).min(31);
                }
                token => {
                    if let Some(connection) = find(connections, token) {
                        connection.note_event(event.hung_up, event.is_gone);
                        if !mem::replace(&mut connection.is_ready, true) {
                            ready.push(token);
                        }
                    }
                }
            })?;
            // A turn has all connections before it that are ready, or it would not know how long
            // the others wait.
            if is_all || ready.len() == before {
                break;
            }
            next = Wait::Poll;
        }
        if wait != Wait::Poll {
            self.mailbox.awake();
        }
        if woken {
            self.mailbox.wake().clear();
        }
        // A partition that never sleeps is never woken: it looks at its mailbox at each turn.
        let mut completed = false;
        if self.mailbox.has_news() {
            self.take_messages()?;
            completed = self.mailbox.take_completed();
        }
        if listeners != 0 || self.acceptor.is_paused() {
            self.accept(listeners)?;
        }
        // A future may also have ended whose client is gone: its output is still to be taken.
        Ok(completed || !self.has_work() && self.is_due(wait != Wait::Poll))
    }

    /// Whether connections wait for their share of the next turn.
    #[inline]
    fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.handshakes.is_empty()
    }

    #[inline]
    fn serve(&mut self, token: u64) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        match connection.serve(token, &mut self.worker, &mut self.buffers) {
            Served::Waiting => self.after_serve(token),
            Served::Again => {
                let since_ns = connection.behind_since_ns();
                self.worker.queue_delay().note_behind(since_ns);
                if !mem::replace(&mut connection.is_ready, true) {
                    self.again.push(token);
                }
                self.after_serve(token);
            }
            Served::Handshake => {
                connection.is_ready = true;
                self.handshakes.push_back(token);
            }
            Served::Closed => self.close(token),
        }
    }

    /// Notes whether the oldest unanswered request of a connection changed. Watches for room to
    /// write only while there is something to write: nobody else pays for it.
    #[inline]
    fn after_serve(&mut self, token: u64) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        if connection.oldest_unanswered() != connection.known_unanswered {
            self.changed.push(token);
        }
        let timer_ns = connection.timer.map_or(u64::MAX, |(_, timer_ns)| timer_ns);
        let is_late = connection.due_ns() < timer_ns;
        if let Some(interest) = connection.changed_interest()
            && self
                .poller
                .change(connection.socket(), token, interest)
                .is_err()
        {
            return self.close(token);
        }
        if is_late {
            self.arm(token);
        }
    }

    /// Forgets a connection; its unanswered requests have nobody left to wait for them.
    fn close(&mut self, token: u64) {
        let (_, mut connection) = self.connections.remove(key_of(token));
        if let Some(offset) = connection.known_unanswered {
            self.unanswered.remove(&(offset, key_of(token)));
        }
        if let Some((timer, _)) = connection.timer {
            self.timers.cancel(timer);
        }
        if let Some(outbox) = connection.take_outbox() {
            self.worker
                .deferrals()
                .remove(outbox.awaited_slots().count());
            self.buffers.take_outbox(outbox);
        }
        if connection.is_turned_away() {
            self.arrivals.turned_away -= 1;
        } else {
            self.arrivals.note_end(self.worker.turn_ns());
            self.mailbox.connection_ended();
        }
    }

    /// Notes the oldest unanswered request of the connections where it changed.
    fn note_unanswered(&mut self) {
        for token in self.changed.drain(..) {
            let key = key_of(token);
            let Some(connection) = find(&mut self.connections, token) else {
                continue;
            };
            let oldest = connection.oldest_unanswered();
            let known = mem::replace(&mut connection.known_unanswered, oldest);
            if known == oldest {
                continue;
            }
            // The new entry comes first, so that nothing of the set's memory is given back between.
            if let Some(offset) = oldest {
                self.unanswered.insert((offset, key));
            }
            if let Some(offset) = known {
                self.unanswered.remove(&(offset, key));
            }
        }
    }

    /// Publishes the marks. The low-water mark is below the oldest request that a connection still
    /// has to answer; without one, everything handed out is settled.
    #[inline]
    fn end_turn(&mut self, start_ns: u64, served_ns: u64) {
        if !self.changed.is_empty() {
            self.note_unanswered();
        }
        let Marks { next, settled } = self.marks();
        self.published.publish(next, settled);
        self.published.end_turn(served_ns - start_ns);
        let waiting = self.worker.deferrals().waiting();
        self.published
            .traffic
            .end_turn(served_ns - start_ns, waiting);
        self.worker.queue_delay().end_turn(self.begun_ns, served_ns);
        if self.worker.queue_delay().sheds() {
            self.published.traffic.overloaded(served_ns);
        }
        // What an epoch adds to a turn is measured at the turns that end one; the clock is not
        // read for the others.
        if self.mailbox.epoch() != self.epoch {
            self.seal();
            self.published
                .note_end_of_turn(self.clock.now_ns() - served_ns);
        }
        self.spin.after_turn(served_ns, served_ns > start_ns);
    }

    #[inline]
    fn marks(&self) -> Marks {
        let next = self.worker.next();
        let oldest = self.unanswered.first().map_or(next, |(offset, _)| *offset);
        let settled = oldest.min(next);
        Marks { next, settled }
    }

    /// Ends an epoch: what a tee has noted is handed over. Where there is no room for it now, it is
    /// tried again at the next turn.
    #[cold]
    fn seal(&mut self) {
        let epoch = self.mailbox.epoch();
        if self.worker.seal(epoch, self.marks()) {
            self.epoch = epoch;
        }
    }

    fn take_messages(&mut self) -> io::Result<()> {
        while let Some(arrival) = self.mailbox.take_accepted() {
            self.admit(arrival, Welcome::Taken);
        }
        let phase = self.mailbox.phase();
        if phase > self.phase && mem::replace(&mut self.phase, phase) == Phase::Serving {
            self.begin_drain();
        }
        Ok(())
    }
}

/// Connections that a partition leaves behind, when it ends or panicked, are not counted any more.
impl Drop for Partition {
    fn drop(&mut self) {
        if self.mailbox.is_retired() {
            return;
        }
        (self.arrivals.turned_away..self.connections.len())
            .for_each(|_| self.mailbox.connection_ended());
    }
}
