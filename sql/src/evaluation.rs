//! A batch of requests is evaluated together; when that fails, in ever smaller parts.

use datafusion::arrow::record_batch::RecordBatch;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::plan::Rows;

/// How often a batch that fails is halved before its rows are run one by one.
pub(crate) const MOST_HALVINGS: u32 = 4;

/// Some requests of a batch, next to each other, that were evaluated together.
pub(crate) struct Part {
    pub(crate) requests: usize,
    /// Their rows; a failure is of one request.
    pub(crate) outcome: Result<Rows, Failure>,
}

impl Part {
    /// Requests that nothing came of.
    pub(crate) fn failed(requests: usize) -> Self {
        Part {
            requests,
            outcome: Err(Failure::Panic),
        }
    }
}

/// Evaluates a batch. When that fails, it is halved a few times and then run row by row, so that
/// only the guilty request fails.
pub(crate) fn evaluate_in_parts(
    batch: Batch,
    halvings: u32,
    evaluate: &mut dyn FnMut(RecordBatch) -> Result<Rows, Failure>,
    parts: &mut Vec<Part>,
) {
    let requests = batch.requests();
    let outcome = evaluate(batch.rows.clone()).map(|rows| batch.attribute(rows));
    if outcome.is_ok() || requests <= 1 {
        return parts.push(Part { requests, outcome });
    }
    let part = if halvings > 0 {
        requests.div_ceil(2)
    } else {
        1
    };
    for start in (0..requests).step_by(part) {
        let part = batch.slice(start..requests.min(start + part));
        evaluate_in_parts(part, halvings.saturating_sub(1), evaluate, parts);
    }
}
