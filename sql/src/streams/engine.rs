//! The loop of a stream: take, compute, write, commit.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use datafusion::arrow::record_batch::RecordBatch;
use snapback::QueryName;
use snapback::checkpoint::Ledger;

use super::TableStream;
use super::query::{Shared, told_to_stop};
use super::source::Taken;
use super::writer::StreamError;
use crate::planning::wait_for;
use crate::sink::{BatchSink, SinkError};

/// What failed is tried again after so long, doubled each time up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

pub(super) struct Engine {
    pub(super) stream: TableStream,
    pub(super) sink: Box<dyn BatchSink>,
    pub(super) ledger: Option<Ledger>,
    /// The epoch that is open.
    pub(super) epoch: u64,
    pub(super) interval: Duration,
    /// It ends when nothing more is there.
    pub(super) until_idle: bool,
    /// No other query of the session has the name while this runs.
    pub(super) _name: QueryName,
}

/// An epoch on its way; what is done is not done again.
pub(super) struct Open {
    rows: Vec<RecordBatch>,
    offset: u64,
    is_written: bool,
}

impl Engine {
    /// Runs until it is told to stop, or an epoch cannot be computed.
    pub(super) fn run(
        &mut self,
        shared: &Shared,
        stopped: &Receiver<()>,
    ) -> Result<(), StreamError> {
        let mut open: Option<Open> = None;
        let mut retry = FIRST_RETRY;
        let mut next = Instant::now();
        loop {
            if told_to_stop(stopped, next) {
                return Ok(());
            }
            let begun = Instant::now();
            next = begun + self.interval;
            let step = self.step(&mut open, shared)?;
            shared.note(|progress| progress.skipped = self.stream.source.skipped());
            match step {
                Ok(is_idle) => {
                    retry = FIRST_RETRY;
                    shared.note(|progress| progress.failure = None);
                    match (is_idle, self.until_idle) {
                        (true, true) => return Ok(()),
                        (false, true) => next = Instant::now(),
                        _ => {}
                    }
                    if !is_idle {
                        shared.note(|progress| progress.duration = begun.elapsed());
                    }
                }
                Err(error) => {
                    tracing::error!(epoch = self.epoch, %error, retry_after = ?retry,
                        "the epoch waits; it is tried again");
                    shared.note(|progress| {
                        progress.failure = Some(error.to_string());
                        progress.failures += 1;
                    });
                    next = Instant::now() + retry;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Brings an epoch as far as it goes; whether there was nothing to do. The inner error may pass, the
    /// outer one ends the stream.
    pub(super) fn step(
        &mut self,
        open: &mut Option<Open>,
        shared: &Shared,
    ) -> Result<Result<bool, SinkError>, StreamError> {
        if open.is_none() {
            let taken = match self.stream.source.take(self.epoch) {
                Ok(Some(taken)) => taken,
                Ok(None) => return Ok(Ok(true)),
                Err(error) => return Ok(Err(error)),
            };
            *open = Some(self.compute(taken, shared)?);
        }
        let Some(epoch) = open else {
            return Ok(Ok(true));
        };
        let ended = self.finish(epoch);
        if ended.is_ok() {
            *open = None;
            let committed = self.epoch;
            self.epoch += 1;
            shared.note(|progress| progress.committed_epoch = Some(committed));
            if let Err(error) = self.sink.committed(committed) {
                tracing::warn!(epoch = committed, %error, "the sink did not tidy up");
            }
            if let Err(error) = self.stream.source.committed(committed) {
                tracing::warn!(epoch = committed, %error, "the source did not tidy up");
            }
        }
        Ok(ended.map(|()| false))
    }

    fn compute(&self, taken: Taken, shared: &Shared) -> Result<Open, StreamError> {
        let count =
            |rows: &[RecordBatch]| -> u64 { rows.iter().map(|rows| rows.num_rows() as u64).sum() };
        let input = count(&taken.rows);
        let planned = self.stream.plan(taken.rows);
        let rows = planned.and_then(|rows| wait_for(async || Ok(rows.collect().await?)));
        let rows: Vec<RecordBatch> = rows.map_err(|error| StreamError::Epoch {
            epoch: self.epoch,
            reason: error.to_string(),
        })?;
        shared.note(|progress| {
            progress.input_rows += input;
            progress.output_rows += count(&rows);
        });
        Ok(Open {
            rows,
            offset: taken.offset,
            is_written: false,
        })
    }

    /// The sink first, then the checkpoint. The source has noted what the epoch takes before.
    fn finish(&mut self, open: &mut Open) -> Result<(), SinkError> {
        if !open.is_written {
            self.sink.write(self.epoch, &open.rows)?;
            open.is_written = true;
        }
        match &mut self.ledger {
            Some(ledger) => Ok(ledger.commit(self.epoch, open.offset)?),
            None => Ok(()),
        }
    }
}
