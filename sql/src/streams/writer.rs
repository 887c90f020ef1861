//! Where the rows of a stream go, and its start.

use std::fmt;
use std::time::Duration;

use snapback::checkpoint::Ledger;
use snapback::{CheckpointError, Trigger};

use super::TableStream;
use super::engine::Engine;
use super::options::{self, StreamOptionError};
use super::query::TableQuery;
use crate::error::SqlError;
use crate::sink::{BatchSink, Opening, Resume, SinkError};

/// Why a stream did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// No sink was given.
    #[error("the stream has no sink: say `.to(…)` before `.start()`")]
    NoSink,
    /// The interval of the trigger is zero.
    #[error("the trigger's interval is zero: give it a millisecond at least")]
    Trigger,
    /// A step of the stream is wrong.
    #[error(transparent)]
    Definition(#[from] SqlError),
    /// An option is unknown, or cannot have the value it was given.
    #[error(transparent)]
    Option(#[from] StreamOptionError),
    /// Another active query of the session has the name.
    #[error(transparent)]
    Name(#[from] snapback::Error),
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The source cannot begin.
    #[error("the source cannot begin: {0}")]
    Source(SinkError),
    /// The sink cannot be opened.
    #[error("the sink cannot be opened: {0}")]
    Sink(SinkError),
    /// The rows of an epoch could not be computed.
    #[error("epoch {epoch} failed: {reason}")]
    Epoch {
        /// Which epoch.
        epoch: u64,
        /// What DataFusion said.
        reason: String,
    },
    /// A thread could not be started.
    #[error("cannot start the thread of the stream: {0}")]
    Thread(std::io::Error),
}

/// Configures the sink of a stream and starts it.
#[must_use = "a stream does nothing until it is started"]
pub struct TableWriter {
    stream: TableStream,
    sink: Option<Box<dyn BatchSink>>,
    name: String,
    trigger: Trigger,
    until_idle: bool,
}

impl TableWriter {
    pub(super) fn new(stream: TableStream) -> Self {
        TableWriter {
            stream,
            sink: None,
            name: "stream".to_owned(),
            trigger: Trigger::ProcessingTime(Duration::from_secs(1)),
            until_idle: false,
        }
    }

    /// The sink.
    pub fn to(self, sink: impl BatchSink) -> Self {
        TableWriter {
            sink: Some(Box::new(sink)),
            ..self
        }
    }

    /// Sets an option, of the stream or of its source; `start` tells of an unknown key or a value that
    /// does not fit. The stream's own is `checkpointLocation`; the source's are listed at
    /// [`TableStream::option`].
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.stream = self.stream.option(key, value);
        self
    }

    /// The name of the query; `stream` if nothing is said. No two active queries of a session have
    /// the same, be it that they serve or not.
    pub fn query_name(self, name: &str) -> Self {
        TableWriter {
            name: name.to_owned(),
            ..self
        }
    }

    /// The directory of the checkpoint, as a path or a `file://` URL: the option `checkpointLocation`.
    /// Without one the stream begins anew at each start.
    pub fn checkpoint_location(self, location: &str) -> Self {
        self.option("checkpointLocation", location)
    }

    /// How far apart epochs begin: a second, if nothing is said.
    pub fn trigger(self, trigger: impl Into<Trigger>) -> Self {
        TableWriter {
            trigger: trigger.into(),
            ..self
        }
    }

    /// Ends the query when nothing more is there: Spark's `availableNow`.
    pub fn available_now(self) -> Self {
        TableWriter {
            until_idle: true,
            ..self
        }
    }

    /// Starts the query: opens its checkpoint and its sink, and begins on a thread of its own.
    ///
    /// # Errors
    ///
    /// Each variant of [`StreamError`] but `Epoch`.
    pub fn start(self) -> Result<TableQuery, StreamError> {
        let (engine, opening) = self.prepare()?;
        TableQuery::begin(opening, engine).map_err(StreamError::Thread)
    }

    /// All of the start but the thread.
    pub(super) fn prepare(self) -> Result<(Engine, Opening), StreamError> {
        let TableWriter {
            mut stream,
            sink,
            name,
            trigger,
            until_idle,
        } = self;
        let mut sink = sink.ok_or(StreamError::NoSink)?;
        let interval = trigger.epoch_interval();
        if interval.is_zero() {
            return Err(StreamError::Trigger);
        }
        let mut checkpoint_location = None;
        let options = std::mem::take(&mut stream.options);
        options::set(&options, &mut *stream.source, &mut checkpoint_location)?;
        let schema = stream.schema()?;
        let reserved = stream.session.reserve_query_name(&name)?;
        let ledger = checkpoint_location.map(|location| Ledger::open(&location, &name));
        let (ledger, start) = ledger.transpose()?.unzip();
        let committed = start.as_ref().and_then(|start| start.committed);
        let records = ledger
            .as_ref()
            .map(|ledger: &Ledger| ledger.path().join("sources").join("0"));
        let begun = stream.source.begin(records.as_deref(), committed);
        begun.map_err(StreamError::Source)?;
        let run_id = ledger.as_ref().map(|ledger| ledger.run_id().to_owned());
        let opening = Opening {
            query: name,
            query_id: start.map(|start| start.query_id),
            run_id: run_id.unwrap_or_else(own_run_id),
            resume: match ledger {
                Some(_) => Resume::After(committed.map(|(epoch, _)| epoch)),
                None => Resume::Append,
            },
        };
        sink.open(&opening, &schema).map_err(StreamError::Sink)?;
        let engine = Engine {
            stream,
            sink,
            ledger,
            epoch: committed.map_or(0, |(epoch, _)| epoch + 1),
            interval,
            until_idle,
            _name: reserved,
        };
        Ok((engine, opening))
    }
}

/// An id that no other run has, where no checkpoint gives one.
fn own_run_id() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{:x}{:x}", since.as_nanos(), std::process::id())
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter")
            .field("stream", &self.stream)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
