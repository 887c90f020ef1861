//! The way in: the requests of a turn become one record batch.
//!
//! ```text
//! body ──simd-json──▶ tape ──▶ column buffers, one row each ──end of the turn──▶ RecordBatch
//! ```
//!
//! Only the columns that the plan reads are built. A row is added whole or not at all.

mod body;
mod column;
mod decimal;
mod fault;
mod id;
mod nested;
mod primitive;
mod surrogate;
mod tape;
mod text;
mod time;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use snapback::{Reply, Request};

use crate::parsing_check::ParsingCheck;
use body::BodyColumns;
use fault::Refused;
use id::IdColumn;

/// How many bytes of bodies one batch holds. Arrow's offsets into texts have 31 bits.
const MOST_BYTES: usize = 1 << 30;

/// What a plan reads of the requests.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    /// The fields that bodies are parsed into; none when they are not parsed.
    pub(crate) fields: Option<Fields>,
    pub(crate) check: ParsingCheck,
    /// The columns that the plan reads, in its order.
    pub(crate) columns: Vec<Source>,
    /// The columns as the plan knows them.
    pub(crate) schema: SchemaRef,
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Id,
    /// The field of the body with this index.
    Body(usize),
}

/// The requests of a turn, as columns under construction.
pub(crate) struct Input {
    reads: Arc<Reads>,
    id: Option<IdColumn>,
    body: Option<BodyColumns>,
    rows: usize,
    bytes: usize,
}

impl Input {
    pub(crate) fn new(reads: &Arc<Reads>) -> Self {
        let reads_id = reads.columns.contains(&Source::Id);
        let body = reads.fields.as_ref().map(|fields| {
            let used = |index| reads.columns.contains(&Source::Body(index));
            BodyColumns::new(fields, reads.check, (0..fields.len()).map(used).collect())
        });
        Input {
            reads: Arc::clone(reads),
            id: reads_id.then(IdColumn::default),
            body,
            rows: 0,
            bytes: 0,
        }
    }

    /// Holds a body against the schema, and adds its row; [`keep`](Self::keep) or
    /// [`take_back`](Self::take_back) comes next. Otherwise the request is answered, and `false`.
    pub(crate) fn offer(&mut self, request: &Request<'_>, reply: &mut Reply<'_>) -> bool {
        let Some(body) = &mut self.body else {
            return true;
        };
        let bytes = request.body().len();
        let offered = match bytes > MOST_BYTES - self.bytes {
            false => body.push(request.body()),
            true if self.rows > 0 => Err(Refused::NoRoom),
            true => Err(Refused::TooLarge {
                limit_bytes: MOST_BYTES,
            }),
        };
        match offered {
            Ok(()) => true,
            Err(refused) => {
                refused.answer(&body.schema(), request.body(), reply);
                false
            }
        }
    }

    /// The row that was offered stays.
    pub(crate) fn keep(&mut self, request: &Request<'_>) {
        self.rows += 1;
        self.bytes += request.body().len();
        if let Some(id) = &mut self.id {
            id.push(request.id());
        }
    }

    /// A row that was offered, and not kept, goes.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        if let Some(body) = &mut self.body {
            body.truncate(self.rows);
        }
    }

    /// The rows that were kept, as a batch. The next one begins.
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let mut columns = Vec::with_capacity(self.reads.columns.len());
        for source in &self.reads.columns {
            columns.extend(match source {
                Source::Id => self.id.as_mut().map(IdColumn::finish),
                Source::Body(index) => self.body.as_mut().map(|body| body.finish(*index)),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        if let Some(body) = &mut self.body {
            body.restart();
        }
        (self.rows, self.bytes) = (0, 0);
        let schema = Arc::clone(&self.reads.schema);
        RecordBatch::try_new_with_options(schema, columns, &options)
            .expect("each column has the type and the rows that its schema says")
    }
}

impl Reads {
    /// All columns that a plan may read: the id, then the fields of the body.
    pub(crate) fn available(fields: Option<&Fields>) -> Schema {
        let id = Arc::new(crate::schema::id_field());
        let body = fields.into_iter().flatten().cloned();
        Schema::new(std::iter::once(id).chain(body).collect::<Fields>())
    }
}
