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
mod named;
mod nested;
mod primitive;
mod request;
mod sources;
mod surrogate;
mod tape;
mod text;
mod time;

#[cfg(test)]
mod tests;

use std::mem;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryBuilder, StringBuilder, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use snapback::{Reply, Request};

use crate::batch::Batch;
use body::BodyColumns;
use fault::Refused;
use id::IdColumn;
use named::NamedColumns;
use request::RequestColumn;
pub(crate) use sources::{Body, RowsOf, Source, Sources};

/// How many bytes of bodies one batch holds. Arrow's offsets into texts have 31 bits.
const MOST_BYTES: usize = 1 << 30;

/// What a plan reads of the requests.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    /// All columns that there are.
    pub(crate) sources: Sources,
    /// The columns that the plan reads, in its order.
    pub(crate) columns: Vec<Source>,
    /// The columns as the plan knows them.
    pub(crate) schema: SchemaRef,
}

/// The requests of a turn, as columns under construction.
pub(crate) struct Input {
    reads: Arc<Reads>,
    id: Option<IdColumn>,
    request: Option<RequestColumn>,
    body: Option<BodyColumns>,
    whole_body: Option<WholeBody>,
    query: NamedColumns,
    headers: NamedColumns,
    /// How many requests were kept.
    rows: usize,
    /// Where the rows of each begin in the columns of bodies, and where the last ones end; none where
    /// each has one.
    starts: Option<Vec<u32>>,
    bytes: usize,
}

/// The bodies as they are. A row is added when it is sure to stay.
enum WholeBody {
    Bytes(BinaryBuilder),
    Text(StringBuilder),
}

impl Input {
    pub(crate) fn new(reads: &Arc<Reads>) -> Self {
        let Sources {
            body,
            query,
            headers,
        } = &reads.sources;
        let is_read = |source| reads.columns.contains(&source);
        let body_columns = match body {
            Body::Json {
                fields,
                check,
                rows,
            } => {
                let used = (0..fields.len()).map(|index| is_read(Source::Body(index)));
                Some(BodyColumns::new(fields, *check, *rows, used.collect()))
            }
            _ => None,
        };
        let whole_body = match body {
            Body::Bytes(_) => Some(WholeBody::Bytes(BinaryBuilder::new())),
            Body::Text(_) => Some(WholeBody::Text(StringBuilder::new())),
            _ => None,
        };
        Input {
            id: is_read(Source::Id).then(IdColumn::default),
            request: is_read(Source::Request).then(RequestColumn::default),
            body: body_columns,
            whole_body: whole_body.filter(|_| is_read(Source::WholeBody)),
            query: NamedColumns::new(query, |index| is_read(Source::Query(index))),
            headers: NamedColumns::new(headers, |index| is_read(Source::Header(index))),
            starts: reads.sources.has_rows().then(|| vec![0]),
            reads: Arc::clone(reads),
            rows: 0,
            bytes: 0,
        }
    }

    /// Holds a request against the schema, and adds its row; [`keep`](Self::keep) or
    /// [`take_back`](Self::take_back) comes next. Otherwise the request is answered, and `false`.
    pub(crate) fn offer(&mut self, request: &Request<'_>, reply: &mut Reply<'_>) -> bool {
        match self.add(request) {
            Ok(()) => true,
            Err(refused) => {
                self.take_back();
                let schema = self.body.as_ref().map(BodyColumns::schema);
                let schema = schema.unwrap_or_else(Schema::empty);
                refused.answer(&schema, request.body(), reply);
                false
            }
        }
    }

    fn add(&mut self, request: &Request<'_>) -> Result<(), Refused> {
        let bytes = request.body().len();
        if bytes > MOST_BYTES - self.bytes {
            return Err(self.too_large());
        }
        if let Some(body) = &mut self.body {
            body.push(request.body())?;
        }
        if self.starts.is_some() && self.bytes_of(request) > MOST_BYTES - self.bytes {
            return Err(self.too_large());
        }
        if let Some(WholeBody::Text(_)) = self.whole_body
            && std::str::from_utf8(request.body()).is_err()
        {
            return Err(Refused::NoText);
        }
        let query = self.query.push(|name| request.query(name));
        query.map_err(Refused::Query)?;
        let headers = self.headers.push(|name| header(request, name));
        headers.map_err(Refused::Header)
    }

    fn too_large(&self) -> Refused {
        match self.rows {
            0 => Refused::TooLarge {
                limit_bytes: MOST_BYTES,
            },
            _ => Refused::NoRoom,
        }
    }

