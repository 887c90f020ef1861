//! The tee's thread: gathers the rows of an epoch, and writes them to the sink.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use snapback_operators::discard_payload;

use super::pipe::{Part, Pipe};
use super::served::Served;
use super::sink::{Opening, Resume, SinkError, TeeSink};
use super::state::Tee;
use crate::checkpoint::Marks;
use crate::epoch::Message;
use crate::partition::{Mailbox, Published};

/// How often it looks whether the parts have come: at first, and at most. A partition that is awake
/// hands over within a turn, and is not made to wake somebody.
const FIRST_LOOK: Duration = Duration::from_micros(50);
const LAST_LOOK: Duration = Duration::from_millis(5);

/// What the tee's thread is told.
pub(crate) enum Command {
    /// Write what was served until now as this epoch, which comes behind the one to resume from.
    Cut { epoch: u64, resume: Resume },
    /// The checkpoint has this epoch.
    Committed { epoch: u64 },
}

/// What became of a cut.
#[derive(Debug)]
pub(crate) struct Teed {
    /// The marks of the partitions at its end; why it failed.
    pub(crate) outcome: Result<BTreeMap<u32, Marks>, String>,
    /// How many rows were written.
    pub(crate) rows: usize,
}

/// What it has of a partition.
pub(crate) struct TeedPartition {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) published: Arc<CachePadded<Published>>,
    pub(crate) pipe: Arc<Pipe>,
}

pub(crate) struct TeeThread {
    sink: Box<dyn TeeSink>,
    /// What it is opened with, until it is.
    opening: Option<Opening>,
    partitions: Vec<TeedPartition>,
    /// Rows that are gathered and not in the sink, and which partition's they are.
    held: Vec<(usize, Served)>,
    tee: Arc<Tee>,
    query: String,
}

impl TeeThread {
    /// `opening` is that of a sink which is not open yet.
    pub(crate) fn new(
        sink: Box<dyn TeeSink>,
        opening: Option<Opening>,
        partitions: Vec<TeedPartition>,
        tee: Arc<Tee>,
        query: String,
    ) -> Self {
        TeeThread {
            sink,
            opening,
            partitions,
            held: Vec::new(),
            tee,
            query,
        }
    }

    /// Runs until nobody can tell it anything any more.
    pub(crate) fn run(mut self, commands: &Receiver<Command>, epoch_thread: &Sender<Message>) {
        let _span = tracing::error_span!("tee", query = self.query).entered();
        for command in commands {
            match command {
                Command::Cut { epoch, resume } => {
                    let teed = self.cut(epoch, resume);
                    // The epoch thread is gone only when it waits for nothing any more.
                    let _ = epoch_thread.send(Message::Teed(teed));
                }
                Command::Committed { epoch } => {
                    if let Err(error) = guarded(|| self.sink.committed(epoch)) {
                        tracing::warn!(epoch, %error, "the sink did not tidy up");
                    }
                }
            }
        }
    }

    fn cut(&mut self, epoch: u64, resume: Resume) -> Teed {
        self.tee.begin();
        let marks = self.gather();
        let rows = self.held.iter().map(|(_, rows)| rows.len()).sum();
        let written = self.open(resume).and_then(|()| self.write(epoch));
        match written {
            Ok(()) => {
                self.tee.wrote(rows);
                let outcome = Ok(marks);
                Teed { outcome, rows }
            }
            Err(error) => {
                let why = error.to_string();
                self.tee.failed(&why);
                let outcome = Err(why);
                Teed { outcome, rows }
            }
        }
    }

    /// Asks all partitions for their rows, and waits until those that have not ended gave them.
    fn gather(&mut self) -> BTreeMap<u32, Marks> {
        let epochs: Vec<u64> = self
            .partitions
            .iter()
            .map(|partition| {
                let epoch = partition.mailbox.note_epoch();
                partition.mailbox.ring();
                epoch
            })
            .collect();
        let mut marks = BTreeMap::new();
        for (index, (partition, epoch)) in self.partitions.iter().zip(epochs).enumerate() {
            let own = partition.gather(epoch, |rows| {
                if rows.is_empty() {
                    partition.pipe.give_back(rows);
                } else {
                    self.held.push((index, rows));
                }
            });
            marks.insert(index as u32, own);
        }
        marks
    }

    fn open(&mut self, resume: Resume) -> Result<(), SinkError> {
        if let Some(opening) = &mut self.opening {
            opening.resume = resume;
            guarded(|| self.sink.open(opening))?;
            self.opening = None;
        }
        Ok(())
    }

    fn write(&mut self, epoch: u64) -> Result<(), SinkError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let (owners, rows): (Vec<usize>, Vec<Served>) = self.held.drain(..).unzip();
        let written = guarded(|| self.sink.write(epoch, &rows));
        let held = owners.into_iter().zip(rows);
        match written {
            Ok(()) => held.for_each(|(owner, rows)| self.partitions[owner].pipe.give_back(rows)),
            Err(_) => self.held = held.collect(),
        }
        written
    }
}

impl TeedPartition {
    /// Takes parts until the one of this epoch has come, or no further one will.
    fn gather(&self, epoch: u64, mut take: impl FnMut(Served)) -> Marks {
        let mut wait = FIRST_LOOK;
        loop {
            // In this order: what a partition leaves behind is there before it has ended.
            let has_ended = self.pipe.has_ended();
            while let Some(Part { sealed, rows }) = self.pipe.take() {
                take(rows);
                if let Some((_, marks)) = sealed.filter(|(sealed, _)| *sealed >= epoch) {
                    return marks;
                }
            }
            if has_ended {
                let offsets = self.published.offsets();
                return Marks {
                    next: offsets.next,
                    settled: offsets.settled,
                };
            }
            thread::park_timeout(wait);
            wait = (wait * 2).min(LAST_LOOK);
        }
    }
}

/// Opens a sink for the first time.
pub(super) fn open(sink: &mut dyn TeeSink, opening: &Opening) -> Result<(), SinkError> {
    guarded(|| sink.open(opening))
}

/// Calls the sink; its panic is an error, and what it says is in no log.
fn guarded(call: impl FnOnce() -> Result<(), SinkError>) -> Result<(), SinkError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload: Box<dyn Any + Send>| {
        discard_payload(payload);
        Err("the sink panicked".into())
    })
}
