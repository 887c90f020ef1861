//! The request log: served requests with their replies, as rows of a sink.

use std::fmt::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use snapback::tee::{Fields, Opening, Served, SinkError, TeeSink, Texts};

use crate::sink::BatchSink;

/// Writes what a service serves to a [`BatchSink`], a row for each request, chosen columns of it:
///
/// | column | type | what |
/// |---|---|---|
/// | `id` | text | the id of the request, as replies tell it |
/// | `time` | timestamp, µs, UTC | when the turn began that brought it |
/// | `duration_us` | `BIGINT` | from then until the reply was written, in microseconds |
/// | `status` | `INT` | of the reply |
/// | `method`, `path`, `query` | text | as they were sent; the query without its `?` |
/// | `request`, `reply` | text | the bodies; what is not UTF-8 in them is replaced by � |
/// | `request_bytes`, `reply_bytes` | binary | the bodies as they are |
/// | `client` | text | the address of the client |
/// | `identity` | text | the name of the client's key; null without one |
/// | `partition` | `INT` | which partition served it |
/// | `offset` | `BIGINT` | its offset there |
///
/// Headers are in no column: they carry the keys of clients.
///
/// ```no_run
/// use snapback::Session;
/// use snapback_sql::RequestLog;
/// use snapback_sql::prelude::*;
/// # use snapback_sql::sink::BatchSink;
///
/// # fn served(files: impl BatchSink) -> Result<(), Box<dyn std::error::Error>> {
/// let log = RequestLog::to(files).columns(["id", "time", "status", "request"])?;
/// let query = Session::new()
///     .read_stream()
///     .continuous_server()
///     .load()?
///     .columns()
///     .parse_request("foo STRING")?
///     .make_reply(character_length(col("foo")))?
///     .write_stream()
///     .tee(log)
///     .start()?;
/// # Ok(())
/// # }
/// ```
pub struct RequestLog<S> {
    sink: S,
    columns: Vec<LogColumn>,
    run_id: String,
    schema: SchemaRef,
}

/// The names of all columns that a [`RequestLog`] may have.
pub const LOG_COLUMNS: &[&str] = &{
    let mut names = [""; LogColumn::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = LogColumn::ALL[index].0;
        index += 1;
    }
    names
};

/// A column of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogColumn {
    Id,
    Time,
    Duration,
    Status,
    Method,
    Path,
    Query,
    Request,
    Reply,
    RequestBytes,
    ReplyBytes,
    Client,
    Identity,
    Partition,
    Offset,
}

/// The log has no such column, or one was named twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogColumnError {
    /// There is no such column.
    #[error(
        "the request log has no column `{name}`; there are {}",
        LogColumn::names()
    )]
    Unknown {
        /// The name as it was given.
        name: String,
    },
    /// A column is there twice.
    #[error("the request log has the column `{name}` twice: name it once")]
    Twice {
        /// Its name.
        name: String,
    },
    /// There is no column.
    #[error("the request log has no columns: name some of {}", LogColumn::names())]
    None,
}

impl LogColumn {
    const ALL: [(&'static str, LogColumn); 15] = [
        ("id", LogColumn::Id),
        ("time", LogColumn::Time),
        ("duration_us", LogColumn::Duration),
        ("status", LogColumn::Status),
        ("method", LogColumn::Method),
        ("path", LogColumn::Path),
        ("query", LogColumn::Query),
        ("request", LogColumn::Request),
        ("reply", LogColumn::Reply),
        ("request_bytes", LogColumn::RequestBytes),
        ("reply_bytes", LogColumn::ReplyBytes),
        ("client", LogColumn::Client),
        ("identity", LogColumn::Identity),
        ("partition", LogColumn::Partition),
        ("offset", LogColumn::Offset),
    ];
    /// The first of all: those that a log has by default.
    const DEFAULT: usize = 9;

    fn names() -> String {
        LogColumn::ALL.map(|(name, _)| name).join(", ")
    }

    fn field(self) -> Field {
        let named = LogColumn::ALL.iter().find(|(_, column)| *column == self);
        let name = named.map_or("", |(name, _)| name);
        let data_type = match self {
            LogColumn::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            LogColumn::Duration | LogColumn::Offset => DataType::Int64,
            LogColumn::Status | LogColumn::Partition => DataType::Int32,
            LogColumn::RequestBytes | LogColumn::ReplyBytes => DataType::Binary,
            _ => DataType::Utf8,
        };
        Field::new(name, data_type, self == LogColumn::Identity)
    }

    /// What the tee has to note for it.
    fn fields(self) -> Fields {
        match self {
            LogColumn::Method => Fields::METHOD,
            LogColumn::Path | LogColumn::Query => Fields::TARGET,
            LogColumn::Request | LogColumn::RequestBytes => Fields::REQUEST,
            LogColumn::Reply | LogColumn::ReplyBytes => Fields::REPLY,
            LogColumn::Client => Fields::CLIENT,
            LogColumn::Identity => Fields::IDENTITY,
            _ => Fields::NONE,
        }
    }

    fn of(self, served: &Served, run_id: &str) -> ArrayRef {
        match self {
            LogColumn::Id => Arc::new(ids(served, run_id)),
            LogColumn::Time => {
                let times = served.times_ns().iter().map(|time_ns| time_ns / 1_000);
                let times = TimestampMicrosecondArray::from_iter_values(times);
                Arc::new(times.with_timezone("UTC"))
            }
            LogColumn::Duration => Arc::new(int64s(served.durations_ns(), 1_000)),
            LogColumn::Offset => Arc::new(int64s(served.offsets(), 1)),
            LogColumn::Status => {
                let statuses = served.statuses().iter().map(|status| i32::from(*status));
                Arc::new(Int32Array::from_iter_values(statuses))
            }
            LogColumn::Partition => {
                let partition = i32::try_from(served.partition()).unwrap_or(i32::MAX);
                Arc::new(Int32Array::from_value(partition, served.len()))
            }
            LogColumn::Method => Arc::new(texts(served.methods())),
            LogColumn::Client => Arc::new(texts(served.clients())),
            LogColumn::Request => Arc::new(texts(served.requests())),
            LogColumn::Reply => Arc::new(texts(served.replies())),
            LogColumn::Identity => {
                let names = texts(served.identities());
                let given = names
                    .iter()
                    .map(|name| name.filter(|name| !name.is_empty()));
                Arc::new(given.collect::<StringArray>())
            }
            LogColumn::Path => Arc::new(targets(served, true)),
            LogColumn::Query => Arc::new(targets(served, false)),
            LogColumn::RequestBytes => Arc::new(bytes(served.requests())),
            LogColumn::ReplyBytes => Arc::new(bytes(served.replies())),
        }
    }
}

impl<S: BatchSink> RequestLog<S> {
    /// The log into this sink, with the columns `id`, `time`, `duration_us`, `status`, `method`,
    /// `path`, `query`, `request` and `reply`.
    pub fn to(sink: S) -> Self {
        let columns = LogColumn::ALL.iter().take(LogColumn::DEFAULT);
        RequestLog::with(sink, columns.map(|(_, column)| *column).collect())
    }

