//! Where the rows of a stream go, an epoch at a time.
//!
//! A sink is told the rows of one epoch after another, and its epoch is durable before the
//! checkpoint says so. When a process dies between the two, the next one opens the sink with the
//! epoch that the checkpoint has, and what is newer is taken back: so every row of a committed epoch is
//! there once, and no row of another one.

mod console;
mod files;
mod foreach_batch;
mod memory;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;

pub use console::ConsoleSink;
pub use files::{Compression, FileFormat, FileSink, UnknownName};
pub use foreach_batch::ForeachBatch;
pub use memory::{MemorySink, MemoryTable};
pub use snapback::tee::{Opening, Resume, SinkError};

/// Takes the rows of a stream, an epoch at a time.
///
/// All calls come from one thread that serves nobody: a sink may take its time, and be late.
pub trait BatchSink: Send + 'static {
    /// Begins, before any rows: takes back what is newer than the checkpoint.
    ///
    /// # Errors
    ///
    /// What keeps the query from starting: a place that cannot be used or belongs to another query,
    /// or rows that do not fit to what is there.
    fn open(&mut self, opening: &Opening, schema: &SchemaRef) -> Result<(), SinkError>;

    /// Makes rows of an epoch durable, all or none of them. Epochs come in their order. It is called again
    /// for an epoch with further rows when the checkpoint did not take the epoch; and with the same
    /// rows when it had failed.
    ///
    /// # Errors
    ///
    /// What is in the way now; it is tried again later.
    fn write(&mut self, epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError>;

    /// The checkpoint has this epoch, and will never go back before it. What the sink does at its
    /// leisure (merging small files, removing old ones) it does here; its failure is only told.
    ///
    /// # Errors
    ///
    /// What is told to the log.
    fn committed(&mut self, _epoch: u64) -> Result<(), SinkError> {
        Ok(())
    }
}
