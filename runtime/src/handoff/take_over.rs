//! The new process: takes the listeners, and tells when it serves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::message::{Described, Flaw, Message, VERSION, decode, encode};
use super::{Asked, HandoffError, has_hung_up};
use crate::io::listen::{Listener, PartitionListeners, SocketOwner};
use crate::io::passing::{Channel, Received, Rendezvous, own_uid};

/// How long the old process may take for each of its messages.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// More listeners than this are taken for a mistake.
const MAX_LISTENERS: usize = 16 << 10;

/// What was taken over, while the old process still serves.
#[derive(Debug)]
pub(crate) struct Taken {
    channel: Channel,
    path: PathBuf,
    /// The old process.
    pub(crate) pid: u32,
    rendezvous: Rendezvous,
    /// The listeners, by the partition of the old process; one list when all shared them.
    listeners: Vec<PartitionListeners>,
}

/// Takes over from the process that listens at `path`; `None` when none does.
///
/// # Errors
///
/// Whatever keeps the service from being taken over; the old process then serves on.
pub(crate) fn take_over(path: &Path, asked: &Asked) -> Result<Option<Taken>, HandoffError> {
    let Some(channel) = Channel::connect(path).map_err(system(path))? else {
        return Ok(None);
    };
    let (found, wanted) = (channel.uid_of_other().map_err(system(path))?, own_uid());
    if found != wanted && found != 0 {
        let path = path.to_owned();
        return Err(HandoffError::OtherUser {
            path,
            found,
            wanted,
        });
    }
    let (pid, asked) = (std::process::id(), asked.clone());
    let hello = encode(&Message::Hello { pid, asked });
    channel.send(&hello, &[]).map_err(system(path))?;
    let (message, descriptors) = receive(&channel, path)?;
    let Message::Offer {
        pid,
        listeners,
        partitions,
    } = message
    else {
        return Err(unexpected(path, message));
    };
    let (1, 1..=MAX_LISTENERS) = (descriptors.len(), listeners) else {
        let what = format!(
            "{listeners} listeners and {} sockets of hand-offs",
            descriptors.len()
        );
        return Err(wrong(path, what));
    };
    let rendezvous = descriptors
        .into_iter()
        .next()
        .map(|fd| Rendezvous::adopt(fd, path));
    let rendezvous = rendezvous.transpose().map_err(system(path))?;
    let mut taken = Taken {
        channel,
        path: path.to_owned(),
        pid,
        rendezvous: rendezvous.ok_or_else(|| wrong(path, "no socket of hand-offs".to_owned()))?,
        listeners: vec![Vec::new(); partitions.min(listeners)],
    };
    taken.receive_listeners(listeners)?;
    Ok(Some(taken))
}

