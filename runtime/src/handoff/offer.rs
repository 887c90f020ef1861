//! The old process: offers its listeners, and leaves when another process serves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{Described, Flaw, Message, decode, encode};
use super::{Asked, has_hung_up};
use crate::epoch;
use crate::io::event_fd::EventFd;
use crate::io::listen::Listener;
use crate::io::passing::{Channel, MAX_DESCRIPTORS, Rendezvous, own_uid};
use crate::query::Shared;

/// How long a process that connected may take to say what it wants.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a new process may take from the listeners until it serves.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process that wants to take over waits for the lock that this one still waits for. Less
/// than the time that it gives for an answer.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the offer rests after the system refused something, so that it does not spin over it.
const PAUSE: Duration = Duration::from_millis(100);

/// What a process offers.
pub(crate) struct Offered {
    pub(crate) asked: Asked,
    /// By partition; one list when all share them. Not kept open: only partitions do that, so that
    /// they can close them.
    pub(crate) listeners: Vec<Vec<Weak<Listener>>>,
    pub(crate) query: Arc<Shared>,
    pub(crate) epoch_thread: Sender<epoch::Message>,
}

/// The offer of a running query, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Offering {
    stop: Arc<EventFd>,
}

impl Offering {
    /// Begins to offer, on a thread of its own.
    pub(crate) fn begin(rendezvous: Rendezvous, offered: Offered) -> io::Result<Offering> {
        let stop = Arc::new(EventFd::new()?);
        let offer = Offer {
            rendezvous,
            offered,
            stop: Arc::clone(&stop),
        };
        thread::Builder::new()
            .name("snapback-handoff".to_owned())
            .spawn(move || {
                // What the thread logs says of which query it is.
                let query = offer.offered.query.name.clone();
                let _span = tracing::error_span!("handoff", query).entered();
                offer.run();
            })?;
        Ok(Offering { stop })
    }
}

