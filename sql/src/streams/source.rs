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

/// Gives rows, an epoch at a time. All calls come from one thread.
pub trait Source: Send + 'static {
    /// The columns of its rows.
    fn schema(&self) -> SchemaRef;

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

    /// What has come since the last call; none when that is nothing.
    ///
    /// # Errors
    ///
    /// What is in the way now; it is tried again, and nothing is lost.
    fn take(&mut self) -> Result<Option<Taken>, SinkError>;

    /// Notes durably what of its own belongs to the epoch, which is about to be committed.
    ///
    /// # Errors
    ///
    /// What is in the way now; it is tried again.
    fn record(&mut self, _epoch: u64) -> Result<(), SinkError> {
        Ok(())
    }
}
