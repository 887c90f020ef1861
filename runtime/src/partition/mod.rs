//! A partition: one thread, its listeners, its connections, its instance of the chain.
//!
//! The turn is the page to read: wait, serve each ready connection, end the turn. A partition
//! shares nothing with the others but the listening sockets, and takes no lock; others reach it
//! through its [`Mailbox`] and see it through what it [`Published`].

mod accept;
mod bell;
mod buffers;
pub(crate) mod latency;
mod mailbox;
mod published;
mod spin;
mod worker;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use slab::Slab;
use snapback_operators::Peer;

use crate::connection::{Connection, Served};
use crate::io::clock::{now_ns, unix_seconds};
use crate::io::poller::{Interest, Poller, Wait};
use crate::io::socket::Socket;
pub(crate) use accept::Acceptor;
pub(crate) use buffers::Buffers;
pub(crate) use mailbox::{Mailbox, Phase};
pub(crate) use published::Published;
pub(crate) use spin::Spin;
pub(crate) use worker::{Policy, Worker};

/// The poller's tokens below this are connections: a slab key and a generation.
const WAKE: u64 = u64::MAX;
const FIRST_LISTENER: u64 = u64::MAX - (1 << 20);

pub(crate) struct Partition {
    poller: Poller,
    mailbox: Arc<Mailbox>,
    published: Arc<CachePadded<Published>>,
    acceptor: Acceptor,
    connections: Slab<(u32, Box<Connection>)>,
    /// Tells apart the connections that a slab key had one after the other.
    generation: u32,
    /// Connections with an event, or with more to do than their share of the last turn.
    ready: Vec<u64>,
    /// The next turn's `ready`, while this one is gone through.
    again: Vec<u64>,
    /// The oldest unanswered offset of each connection that has one at the end of a turn.
    unanswered: BTreeSet<(u64, usize)>,
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
        worker: Worker,
        spin: Spin,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(mailbox.wake(), WAKE, Interest::Wake)?;
        acceptor.watch(&poller, FIRST_LISTENER)?;
        Ok(Partition {
            poller,
            mailbox,
            published,
            acceptor,
            connections: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            again: Vec::new(),
            unanswered: BTreeSet::new(),
            worker,
            buffers: Buffers::default(),
            spin,
            phase: Phase::Serving,
            epoch: 0,
        })
    }

    /// Runs until the partition is stopped, or drained.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while self.phase == Phase::Serving
            || self.phase == Phase::Draining && !self.connections.is_empty()
        {
            self.turn()?;
        }
        Ok(())
    }

    /// One pass of the loop.
    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        if self.ready.is_empty() {
            return Ok(());
        }
        let start_ns = now_ns();
        self.worker.set_now(unix_seconds());
        let first = self.worker.next();
        let mut served_ns = start_ns;
        let mut ready = std::mem::take(&mut self.ready);
        for token in ready.drain(..) {
            let before = self.worker.next();
            self.serve(token);
            let requests = self.worker.next() - before;
            if requests > 0 {
                served_ns = now_ns();
                self.published
                    .latencies
                    .record(served_ns - start_ns, requests);
            }
        }
        // The emptied list is reused; what is to be served again comes first in the next turn.
        self.ready = std::mem::replace(&mut self.again, ready);
        self.end_turn(start_ns, served_ns, self.worker.next() > first);
        Ok(())
    }

    /// Takes events, and messages when there are some. Sleeps only when nothing is left to do.
    #[inline]
    fn wait(&mut self) -> io::Result<()> {
        let wait = if !self.ready.is_empty() || self.spin.look_again(now_ns) {
            Wait::Poll
        } else if self.mailbox.may_sleep(self.phase) {
            self.acceptor.pause_left().map_or(Wait::Block, Wait::AtMost)
        } else {
            Wait::Poll
        };
        let (mut woken, mut listeners) = (false, 0u32);
        let (connections, ready) = (&mut self.connections, &mut self.ready);
        self.poller.wait(wait, |event| match event.token {
            WAKE => woken = true,
            token if token >= FIRST_LISTENER => listeners |= 1 << (token - FIRST_LISTENER).min(31),
            token => {
                if let Some(connection) = find(connections, token) {
                    connection.note_event(event.hung_up);
                    ready.push(token);
                }
            }
        })?;
        if wait != Wait::Poll {
            self.mailbox.awake();
        }
        if woken {
            self.mailbox.wake().clear();
        }
        // A partition that never sleeps is never woken: it looks at its mailbox at each turn.
        self.take_messages()?;
        if listeners != 0 || self.acceptor.is_paused() {
            self.accept(listeners)?;
        }
        Ok(())
    }

    #[inline]
    fn serve(&mut self, token: u64) {
        let key = key_of(token);
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        let served = connection.serve(&mut self.worker, &mut self.buffers);
        let oldest = connection.oldest_unanswered();
        if oldest != connection.known_unanswered {
            if let Some(offset) = connection.known_unanswered {
                self.unanswered.remove(&(offset, key));
            }
            if let Some(offset) = oldest {
                self.unanswered.insert((offset, key));
            }
            connection.known_unanswered = oldest;
        }
        match served {
            Served::Waiting => self.watch(token),
            Served::Again => {
                self.watch(token);
                self.again.push(token);
            }
            Served::Closed => self.close(token),
        }
    }

    /// Watches for room to write only while there is something to write: nobody else pays for it.
    #[inline]
    fn watch(&mut self, token: u64) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        if let Some(interest) = connection.changed_interest()
            && self
                .poller
                .change(connection.socket(), token, interest)
                .is_err()
        {
            self.close(token);
        }
    }

    /// Forgets a connection; its unanswered requests have nobody left to wait for them.
    fn close(&mut self, token: u64) {
        let (_, connection) = self.connections.remove(key_of(token));
        if let Some(offset) = connection.known_unanswered {
            self.unanswered.remove(&(offset, key_of(token)));
        }
        self.mailbox.connection_ended();
    }

    /// Publishes the marks. The low-water mark is below the oldest request that a connection still
    /// has to answer; without one, everything handed out is settled.
    #[inline]
    fn end_turn(&mut self, start_ns: u64, served_ns: u64, served: bool) {
        let next = self.worker.next();
        let settled = self.unanswered.first().map_or(next, |(offset, _)| *offset);
        self.published.publish(next, settled);
        self.published.note_turn(served_ns - start_ns);
        // What an epoch adds to a turn is measured at the turns that end one; the clock is not
        // read for the others.
        let epoch = self.mailbox.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            self.published.note_end_of_turn(now_ns() - served_ns);
        }
        self.spin.after_turn(served_ns, served);
    }

    fn take_messages(&mut self) -> io::Result<()> {
        while let Some((socket, peer)) = self.mailbox.take_accepted() {
            self.admit(socket, peer);
        }
        let phase = self.mailbox.phase();
        if phase > self.phase {
            self.phase = phase;
            if phase == Phase::Draining {
                self.worker.drain();
                // Who waits in the backlog was told by the kernel that it is connected.
                self.accept(u32::MAX)?;
                self.acceptor.close(&self.poller);
            }
        }
        Ok(())
    }

    fn accept(&mut self, listeners: u32) -> io::Result<()> {
        let mut own = Vec::new();
        self.acceptor
            .accept(&self.poller, listeners, |socket, peer| {
                own.push((socket, peer))
            })?;
        for (socket, peer) in own {
            self.admit(socket, peer);
        }
        Ok(())
    }

    /// Takes a connection in; it is served in this turn already, for its first request is often
    /// there. It was counted when it was accepted.
    fn admit(&mut self, socket: Socket, peer: Peer) {
        let entry = self.connections.vacant_entry();
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let token = u64::from(self.generation) << 32 | entry.key() as u64;
        match self.poller.add(&socket, token, Interest::Read) {
            Ok(()) => {
                entry.insert((self.generation, Box::new(Connection::new(socket, peer))));
                self.ready.push(token);
            }
            Err(error) => {
                tracing::error!(%peer, %error, "cannot watch a new connection: closed");
                self.mailbox.connection_ended();
            }
        }
    }
}

fn key_of(token: u64) -> usize {
    token as u32 as usize
}

/// The connection of a token, unless it is gone.
#[inline]
fn find(connections: &mut Slab<(u32, Box<Connection>)>, token: u64) -> Option<&mut Connection> {
    let (generation, connection) = connections.get_mut(key_of(token))?;
    (*generation == (token >> 32) as u32).then_some(&mut **connection)
}
