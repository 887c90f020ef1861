//! A join of requests with a table: a hash lookup for each row.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
use datafusion::error::Result;
use datafusion::physical_plan::PhysicalExpr;

use super::Rows;
use super::index::Index;

/// Which rows of the requests go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Each with each row of the table that it matches: an inner join.
    Matches,
    /// As above, and those without a match with nulls: an outer join.
    All,
    /// Those that have a match, once: `IN`, `EXISTS`.
    Matched,
    /// Those that have none: `NOT EXISTS`, and with SQL's care for nulls `NOT IN`.
    Unmatched { not_in: bool },
}

/// How requests and table stand to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) requests_left: bool,
    pub(super) keep: Keep,
    pub(super) null_equality: NullEquality,
}

/// A table in memory with an index over its keys.
pub(super) struct StaticJoin {
    side: Side,
    request_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// What a pair of rows must also fulfil.
    filter: Option<Arc<dyn PhysicalExpr>>,
    table: RecordBatch,
    index: Index,
    /// Left columns, then right columns.
    schema: SchemaRef,
}

impl StaticJoin {
    pub(super) fn new(
        side: Side,
        request_keys: Vec<Arc<dyn PhysicalExpr>>,
        table_keys: &[Arc<dyn PhysicalExpr>],
        table: RecordBatch,
        filter: Option<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Result<Self> {
        let keys = evaluate_all(table_keys, &table)?;
        Ok(StaticJoin {
            index: Index::new(&keys, side.null_equality)?,
            side,
            request_keys,
            filter,
            table,
            schema,
        })
    }

    pub(super) fn apply(&self, rows: Rows) -> Result<Rows> {
        let keys = evaluate_all(&self.request_keys, &rows.batch)?;
        let pairs = self.index.pairs(&keys, rows.batch.num_rows())?;
        let pairs = match &self.filter {
            Some(filter) => self.fulfilling(pairs, &rows, filter.as_ref())?,
            None => pairs,
        };
        match self.side.keep {
            Keep::Matches => {
                let pairs = pairs.into_iter();
                let (requests, table) = pairs.map(|(request, row)| (request, Some(row))).unzip();
                self.joined(&rows, requests, table)
            }
            Keep::All => {
                let (requests, table) = with_unmatched(&pairs, rows.batch.num_rows());
                self.joined(&rows, requests, table)
            }
            Keep::Matched => {
                let mut matched: Vec<u32> = pairs.into_iter().map(|(request, _)| request).collect();
                matched.dedup();
                rows.taken(matched)
            }
            Keep::Unmatched { not_in } => {
                let unmatched = unmatched(&pairs, rows.batch.num_rows());
                let kept = unmatched.filter(|row| !not_in || self.index.knows_absence(&keys, *row));
                let kept = kept.collect();
                rows.taken(kept)
            }
        }
    }

    /// The pairs that the join's filter lets pass.
    fn fulfilling(
        &self,
        pairs: Vec<(u32, u32)>,
        rows: &Rows,
        filter: &dyn PhysicalExpr,
    ) -> Result<Vec<(u32, u32)>> {
        let (requests, table): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
        let table = table.into_iter().map(Some).collect();
        let batch = self.beside(&rows.batch, &UInt32Array::from(requests), &table)?;
        let passes = filter.evaluate(&batch)?.into_array(pairs.len())?;
        let passes = passes.as_boolean().iter();
        let kept = pairs.into_iter().zip(passes);
        Ok(kept
            .filter_map(|(pair, passes)| (passes == Some(true)).then_some(pair))
            .collect())
    }

    fn joined(&self, rows: &Rows, requests: Vec<u32>, table: Vec<Option<u32>>) -> Result<Rows> {
        let requests = UInt32Array::from(requests);
        let batch = self.beside(&rows.batch, &requests, &UInt32Array::from(table))?;
        let origins = take(&rows.origins(), &requests, None)?;
        Ok(Rows {
            batch,
            origins: Some(origins.as_primitive().clone()),
        })
    }

    /// Rows of the requests beside rows of the table.
    fn beside(
        &self,
        batch: &RecordBatch,
        requests: &UInt32Array,
        table: &UInt32Array,
    ) -> Result<RecordBatch> {
        let requests = batch
            .columns()
            .iter()
            .map(|column| take(column, requests, None));
        let table = self
            .table
            .columns()
            .iter()
            .map(|column| take(column, table, None));
        let columns: std::result::Result<Vec<ArrayRef>, _> = match self.side.requests_left {
            true => requests.chain(table).collect(),
            false => table.chain(requests).collect(),
        };
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns?)?)
    }
}

/// The pairs, and behind the last pair of each request without one, that request with no row.
fn with_unmatched(pairs: &[(u32, u32)], rows: usize) -> (Vec<u32>, Vec<Option<u32>>) {
    let mut pairs = pairs.iter().copied().peekable();
    let (mut requests, mut table) = (Vec::new(), Vec::new());
    for row in 0..u32::try_from(rows).unwrap_or(u32::MAX) {
        let before = requests.len();
        while let Some((_, matched)) = pairs.next_if(|(request, _)| *request == row) {
            requests.push(row);
            table.push(Some(matched));
        }
        if requests.len() == before {
            requests.push(row);
            table.push(None);
        }
    }
    (requests, table)
}

/// The requests that are in no pair.
fn unmatched(pairs: &[(u32, u32)], rows: usize) -> impl Iterator<Item = u32> {
    let rows = 0..u32::try_from(rows).unwrap_or(u32::MAX);
    rows.filter(|row| {
        pairs
            .binary_search_by_key(row, |(request, _)| *request)
            .is_err()
    })
}

fn evaluate_all(
    expressions: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    let rows = batch.num_rows();
    expressions
        .iter()
        .map(|expression| expression.evaluate(batch)?.into_array(rows))
        .collect()
}

impl fmt::Debug for StaticJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticJoin")
            .field("side", &self.side)
            .field("table_rows", &self.table.num_rows())
            .finish_non_exhaustive()
    }
}