/// Whoever is in the middle of taking over finds the conversation closed.
impl Drop for Offering {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

struct Offer {
    rendezvous: Rendezvous,
    offered: Offered,
    stop: Arc<EventFd>,
}

/// Why the other process does not take over.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the query here ends; start the new process again when it has ended")]
    Ends,
    #[error("it runs as user {0}")]
    OtherUser(u32),
    #[error("it sent {0}")]
    Message(String),
    #[error("{0}")]
    Refused(String),
    #[error("it closed the connection")]
    Closed,
    #[error("it said nothing for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Offer {
    /// One process at a time, until one has taken over, or the query ends.
    fn run(self) {
        loop {
            let channel = match self.rendezvous.accept(&self.stop) {
                Ok(Some(channel)) => channel,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "cannot talk to a process that wants to take over");
                    thread::park_timeout(PAUSE);
                    continue;
                }
            };
            match self.hand_over(&channel) {
                Ok(pid) => {
                    tracing::info!(pid, "another process has taken over; draining");
                    let _ = self
                        .offered
                        .epoch_thread
                        .send(epoch::Message::HandedOver { pid });
                    return;
                }
                Err(reason) => {
                    tracing::warn!(%reason, "a process did not take over");
                }
            }
        }
    }

    /// Gives the process that has taken over.
    ///
    /// All is given away before it is sent, and taken back only from a process that is gone, or was
    /// told: at no moment could both remove a socket file, or this one shut down what the other serves.
    fn hand_over(&self, channel: &Channel) -> Result<u32, Failed> {
        let uid = channel.uid_of_other()?;
        if uid != own_uid() && uid != 0 {
            return Err(Failed::OtherUser(uid));
        }
        let greeted = self.greet(channel);
        let pid = greeted.inspect_err(|reason| {
            refuse(channel, reason);
        })?;
        let listeners = self.listeners();
        self.rendezvous.give();
        listeners.iter().for_each(|(_, listener)| listener.give());
        self.leave(channel, &listeners).inspect_err(|reason| {
            if refuse(channel, reason) {
                self.rendezvous.take();
                listeners.iter().for_each(|(_, listener)| {
                    listener.take();
                });
            }
        })?;
        Ok(pid)
    }

    /// Learns what the other process wants, and who it is.
    fn greet(&self, channel: &Channel) -> Result<u32, Failed> {
        match self.receive(channel, HELLO_TIMEOUT, Some(&self.stop))? {
            Message::Hello { pid, asked } => self.check(&asked).map(|()| pid),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Sends the listeners, and leaves the service to the other process when that serves.
    ///
    /// A query that ends meanwhile leaves it at once: the other has all it needs, and nobody else would
    /// serve. If the other comes to nothing after all, the files are removed as in any end.
    fn leave(&self, channel: &Channel, listeners: &Listeners) -> Result<(), Failed> {
        // Whoever ends this query raises `stop` before a partition closes a listener. So when it is not
        // raised here, no partition has closed one that was not yet given away.
        if self.stop.is_raised() {
            return Err(Failed::Ends);
        }
        self.send_listeners(channel, listeners)?;
        match self.receive(channel, READY_TIMEOUT, Some(&self.stop)) {
            Ok(Message::Ready) => say(channel, &Message::Yours, &[]),
            Ok(other) => Err(out_of_turn(&other)),
            Err(Failed::Ends) => {
                say(channel, &Message::Yours, &[])?;
                match self.receive(channel, READY_TIMEOUT, None) {
                    Err(Failed::Closed) => Err(Failed::Closed),
                    // It was told, and that is not taken back, whatever it says.
                    _ => Ok(()),
                }
            }
            Err(reason) => Err(reason),
        }
    }

    fn check(&self, asked: &Asked) -> Result<(), Failed> {
        let own = &self.offered.asked;
        if asked != own {
            return Err(Failed::Refused(format!(
                "it serves {own}, and was asked for {asked}; give the new process the same, or stop \
                 this one first"
            )));
        }
        let until = Instant::now() + LOCK_PATIENCE;
        while self.offered.query.awaited_lock().is_some() && Instant::now() < until {
            thread::park_timeout(PAUSE);
        }
        if let Some(holder) = self.offered.query.awaited_lock() {
            return Err(Failed::Refused(format!(
                "it has just taken over itself, and waits for the checkpoint of {holder}, which \
                 drains; try again when that process has ended"
            )));
        }
        Ok(())
    }

    /// The listeners that are open, each with its partition.
    fn listeners(&self) -> Vec<(usize, Arc<Listener>)> {
        (0..)
            .zip(&self.offered.listeners)
            .flat_map(|(partition, own)| own.iter().map(move |weak| (partition, weak.upgrade())))
            .filter_map(|(partition, listener)| Some((partition, listener?)))
            .collect()
    }

    fn send_listeners(&self, channel: &Channel, listeners: &Listeners) -> Result<(), Failed> {
        let offer = Message::Offer {
            pid: std::process::id(),
            listeners: listeners.len(),
            partitions: self.offered.listeners.len(),
        };
        say(channel, &offer, &[self.rendezvous.as_fd()])?;
        for some in listeners.chunks(MAX_DESCRIPTORS) {
            let described = some.iter().map(|(partition, listener)| Described {
                partition: *partition,
                scheme: listener.scheme(),
                has_file: listener.has_file(),
                is_kept: Some(listener.is_kept()),
            });
            let described = Message::Listeners(described.collect());
            let fds: Vec<BorrowedFd<'_>> = some.iter().map(|(_, it)| it.as_fd()).collect();
            say(channel, &described, &fds)?;
        }
        Ok(())
    }

    /// The next message, within the time; with `stop`, not after the query began to end.
    fn receive(
        &self,
        channel: &Channel,
        within: Duration,
        stop: Option<&EventFd>,
    ) -> Result<Message, Failed> {
        let received = channel.receive(within, stop);
        let received = received.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Failed::Silent(within),
            io::ErrorKind::Interrupted => Failed::Ends,
            _ => Failed::System(error),
        })?;
        if received.bytes.is_empty() {
            return Err(Failed::Closed);
        }
        decode(&received.bytes).map_err(|flaw| {
            Failed::Message(match flaw {
                Flaw::Malformed(what) => what,
                Flaw::Version(version) => format!("a message of version {version}"),
            })
        })
    }
}

type Listeners = [(usize, Arc<Listener>)];

fn say(channel: &Channel, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), Failed> {
    let sent = channel.send(&encode(message), fds);
    sent.map_err(|error| match has_hung_up(&error) {
        true => Failed::Closed,
        false => Failed::System(error),
    })
}

/// Tells the other process why it must not serve; whether it knows now, or is gone.
fn refuse(channel: &Channel, reason: &Failed) -> bool {
    let reason = reason.to_string();
    match say(channel, &Message::Refused { reason }, &[]) {
        Ok(()) | Err(Failed::Closed) => true,
        Err(_) => false,
    }
}

fn out_of_turn(message: &Message) -> Failed {
    Failed::Message(format!("{message:?} out of turn"))
}
