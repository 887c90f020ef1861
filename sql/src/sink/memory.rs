//! Rows into a table in memory, which queries may read meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::{BatchSink, Opening, SinkError};

/// Keeps the newest rows of a stream in memory: Spark's `memory` sink, with a bound.
///
/// ```
/// use snapback_sql::context;
/// use snapback_sql::sink::MemorySink;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sink = MemorySink::new(100_000);
/// context().register_table("served", sink.table())?;
/// // Give the sink to a stream, and ask `SELECT count(*) FROM served`.
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemorySink {
    table: Arc<MemoryTable>,
}

/// The table that a [`MemorySink`] fills. Who reads it sees whole epochs.
#[derive(Debug)]
pub struct MemoryTable {
    max_rows: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    schema: SchemaRef,
    batches: VecDeque<RecordBatch>,
    rows: usize,
    /// How many rows had to leave.
    left: u64,
}

impl MemorySink {
    /// A table of at least the newest `max_rows` rows, as far as there are so many: older batches leave
    /// whole.
    pub fn new(max_rows: usize) -> Self {
        let kept = Kept {
            schema: Arc::new(Schema::empty()),
            batches: VecDeque::new(),
            rows: 0,
            left: 0,
        };
        let kept = Mutex::new(kept);
        MemorySink {
            table: Arc::new(MemoryTable { max_rows, kept }),
        }
    }

    /// The table. It has no columns until the stream starts.
    pub fn table(&self) -> Arc<MemoryTable> {
        Arc::clone(&self.table)
    }
}

impl MemoryTable {
    /// How many rows there are, and how many have left.
    pub fn rows(&self) -> (usize, u64) {
        let kept = self.kept();
        (kept.rows, kept.left)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BatchSink for MemorySink {
    fn open(&mut self, _opening: &Opening, schema: &SchemaRef) -> Result<(), SinkError> {
        self.table.kept().schema = Arc::clone(schema);
        Ok(())
    }

    fn write(&mut self, _epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
        let mut kept = self.table.kept();
        for rows in rows {
            kept.rows += rows.num_rows();
            kept.batches.push_back(rows.clone());
        }
        while let Some(oldest) = kept.batches.front().map(RecordBatch::num_rows)
            && kept.rows - oldest >= self.table.max_rows
        {
            kept.rows -= oldest;
            kept.left += oldest as u64;
            kept.batches.pop_front();
        }
        Ok(())
    }
}

#[async_trait]
impl TableProvider for MemoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.kept().schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let now = {
            let kept = self.kept();
            let batches = kept.batches.iter().cloned().collect();
            MemTable::try_new(Arc::clone(&kept.schema), vec![batches])?
        };
        now.scan(state, projection, filters, limit).await
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type};

    use super::super::Resume;
    use super::*;
    use crate::planning::wait_for;

    #[test]
    fn queries_see_what_was_written_and_the_oldest_rows_leave() {
        let mut sink = MemorySink::new(4);
        let context = crate::context();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let opening = Opening {
            query: "numbers".to_owned(),
            query_id: None,
            run_id: "run".to_owned(),
            resume: Resume::Append,
        };
        sink.open(&opening, &schema).unwrap();
        context.register_table("numbers", sink.table()).unwrap();
        let sum = || {
            let rows = wait_for(async || {
                let numbers = context.sql("SELECT sum(n) AS n FROM numbers").await?;
                Ok(numbers.collect().await?)
            });
            let rows: Vec<RecordBatch> = rows.unwrap();
            rows[0]
                .column(0)
                .as_primitive::<Int64Type>()
                .iter()
                .next()
                .flatten()
        };
        assert_eq!(sum(), None);
        // Each epoch has its number and 1; two of them fit.
        for (epoch, expected) in [(0, 1), (1, 3), (2, 5), (3, 7), (4, 9)] {
            let numbers = Int64Array::from(vec![epoch, 1]);
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers)]);
            sink.write(epoch as u64, &[rows.unwrap()]).unwrap();
            assert_eq!(sum(), Some(expected));
        }
        assert_eq!(sink.table().rows(), (4, 6));
    }
}