    /// How many bytes the request is in the batch that was offered last: each of its rows repeats what
    /// is read of the request itself, and columns of texts end at 2 GiB.
    fn bytes_of(&self, request: &Request<'_>) -> usize {
        let body = request.body().len();
        let (Some(starts), Some(columns)) = (&self.starts, &self.body) else {
            return body;
        };
        let reads = |what: fn(&Source) -> bool| self.reads.columns.iter().any(what);
        let of_head = |source: &Source| matches!(source, Source::Query(_) | Source::Header(_));
        let reads_request = reads(|source| *source == Source::Request);
        let mut repeated = 0;
        if reads_request || reads(of_head) {
            let fields = request.headers().iter();
            let fields = fields.map(|(name, value)| name.len() + value.len());
            repeated += request.target().len() + fields.sum::<usize>();
        }
        if reads_request {
            repeated += body;
        }
        let rows = columns.rows() - starts.last().copied().unwrap_or_default();
        body + rows as usize * repeated
    }

    /// The row that was offered stays.
    pub(crate) fn keep(&mut self, request: &Request<'_>) {
        self.bytes += self.bytes_of(request);
        self.rows += 1;
        if let (Some(starts), Some(body)) = (&mut self.starts, &self.body) {
            starts.push(body.rows());
        }
        if let Some(id) = &mut self.id {
            id.push(request.id());
        }
        if let Some(column) = &mut self.request {
            column.push(request);
        }
        match &mut self.whole_body {
            None => {}
            Some(WholeBody::Bytes(bytes)) => bytes.append_value(request.body()),
            Some(WholeBody::Text(texts)) => {
                texts.append_value(std::str::from_utf8(request.body()).unwrap_or_default());
            }
        }
    }

    /// A row that was offered, and not kept, goes.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        if let Some(body) = &mut self.body {
            let end = self.starts.as_ref().and_then(|starts| starts.last());
            body.truncate(end.map_or(self.rows, |end| *end as usize));
        }
        self.query.truncate(self.rows);
        self.headers.truncate(self.rows);
    }

    /// The rows that were kept, as a batch. The next one begins.
    pub(crate) fn finish(&mut self) -> Batch {
        let starts = self
            .starts
            .as_mut()
            .map(|starts| mem::replace(starts, vec![0]));
        let owners = starts.as_deref().map(owners);
        let mut columns = Vec::with_capacity(self.reads.columns.len());
        for source in &self.reads.columns {
            let column = match source {
                Source::Id => self.id.as_mut().map(IdColumn::finish),
                Source::Request => self.request.as_mut().map(RequestColumn::finish),
                Source::Body(index) => self.body.as_mut().map(|body| body.finish(*index)),
                Source::WholeBody => self.whole_body.as_mut().map(WholeBody::finish),
                Source::Query(index) => self.query.finish(*index),
                Source::Header(index) => self.headers.finish(*index),
            };
            // What a request has once, each of its rows has.
            columns.extend(column.map(|column| match (&owners, source) {
                (None, _) | (_, Source::Body(_)) => column,
                (Some(owners), _) => take(&column, owners, None).expect("each row has a request"),
            }));
        }
        let rows = owners.as_ref().map_or(self.rows, Array::len);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        if let Some(body) = &mut self.body {
            body.restart();
        }
        (self.rows, self.bytes) = (0, 0);
        let schema = Arc::clone(&self.reads.schema);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .expect("each column has the type and the rows that its schema says");
        Batch::new(rows, starts)
    }
}

/// Which request each row belongs to.
fn owners(starts: &[u32]) -> UInt32Array {
    let requests = (0..).zip(starts.windows(2));
    let rows = requests.flat_map(|(request, own)| (own[0]..own[1]).map(move |_| request));
    UInt32Array::from_iter_values(rows)
}

impl WholeBody {
    fn finish(&mut self) -> ArrayRef {
        match self {
            WholeBody::Bytes(bytes) => Arc::new(bytes.finish()),
            WholeBody::Text(texts) => Arc::new(texts.finish()),
        }
    }
}

/// The header field of a column's name; a column may have underscores where the field has hyphens.
fn header<'r>(request: &Request<'r>, name: &str) -> Option<&'r str> {
    let headers = request.headers();
    if !name.contains('_') {
        return headers.get_str(name);
    }
    headers
        .get_str(name)
        .or_else(|| headers.get_str(&name.replace('_', "-")))
}
