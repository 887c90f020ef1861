//! Rows to a closure.

use std::fmt;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;

use super::{BatchSink, Opening, SinkError};

/// Gives the rows of each epoch to a closure: Spark's `foreachBatch`.
///
/// When the process dies after the closure and before the checkpoint took the epoch, rows of an epoch with
/// the same number come again in the next run. A closure that writes somewhere gets each row there
/// once if it replaces what it had written for that number.
///
/// ```
/// use snapback_sql::sink::ForeachBatch;
///
/// let sink = ForeachBatch::new(|epoch, rows| {
///     let all: usize = rows.iter().map(|rows| rows.num_rows()).sum();
///     println!("epoch {epoch}: {all} rows");
///     Ok(())
/// });
/// ```
pub struct ForeachBatch<F>(F);

impl<F> ForeachBatch<F>
where
    F: FnMut(u64, &[RecordBatch]) -> Result<(), SinkError> + Send + 'static,
{
    /// A sink that calls this.
    pub fn new(f: F) -> Self {
        ForeachBatch(f)
    }
}

impl<F> BatchSink for ForeachBatch<F>
where
    F: FnMut(u64, &[RecordBatch]) -> Result<(), SinkError> + Send + 'static,
{
    fn open(&mut self, _opening: &Opening, _schema: &SchemaRef) -> Result<(), SinkError> {
        Ok(())
    }

    fn write(&mut self, epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
        (self.0)(epoch, rows)
    }
}

impl<F> fmt::Debug for ForeachBatch<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeachBatch")
    }
}
