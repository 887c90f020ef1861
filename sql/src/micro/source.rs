//! The requests of a micro-batch, as a table that plans are made with and read from.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::Expr;
use futures::stream::iter;

/// The column that says of which request of the batch a row is. No query can name it by accident.
pub(super) const ROW: &str = "__snapback_row";

/// A slice of a batch has so many rows at least: for fewer another thread is not worth it.
const LEAST_SLICE: usize = 512;

/// The requests, as a table.
#[derive(Debug)]
pub(super) struct BatchTable {
    schema: SchemaRef,
    /// In how many slices the rows come, which plans work on side by side.
    slices: usize,
    noted: Noted,
}

/// Which columns plans read, by their places in the table of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted(Arc<Mutex<BTreeSet<usize>>>);

impl Noted {
    pub(super) fn columns(&self) -> Vec<usize> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.iter().copied().collect()
    }
}

impl BatchTable {
    /// The table of these columns; `numbered` adds [`ROW`] behind them.
    pub(super) fn new(available: &Schema, numbered: bool, slices: usize, noted: Noted) -> Self {
        let row: Option<FieldRef> = numbered.then(|| Arc::new(row_field()));
        let fields = available.fields().iter().cloned().chain(row);
        BatchTable {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            slices,
            noted,
        }
    }
}

fn row_field() -> Field {
    Field::new(ROW, DataType::UInt32, true)
}

#[async_trait]
impl TableProvider for BatchTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns: Arc<[usize]> = projection.cloned().unwrap_or_else(all).into();
        let mut noted = self.noted.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_request_column = |column: &&usize| self.schema.field(**column).name() != ROW;
        noted.extend(columns.iter().filter(is_request_column));
        drop(noted);
        let schema = Arc::new(self.schema.project(&columns)?);
        let slice = |slice| -> Arc<dyn PartitionStream> {
            Arc::new(BatchSlice {
                schema: Arc::clone(&schema),
                columns: Arc::clone(&columns),
                slice,
                slices: self.slices,
            })
        };
        let slices = (0..self.slices).map(slice).collect();
        let exec = StreamingTableExec::try_new(Arc::clone(&schema), slices, None, [], false, limit);
        Ok(Arc::new(exec?))
    }
}

/// One slice of the batch at hand.
#[derive(Debug)]
struct BatchSlice {
    schema: SchemaRef,
    /// The places of its columns in the table of all of them.
    columns: Arc<[usize]>,
    slice: usize,
    slices: usize,
}

impl PartitionStream for BatchSlice {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = context.session_config().get_extension::<MicroBatch>();
        let batch = batch
            .ok_or_else(|| internal_datafusion_err!("the plan runs without a micro-batch"))
            .and_then(|batch| self.of(&batch));
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, iter([batch])))
    }
}

impl BatchSlice {
    fn of(&self, batch: &MicroBatch) -> Result<RecordBatch> {
        let slice_rows = batch.rows.div_ceil(self.slices).max(LEAST_SLICE);
        let from = (self.slice * slice_rows).min(batch.rows);
        let rows = slice_rows.min(batch.rows - from);
        let column = |column: &usize| {
            let array = batch.columns.get(*column).unwrap_or(&batch.numbers);
            array.as_ref().map(|array| array.slice(from, rows))
        };
        let columns: Option<Vec<ArrayRef>> = self.columns.iter().map(column).collect();
        let columns = columns.ok_or_else(|| internal_datafusion_err!("a column was not built"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

/// The requests that a plan is executed for: an extension of the session, where its leaves find it.
pub(super) struct MicroBatch {
    rows: usize,
    /// Those columns of the table that plans read, each in its place.
    columns: Vec<Option<ArrayRef>>,
    /// The column [`ROW`], behind the others.
    numbers: Option<ArrayRef>,
}

impl MicroBatch {
    /// `places` are those of the batch's columns in the table of `available` columns.
    pub(super) fn new(batch: &RecordBatch, places: &[usize], available: usize) -> Self {
        let mut columns = vec![None; available];
        for (place, column) in places.iter().zip(batch.columns()) {
            columns[*place] = Some(Arc::clone(column));
        }
        let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        MicroBatch {
            rows: batch.num_rows(),
            columns,
            numbers: Some(Arc::new(UInt32Array::from_iter_values(0..rows))),
        }
    }
}

/// Shows no values.
impl fmt::Debug for MicroBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MicroBatch({} rows)", self.rows)
    }
}