impl Taken {
    fn receive_listeners(&mut self, count: usize) -> Result<(), HandoffError> {
        let mut received = 0;
        while received < count {
            let (message, descriptors) = receive(&self.channel, &self.path)?;
            let Message::Listeners(described) = message else {
                return Err(unexpected(&self.path, message));
            };
            if described.is_empty() || described.len() != descriptors.len() {
                let (listeners, sockets) = (described.len(), descriptors.len());
                let what = format!("{listeners} listeners with {sockets} descriptors");
                return Err(wrong(&self.path, what));
            }
            received += described.len();
            for (described, fd) in described.into_iter().zip(descriptors) {
                self.adopt(&described, fd)?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, described: &Described, fd: OwnedFd) -> Result<(), HandoffError> {
        let owner = match described.is_kept.unwrap_or(!described.has_file) {
            true => SocketOwner::Giver,
            false => SocketOwner::Taker,
        };
        let listener = Listener::adopt(fd, described.scheme, owner);
        let listener = listener.map_err(|source| HandoffError::Listener {
            path: self.path.clone(),
            source,
        })?;
        let (partition, partitions) = (described.partition, self.listeners.len());
        let of_partition = self.listeners.get_mut(partition).ok_or_else(|| {
            wrong(
                &self.path,
                format!("a listener for partition {partition} of {partitions}"),
            )
        })?;
        of_partition.push(Arc::new(listener));
        Ok(())
    }

    /// The listeners for the partitions of this process, when all share them.
    pub(crate) fn shared(&self, partitions: usize) -> Vec<PartitionListeners> {
        vec![self.listeners.concat(); partitions]
    }

    /// The listeners for the partitions of this process, when each has its own. Those of partitions
    /// that this process has not go to the others, so that nobody who knows of them is refused;
    /// partitions that the old one had not are without.
    pub(crate) fn per_partition(&self, partitions: usize) -> Vec<PartitionListeners> {
        let mut dealt = vec![PartitionListeners::new(); partitions];
        for (index, listeners) in self.listeners.iter().enumerate() {
            dealt[index % partitions].extend(listeners.iter().cloned());
        }
        dealt
    }

    /// Tells the old process that this one serves, and waits until it has left the service to it.
    /// Gives the socket at which this process is to be taken over in its turn.
    ///
    /// An old process that has died does not matter: this one has all it needs. One that only does not
    /// answer is left alone, for it may serve on.
    ///
    /// # Errors
    ///
    /// The old process serves on, or may do so; or the files of the sockets are gone.
    pub(crate) fn ready(self) -> Result<Rendezvous, HandoffError> {
        let Taken {
            channel,
            path,
            pid,
            rendezvous,
            listeners,
        } = self;
        match channel.send(&encode(&Message::Ready), &[]) {
            // What it said before it hung up still waits to be read.
            Err(error) if !has_hung_up(&error) => return Err(system(&path)(error)),
            _ => {}
        }
        match receive(&channel, &path) {
            Ok((Message::Yours, _)) => {}
            Ok((message, _)) => return Err(unexpected(&path, message)),
            // It takes nothing back without a word, so it has died.
            Err(HandoffError::System { source, .. }) if has_hung_up(&source) => tracing::warn!(
                pid,
                "the process that this one took over from died before it left; serving on"
            ),
            Err(error) => return Err(error),
        }
        // No file is left behind: all are taken, whether the others are there or not.
        let taken = listeners.iter().flatten().map(|listener| listener.take());
        let taken = taken.fold(rendezvous.take(), |all, one| all & one);
        if !taken {
            return Err(HandoffError::Abandoned { path });
        }
        Ok(rendezvous)
    }
}

fn receive(channel: &Channel, path: &Path) -> Result<(Message, Vec<OwnedFd>), HandoffError> {
    let received = channel.receive(ANSWER_TIMEOUT, None).map_err(|error| {
        if error.kind() == io::ErrorKind::TimedOut {
            let waited = format!("it did not answer within {ANSWER_TIMEOUT:?}");
            return system(path)(io::Error::new(error.kind(), waited));
        }
        system(path)(error)
    })?;
    let Received { bytes, descriptors } = received;
    if bytes.is_empty() {
        let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
        return Err(system(path)(closed));
    }
    let message = decode(&bytes).map_err(|flaw| match flaw {
        Flaw::Malformed(what) => wrong(path, what),
        Flaw::Version(found) => HandoffError::Version {
            path: path.to_owned(),
            found,
            wanted: VERSION,
        },
    })?;
    match message {
        Message::Refused { reason } => Err(HandoffError::Refused {
            path: path.to_owned(),
            reason,
        }),
        message => Ok((message, descriptors)),
    }
}

fn system(path: &Path) -> impl FnOnce(io::Error) -> HandoffError {
    let path = path.to_owned();
    move |source| HandoffError::System { path, source }
}

fn wrong(path: &Path, what: String) -> HandoffError {
    HandoffError::Message {
        path: path.to_owned(),
        what,
    }
}

fn unexpected(path: &Path, message: Message) -> HandoffError {
    wrong(path, format!("{message:?} out of turn"))
}
