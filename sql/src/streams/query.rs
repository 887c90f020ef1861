//! The handle of a running stream.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use snapback_operators::discard_payload;

use super::engine::Engine;
use super::writer::StreamError;
use crate::sink::Opening;

/// A stream that was started. Clones are handles of the same stream; dropping them does not stop it.
#[derive(Clone)]
pub struct TableQuery {
    shared: Arc<Shared>,
}

/// What is told to the engine's thread from outside, and by it.
pub(super) struct Shared {
    opening: Opening,
    /// The engine's thread has it as well, so that its end is not taken for a word to stop, nor for
    /// the end of a wait, when all handles are gone.
    stop: Sender<()>,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    has_ended: bool,
    exception: Option<Arc<StreamError>>,
    progress: TableProgress,
}

/// How far a stream has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableProgress {
    /// The newest epoch that is committed, by an earlier run too; none before the first.
    pub committed_epoch: Option<u64>,
    /// How many rows came from the source since the start.
    pub input_rows: u64,
    /// How many went to the sink.
    pub output_rows: u64,
    /// How long the last epoch took.
    pub duration: Duration,
    /// What is in the way now; it is tried again.
    pub failure: Option<String>,
    /// How often something was in the way since the start.
    pub failures: u64,
    /// How much the source left out since the start: malformed files, of a permissive
    /// [`FilesSource`](super::FilesSource).
    pub skipped: u64,
}

impl TableQuery {
    pub(super) fn begin(opening: Opening, engine: Engine) -> Result<Self, std::io::Error> {
        let (shared, stopped) = Shared::new(opening, &engine);
        let shared = Arc::new(shared);
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name(format!("stream-{}", shared.opening.query))
            .spawn(move || of_thread.run(engine, &stopped))?;
        Ok(TableQuery { shared })
    }

    /// The name of the query.
    pub fn name(&self) -> &str {
        &self.shared.opening.query
    }

    /// The id of the query, which it keeps over restarts from its checkpoint; none without one.
    pub fn id(&self) -> Option<&str> {
        self.shared.opening.query_id.as_deref()
    }

    /// The id of this run.
    pub fn run_id(&self) -> &str {
        &self.shared.opening.run_id
    }

    /// Whether it still runs.
    pub fn is_active(&self) -> bool {
        !self.shared.lock().has_ended
    }

    /// Why it ended, when it ended by an error.
    pub fn exception(&self) -> Option<Arc<StreamError>> {
        self.shared.lock().exception.clone()
    }

    /// How far it has come.
    pub fn progress(&self) -> TableProgress {
        self.shared.lock().progress.clone()
    }

    /// Ends the query when the epoch that runs has ended, and returns then.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub fn stop(&self) -> Result<(), Arc<StreamError>> {
        // The thread is gone when the query has ended.
        let _ = self.shared.stop.send(());
        self.await_termination()
    }

    /// Waits until the query has ended.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub fn await_termination(&self) -> Result<(), Arc<StreamError>> {
        let state = self.shared.lock();
        let state = self
            .shared
            .ended
            .wait_while(state, |state| !state.has_ended);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.exception.clone().map_or(Ok(()), Err)
    }
}

impl TableQuery {
    /// Waits until the query has ended, so long at most; tells whether it has.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub fn await_termination_timeout(&self, timeout: Duration) -> Result<bool, Arc<StreamError>> {
        let state = self.shared.lock();
        let waited = self
            .shared
            .ended
            .wait_timeout_while(state, timeout, |state| !state.has_ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.exception.clone().map_or(Ok(state.has_ended), Err)
    }
}

impl Shared {
    /// What is told of an engine, and where it hears that it is to stop.
    pub(super) fn new(opening: Opening, engine: &Engine) -> (Self, Receiver<()>) {
        let (stop, stopped) = mpsc::channel();
        let progress = TableProgress {
            committed_epoch: engine.epoch.checked_sub(1),
            ..TableProgress::default()
        };
        let shared = Shared {
            opening,
            stop,
            state: Mutex::new(State {
                has_ended: false,
                exception: None,
                progress,
            }),
            ended: Condvar::new(),
        };
        (shared, stopped)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is told of the progress.
    pub(super) fn note(&self, change: impl FnOnce(&mut TableProgress)) {
        change(&mut self.lock().progress);
    }

    fn run(&self, mut engine: Engine, stopped: &Receiver<()>) {
        let _span = tracing::error_span!("stream", query = self.opening.query).entered();
        let epoch_before = engine.epoch;
        let ran = catch_unwind(AssertUnwindSafe(|| engine.run(self, stopped)));
        let exception = match ran {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(payload) => {
                discard_payload(payload);
                Some(StreamError::Epoch {
                    epoch: self
                        .lock()
                        .progress
                        .committed_epoch
                        .map_or(epoch_before, |it| it + 1),
                    reason: "a function or a sink panicked".to_owned(),
                })
            }
        };
        if let Some(error) = &exception {
            tracing::error!(%error, "the stream ends");
        }
        // The checkpoint and the sink are let go of before anyone is told.
        drop(catch_unwind(AssertUnwindSafe(|| drop(engine))));
        let mut state = self.lock();
        state.exception = exception.map(Arc::new);
        state.has_ended = true;
        self.ended.notify_all();
    }
}

/// Waits for the end of a time, or for the word to stop; whether that came.
pub(super) fn told_to_stop(stopped: &Receiver<()>, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    stopped.recv_timeout(left).is_ok()
}

impl fmt::Debug for TableQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableQuery")
            .field("name", &self.name())
            .field("run_id", &self.run_id())
            .field("is_active", &self.is_active())
            .finish_non_exhaustive()
    }
}