    /// The log with these columns, in this order.
    ///
    /// # Errors
    ///
    /// [`LogColumnError`] for a name that there is not, one that is there twice, or none at all.
    pub fn columns<N: AsRef<str>>(
        self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, LogColumnError> {
        let mut columns = Vec::new();
        for name in names {
            let name = name.as_ref();
            let unknown = || LogColumnError::Unknown {
                name: name.to_owned(),
            };
            let known = LogColumn::ALL.iter().find(|(known, _)| *known == name);
            let (_, column) = known.ok_or_else(unknown)?;
            if columns.contains(column) {
                let name = name.to_owned();
                return Err(LogColumnError::Twice { name });
            }
            columns.push(*column);
        }
        if columns.is_empty() {
            return Err(LogColumnError::None);
        }
        Ok(RequestLog::with(self.sink, columns))
    }

    fn with(sink: S, columns: Vec<LogColumn>) -> Self {
        let fields: Vec<Field> = columns.iter().map(|column| column.field()).collect();
        RequestLog {
            sink,
            columns,
            run_id: String::new(),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    fn batch(&self, served: &Served) -> Result<RecordBatch, SinkError> {
        let columns = self.columns.iter();
        let columns = columns
            .map(|column| column.of(served, &self.run_id))
            .collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl<S: BatchSink> TeeSink for RequestLog<S> {
    fn fields(&self) -> Fields {
        let fields = self.columns.iter().map(|column| column.fields());
        fields.fold(Fields::NONE, |all, fields| all | fields)
    }

    fn open(&mut self, opening: &Opening) -> Result<(), SinkError> {
        self.run_id.clone_from(&opening.run_id);
        self.sink.open(opening, &self.schema)
    }

    fn write(&mut self, epoch: u64, served: &[Served]) -> Result<(), SinkError> {
        let batches: Result<Vec<_>, _> = served.iter().map(|rows| self.batch(rows)).collect();
        self.sink.write(epoch, &batches?)
    }

    fn committed(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.sink.committed(epoch)
    }
}

impl<S> fmt::Debug for RequestLog<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// The ids as replies tell them.
fn ids(served: &Served, run_id: &str) -> StringArray {
    let mut ids = StringBuilder::with_capacity(served.len(), served.len() * (run_id.len() + 12));
    let mut id = format!("{run_id}-{}-", served.partition());
    let prefix_bytes = id.len();
    let mut digits = itoa::Buffer::new();
    for offset in served.offsets() {
        id.truncate(prefix_bytes);
        // Writing to memory does not fail.
        let _ = id.write_str(digits.format(*offset));
        ids.append_value(&id);
    }
    ids.finish()
}

/// Values divided by a unit; more than the type takes is not reached in a life.
fn int64s(values: &[u64], unit: u64) -> Int64Array {
    let values = values.iter().map(|value| i64::try_from(value / unit));
    Int64Array::from_iter_values(values.map(|value| value.unwrap_or(i64::MAX)))
}

fn bytes(texts: &Texts) -> BinaryArray {
    BinaryArray::new(offsets(texts), Buffer::from(texts.bytes()), None)
}

/// As it is where all of it is UTF-8.
fn texts(texts: &Texts) -> StringArray {
    let as_it_is = StringArray::try_new(offsets(texts), Buffer::from(texts.bytes()), None);
    as_it_is.unwrap_or_else(|_| {
        let rows = (0..texts.len()).map(|row| String::from_utf8_lossy(texts.get(row)));
        StringArray::from_iter_values(rows)
    })
}

fn offsets(texts: &Texts) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(texts.offsets().to_vec()))
}

/// The paths, or the queries without their `?`.
fn targets(served: &Served, are_paths: bool) -> StringArray {
    let targets = served.targets();
    let rows = (0..targets.len()).map(|row| {
        let target = targets.get(row);
        let mark = memchr::memchr(b'?', target);
        let part = match (are_paths, mark) {
            (true, Some(mark)) => &target[..mark],
            (true, None) => target,
            (false, Some(mark)) => &target[mark + 1..],
            (false, None) => &[],
        };
        String::from_utf8_lossy(part)
    });
    StringArray::from_iter_values(rows)
}
