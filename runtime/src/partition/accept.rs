//! Taking connections in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Mailbox;
use crate::io::clock::now_ns;
use crate::io::listen::{BACKLOG, Listener};
use crate::io::poller::{Interest, Poller};
use crate::io::socket::Socket;
use crate::transport::Arrival;

/// Connections that one listener may bring in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long nothing is accepted once descriptors or memory ran out: the listener would stay ready,
/// and the partition would spin over an error.
const PAUSE: Duration = Duration::from_millis(100);

/// The listeners of a partition, and who gets what they bring.
pub(crate) struct Acceptor {
    listeners: Vec<Arc<Listener>>,
    /// The mailboxes of all partitions, when they share their listeners.
    shared: Option<Arc<[Arc<Mailbox>]>>,
    own: Arc<Mailbox>,
    /// Beyond so many, over all of `shared`, a connection is turned away.
    max_connections: usize,
    first_token: u64,
    /// Until when nothing is accepted; [`u64::MAX`] when it is.
    paused_until_ns: u64,
}

/// What becomes of a connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// It is counted, and will be served.
    Taken,
    /// `maxConnections` are open: it is told so, and is not counted.
    TurnedAway,
}

impl Acceptor {
    pub(crate) fn new(
        listeners: Vec<Arc<Listener>>,
        own: Arc<Mailbox>,
        shared: Option<Arc<[Arc<Mailbox>]>>,
        max_connections: usize,
    ) -> Self {
        Acceptor {
            listeners,
            shared,
            own,
            max_connections,
            first_token: 0,
            paused_until_ns: u64::MAX,
        }
    }

    /// Watches the listeners under the tokens from `first_token` on.
    pub(crate) fn watch(&mut self, poller: &Poller, first_token: u64) -> io::Result<()> {
        self.first_token = first_token;
        for (token, listener) in (first_token..).zip(&self.listeners) {
            poller.add(&**listener, token, Interest::Accept)?;
        }
        Ok(())
    }

    /// Accepts at the listeners whose bits are set, and gives to `keep` what is this partition's
    /// own. A connection goes to the partition that has the fewest; one too many is this partition's
    /// to turn away, and is not counted.
    pub(crate) fn accept(
        &mut self,
        poller: &Poller,
        listeners: u32,
        mut keep: impl FnMut(Arrival, Welcome),
    ) -> io::Result<()> {
        if self.is_paused() {
            if now_ns() < self.paused_until_ns {
                return Ok(());
            }
            self.paused_until_ns = u64::MAX;
            self.watch(poller, self.first_token)?;
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            if listeners & (1 << index.min(31)) == 0 {
                continue;
            }
            for _ in 0..ACCEPTS_PER_TURN {
                match accept(listener) {
                    Ok(Some(arrival)) => self.place(arrival, &mut keep),
                    Ok(None) => break,
                    Err(error) => {
                        self.pause(poller, &error);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn place(&self, arrival: Arrival, keep: &mut impl FnMut(Arrival, Welcome)) {
        let all = self.shared.as_deref();
        let all = all.unwrap_or(std::slice::from_ref(&self.own));
        let open: usize = all.iter().map(|mailbox| mailbox.connections()).sum();
        if open >= self.max_connections {
            return keep(arrival, Welcome::TurnedAway);
        }
        let Some(mailboxes) = &self.shared else {
            self.own.count_connection();
            return keep(arrival, Welcome::Taken);
        };
        let chosen = Mailbox::fewest_connections(mailboxes);
        if std::ptr::eq(chosen, &*self.own) {
            return keep(arrival, Welcome::Taken);
        }
        if let Err(arrival) = chosen.hand_over(arrival) {
            chosen.connection_ended();
            self.own.count_connection();
            keep(arrival, Welcome::Taken);
        }
    }

    #[cold]
    fn pause(&mut self, poller: &Poller, reason: &io::Error) {
        tracing::error!(
            %reason,
            "cannot accept connections for {PAUSE:?}; if descriptors ran out, raise `ulimit -n`"
        );
        self.unwatch(poller);
        self.paused_until_ns = now_ns() + PAUSE.as_nanos() as u64;
    }

    /// Takes what still waits at the listeners, and closes them, once the last partition that has
    /// them does so: who waits in the backlog was told by the kernel that it is connected.
    ///
    /// They are not watched any more before that. Of all that watch a listener the kernel wakes
    /// one: a connection that woke this partition is taken here, and later ones wake the others,
    /// which may be of another process.
    pub(crate) fn close(&mut self, poller: &Poller, mut keep: impl FnMut(Arrival, Welcome)) {
        self.unwatch(poller);
        self.paused_until_ns = u64::MAX;
        for listener in std::mem::take(&mut self.listeners) {
            if let Err(reason) = listener.let_nobody_in() {
                tracing::debug!(%reason, "who connects in this moment may be reset");
            }
            for _ in 0..BACKLOG {
                match accept(&listener) {
                    Ok(Some(arrival)) => self.place(arrival, &mut keep),
                    Ok(None) => break,
                    // A Unix listener that lets nobody in says so when nobody waits any more.
                    Err(reason) if reason.kind() == io::ErrorKind::InvalidInput => break,
                    Err(reason) => {
                        tracing::error!(%reason, "connections that wait cannot be accepted any more");
                        break;
                    }
                }
            }
        }
    }

    fn unwatch(&self, poller: &Poller) {
        for listener in &self.listeners {
            // It fails only when the listener is not watched, which is what is wanted.
            let _ = poller.remove(&**listener);
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_until_ns < u64::MAX
    }

    /// Until when accepting is paused; [`u64::MAX`] when it is not.
    #[inline]
    pub(crate) fn paused_until_ns(&self) -> u64 {
        self.paused_until_ns
    }
}

/// Takes the next connection that waits at a listener, if any.
fn accept(listener: &Listener) -> io::Result<Option<Arrival>> {
    let accepted = Socket::accept(listener)?;
    Ok(accepted.map(|(socket, peer)| Arrival {
        socket,
        peer,
        scheme: listener.scheme(),
    }))
}
