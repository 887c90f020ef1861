//! The epoch thread's side of a tee: one epoch at a time goes to the sink, and then to the
//! checkpoint.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::Message;
use super::backoff::Backoff;
use crate::error::{Error, Result};
use crate::tee::{Command, Resume, Tee, TeeSeen, TeeThread};

pub(crate) struct Teeing {
    tee: Arc<Tee>,
    commands: Sender<Command>,
    thread: JoinHandle<()>,
    /// The epoch that is being written.
    in_flight: Option<u64>,
    /// The epoch that is open; counted here for a query without a checkpoint.
    epoch: u64,
    backoff: Backoff,
}

impl Teeing {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(crate) fn begin(
        thread: TeeThread,
        tee: Arc<Tee>,
        to_epoch_thread: Sender<Message>,
    ) -> Result<Self> {
        let (commands, to_do) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("snapback-tee".to_owned())
            .spawn(move || thread.run(&to_do, &to_epoch_thread))
            .map_err(Error::system("cannot start the thread of the tee"))?;
        Ok(Teeing {
            tee,
            commands,
            thread,
            in_flight: None,
            epoch: 0,
            backoff: Backoff::new(),
        })
    }

    /// The epoch that is open, where no checkpoint counts.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Begins to write what was served until now, unless the last such write goes on, or it is too
    /// early for another try. Tells whether it did.
    pub(super) fn cut(&mut self, epoch: u64, resume: Resume, now: Instant) -> bool {
        if self.in_flight.is_some() || self.backoff.is_waiting(now) {
            return false;
        }
        self.in_flight = Some(epoch);
        // The thread ends when this end of the channel does.
        self.commands.send(Command::Cut { epoch, resume }).is_ok()
    }

    /// The write that was in flight succeeded: which epoch it was.
    pub(super) fn wrote(&mut self, rows: usize) -> Option<u64> {
        self.backoff.succeeded();
        if rows > 0 {
            self.epoch += 1;
        }
        self.in_flight.take()
    }

    /// The write that was in flight failed.
    pub(super) fn failed(&mut self, why: &str, now: Instant) {
        // Outside of the macro, whose arguments are not evaluated where nobody logs.
        let epoch = self.in_flight.take();
        tracing::error!(epoch, error = why, retry_after = ?self.backoff.after(),
            "cannot write to the sink; serving goes on");
        self.backoff.failed(now);
    }

    /// The next try is not put off any more.
    pub(super) fn is_last_chance(&mut self) {
        self.backoff.is_last_chance();
    }

    /// The checkpoint has this epoch.
    pub(super) fn committed(&self, epoch: u64) {
        let _ = self.commands.send(Command::Committed { epoch });
    }

    pub(super) fn seen(&self) -> TeeSeen {
        self.tee.read()
    }

    /// Ends the thread, and with it the sink; returns when that is done.
    pub(super) fn end(self) {
        drop(self.commands);
        // It catches the panics of the sink.
        let _ = self.thread.join();
    }
}
