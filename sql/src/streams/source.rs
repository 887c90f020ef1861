//! Where rows come from.

use std::path::Path;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;

use crate::sink::SinkError;

/// Rows of an epoch.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The rows, as the source's schema says.
    pub rows: Vec<RecordBatch>,
    /// Where the source goes on behind them; it never goes back.
    pub offset: u64,
}

/// Gives rows, an epoch at a time. All calls come from one thread, but for those before
/// [`begin`](Self::begin).
pub trait Source: Send + 'static {
    /// The columns of its rows.
    fn schema(&self) -> SchemaRef;

    /// The options that [`set`](Self::set) knows, as they are written.
    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    /// Sets one of its [`options`](Self::options), before the source begins.
    ///
    /// # Errors
    ///
    /// What the value may be instead, when it does not fit.
    fn set(&mut self, _key: &str, _value: &str) -> Result<(), String> {
        Ok(())
    }

    /// Begins behind the committed epoch and its offset. `records` is a directory for what the source
    /// itself must know after a restart; none without a checkpoint.
    ///
    /// # Errors
    ///
    /// What keeps the stream from starting.
    fn begin(
        &mut self,
        records: Option<&Path>,
        committed: Option<(u64, u64)>,
    ) -> Result<(), SinkError>;

    /// The rows of the epoch: what has come since the one before; none when that is nothing.
    ///
    /// Before this returns, the source has noted durably what it takes. When a process dies with the
    /// epoch on its way, the next one asks for the same epoch again, and gets the same rows, whatever has
    /// come meanwhile.
    ///
    /// # Errors
    ///
    /// What is in the way now; it is tried again, and nothing is lost.
    fn take(&mut self, epoch: u64) -> Result<Option<Taken>, SinkError>;

    /// The checkpoint has this epoch. What the source does at its leisure it does here; its failure is
    /// only told.
    ///
    /// # Errors
    ///
    /// What is told to the log.
    fn committed(&mut self, _epoch: u64) -> Result<(), SinkError> {
        Ok(())
    }

    /// How much it had to leave out since it began, in units of its own: files of
    /// [`FilesSource`](super::FilesSource).
    fn skipped(&self) -> u64 {
        0
    }
}
