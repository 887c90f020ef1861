//! From DataFusion's plan to a program: what is done to the record batch of each turn.
//!
//! The optimizer has pushed projections and filters down, so the plan says which columns of the
//! requests are read. It is compiled once into a list of steps over Arrow columns, which all
//! partitions share; a step evaluates physical expressions and nothing else.

mod compile;
mod index;
mod join;
mod refuse;

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion::arrow::compute::{
    filter, filter_record_batch, prep_null_mask_filter, take, take_record_batch,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::Result;
use datafusion::physical_plan::PhysicalExpr;

pub(crate) use compile::{RequestSource, compile, is_requests, reads_requests};
use join::StaticJoin;

use crate::clock;

/// A compiled plan.
#[derive(Debug)]
pub(crate) struct Program {
    steps: Vec<Step>,
    reads_clock: bool,
}

#[derive(Debug)]
enum Step {
    /// Keeps the rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Makes other columns.
    Project {
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    },
    /// Looks each row up in a table.
    Join(Box<StaticJoin>),
}

/// The rows of a batch on their way through the steps.
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    /// Which request each row comes from, in rising order; `None` when row `i` is of request `i`.
    pub(crate) origins: Option<UInt32Array>,
}

impl Program {
    /// Reads the clock, when the plan does.
    pub(crate) fn begin_batch(&self) {
        if self.reads_clock {
            clock::begin_batch();
        }
    }

    /// How many steps it has.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Evaluates a batch of requests.
    pub(crate) fn evaluate(&self, requests: RecordBatch) -> Result<Rows> {
        let rows = Rows {
            batch: requests,
            origins: None,
        };
        self.steps.iter().try_fold(rows, |rows, step| match step {
            Step::Filter(predicate) => rows.filter(predicate.as_ref()),
            Step::Project {
                expressions,
                schema,
            } => rows.project(expressions, schema),
            Step::Join(join) => join.apply(rows),
        })
    }
}

impl Rows {
    /// The rows of a request; `from` is where those of the one before end.
    pub(crate) fn of_request(&self, request: usize, from: usize) -> Range<usize> {
        let Some(origins) = &self.origins else {
            return request..request + 1;
        };
        let own = origins.values()[from..]
            .iter()
            .take_while(|origin| **origin as usize == request)
            .count();
        from..from + own
    }

    fn filter(self, predicate: &dyn PhysicalExpr) -> Result<Rows> {
        let rows = self.batch.num_rows();
        let mask = predicate.evaluate(&self.batch)?.into_array(rows)?;
        let mask = mask.as_boolean();
        if mask.true_count() == rows {
            return Ok(self);
        }
        let mask = match mask.null_count() {
            0 => mask.clone(),
            _ => prep_null_mask_filter(mask),
        };
        let origins = filter(&self.origins(), &mask)?;
        Ok(Rows {
            batch: filter_record_batch(&self.batch, &mask)?,
            origins: Some(origins.as_primitive().clone()),
        })
    }

    fn project(self, expressions: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Result<Rows> {
        let rows = self.batch.num_rows();
        let columns: Result<Vec<ArrayRef>> = expressions
            .iter()
            .map(|expression| expression.evaluate(&self.batch)?.into_array(rows))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(schema);
        Ok(Rows {
            batch: RecordBatch::try_new_with_options(schema, columns?, &options)?,
            origins: self.origins,
        })
    }

    /// The rows at these places.
    fn taken(self, rows: Vec<u32>) -> Result<Rows> {
        if rows.len() == self.batch.num_rows() {
            return Ok(self);
        }
        let rows = UInt32Array::from(rows);
        let origins = take(&self.origins(), &rows, None)?;
        Ok(Rows {
            batch: take_record_batch(&self.batch, &rows)?,
            origins: Some(origins.as_primitive().clone()),
        })
    }

    /// Which request each row comes from.
    pub(crate) fn origins(&self) -> UInt32Array {
        let rows = u32::try_from(self.batch.num_rows()).unwrap_or(u32::MAX);
        self.origins
            .clone()
            .unwrap_or_else(|| UInt32Array::from_iter_values(0..rows))
    }
}
