//! Streams that serve nobody, beside those that do: rows of a source through a query into a sink.
//!
//! ```no_run
//! use snapback::{ProcessingTime, Session};
//! use snapback_sql::prelude::*;
//! use snapback_sql::sink::{FileFormat, FileSink};
//! use snapback_sql::streams::{FileFormat as Input, TableSources};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::new();
//! let query = session
//!     .read_stream()
//!     .files("incoming", Input::Json, "name STRING, size BIGINT")?
//!     .filter(col("size").gt(lit(100)))
//!     .write_stream()
//!     .to(FileSink::new("large", FileFormat::Parquet))
//!     .query_name("large_files")
//!     .checkpoint_location("checkpoints/large_files")
//!     .trigger(ProcessingTime::secs(1))
//!     .start()?;
//! query.await_termination()?;
//! # Ok(())
//! # }
//! ```
//!
//! Each trigger takes what has come, runs the query over it on a thread of its own, gives the rows to the
//! sink, and commits the epoch. An aggregate, a sort or a window is over the rows of the epoch. After a
//! crash the epoch that was not committed runs again; a [`FileSink`](crate::sink::FileSink) takes back
//! what it had of it, so its rows are there once.

mod engine;
mod files;
mod format;
mod options;
mod query;
mod rate;
mod records;
mod source;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{JoinType, LogicalPlanBuilder};
use datafusion::prelude::{Expr, SessionContext};
use snapback::{Session, StreamReader};

use crate::error::Result;
use crate::schema::IntoSchema;
use crate::sink::SinkError;
use crate::stream::only_queries;

pub use files::FilesSource;
pub use format::FileFormat;
pub use options::StreamOptionError;
pub use query::{TableProgress, TableQuery};
pub use rate::RateSource;
pub use source::{Source, Taken};
pub use writer::{StreamError, TableWriter};

/// The name of a stream in SQL.
pub const STREAM: &str = "stream";

/// What this crate adds to `read_stream()`: sources of rows that nobody waits for.
pub trait TableSources: Sized {
    /// Rows at a steady rate, for trying things out: `timestamp`, and `value`, which counts from 0.
    fn rate(self, rows_per_second: u64) -> TableStream;

    /// The rows of the files in a directory, each file once, as soon as it is there.
    ///
    /// # Errors
    ///
    /// A text that is no schema.
    fn files(
        self,
        directory: impl Into<PathBuf>,
        format: FileFormat,
        schema: impl IntoSchema,
    ) -> Result<TableStream>;

    /// The rows of the files in a directory, with the columns that those have which are there now:
    /// [`FilesSource::inferred`].
    ///
    /// # Errors
    ///
    /// No file to look into, one that cannot be read, or columns that do not agree.
    fn files_inferred(
        self,
        directory: impl Into<PathBuf>,
        format: FileFormat,
    ) -> std::result::Result<TableStream, SinkError>;

    /// The rows of any source.
    fn source(self, source: impl Source) -> TableStream;
}

impl TableSources for StreamReader {
    fn rate(self, rows_per_second: u64) -> TableStream {
        self.source(RateSource::new(rows_per_second))
    }

    fn files(
        self,
        directory: impl Into<PathBuf>,
        format: FileFormat,
        schema: impl IntoSchema,
    ) -> Result<TableStream> {
        let schema = schema.into_schema()?;
        Ok(self.source(FilesSource::new(directory, format, schema)))
    }

    fn files_inferred(
        self,
        directory: impl Into<PathBuf>,
        format: FileFormat,
    ) -> std::result::Result<TableStream, SinkError> {
        Ok(self.source(FilesSource::inferred(directory, format)?))
    }

    fn source(self, source: impl Source) -> TableStream {
        TableStream {
            session: self.session().clone(),
            source: Box::new(source),
            options: Vec::new(),
            context: crate::context(),
            steps: Vec::new(),
        }
    }
}

type Step = Box<dyn Fn(DataFrame, &SessionContext) -> Result<DataFrame> + Send>;

/// The rows of a source, and what is done to them.
pub struct TableStream {
    session: Session,
    source: Box<dyn Source>,
    options: Vec<(String, String)>,
    context: SessionContext,
    steps: Vec<Step>,
}

impl TableStream {
    /// Sets an option of the source; the start tells of an unknown key or a value that does not fit.
    ///
    /// | source | key | value | default |
    /// |---|---|---|---|
    /// | `rate` | `rowsPerSecond` | 1 to 10⁹ | as given to `rate` |
    /// | | `rampUpTime` | how long it takes to become that fast, a day at most | `0s` |
    /// | `files` | `maxFilesPerTrigger` | how many files an epoch takes at most | 64 |
    /// | | `maxBytesPerTrigger` | an epoch with so many bytes takes no further file | `256 MiB` |
    /// | | `mode` | `failFast`: waits until a malformed file is mended or gone; `permissive`: leaves it out, and counts it | `failFast` |
    /// | | `cleanSource` | `off`; `delete`: deletes a file when its epoch is committed | `off` |
    #[must_use]
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.options.push((key.to_owned(), value.to_string()));
        self
    }

    /// Runs beside the tables and functions of this context, which queries may name.
    #[must_use]
    pub fn in_context(self, context: &SessionContext) -> Self {
        TableStream {
            context: context.clone(),
            ..self
        }
    }

    /// Applies a definition: a function of `DataFrame`s that can as well be given a file. It is called
    /// for each epoch.
    #[must_use]
    pub fn transform(
        mut self,
        definition: impl Fn(DataFrame) -> PlanResult<DataFrame> + Send + 'static,
    ) -> Self {
        let step = move |rows, _: &SessionContext| Ok(definition(rows)?);
        self.steps.push(Box::new(step));
        self
    }

    /// Keeps these columns alone.
    #[must_use]
    pub fn select(self, expressions: impl IntoIterator<Item = Expr>) -> Self {
        let expressions: Vec<Expr> = expressions.into_iter().collect();
        self.transform(move |rows| rows.select(expressions.clone()))
    }

    /// Adds a column, or replaces the one of this name.
    #[must_use]
    pub fn with_column(self, name: &str, expression: Expr) -> Self {
        let name = name.to_owned();
        self.transform(move |rows| rows.with_column(&name, expression.clone()))
    }

    /// Keeps the rows for which the predicate is true.
    #[must_use]
    pub fn filter(self, predicate: Expr) -> Self {
        self.transform(move |rows| rows.filter(predicate.clone()))
    }

    /// Joins each epoch with a table, which is read anew for it. The columns `on` equal each other, left of
    /// the stream, right of the table; one that both call the same is there once, but in a full join.
    #[must_use]
    pub fn join(self, table: DataFrame, join_type: JoinType, on: &[(&str, &str)]) -> Self {
        let pairs = on.iter();
        let pairs: Vec<(String, String)> = pairs
            .map(|(left, right)| ((*left).to_owned(), (*right).to_owned()))
            .collect();
        self.transform(move |rows| joined(rows, &table, join_type, &pairs))
    }

    /// Runs a query, in which the stream so far is the table [`stream`](STREAM).
    #[must_use]
    pub fn sql(mut self, query: &str) -> Self {
        let query = query.to_owned();
        let step = move |rows: DataFrame, context: &SessionContext| {
            /// For as long as a query is planned, the context has a table of the stream's name.
            static PLANNING: Mutex<()> = Mutex::new(());

            let _planning = PLANNING.lock().unwrap_or_else(PoisonError::into_inner);
            context.register_table(STREAM, rows.into_view())?;
            let planned = crate::planning::wait_for(async || {
                Ok(context.sql_with_options(&query, only_queries()).await?)
            });
            context.deregister_table(STREAM)?;
            planned
        };
        self.steps.push(Box::new(step));
        self
    }

    /// Goes on to the sink.
    pub fn write_stream(self) -> TableWriter {
        TableWriter::new(self)
    }

    /// What becomes of rows of the source.
    fn plan(&self, rows: Vec<RecordBatch>) -> Result<DataFrame> {
        let table = MemTable::try_new(self.source.schema(), vec![rows])?;
        let rows = self.context.read_table(Arc::new(table))?;
        self.steps
            .iter()
            .try_fold(rows, |rows, step| step(rows, &self.context))
    }

    /// The columns that there are in the end.
    ///
    /// # Errors
    ///
    /// What DataFusion refuses of the steps.
    pub fn schema(&self) -> Result<SchemaRef> {
        Ok(Arc::clone(self.plan(Vec::new())?.schema().inner()))
    }
}

fn joined(
    rows: DataFrame,
    table: &DataFrame,
    join_type: JoinType,
    pairs: &[(String, String)],
) -> PlanResult<DataFrame> {
    let (left, right): (Vec<Column>, Vec<Column>) = pairs
        .iter()
        .map(|(left, right)| (Column::from_name(left), Column::from_name(right)))
        .unzip();
    let (state, plan) = rows.into_parts();
    let of_stream = plan.schema().fields().len();
    let table = table.logical_plan().clone();
    // Under a name of its own: the table may have a column of the same name.
    let plan = LogicalPlanBuilder::from(plan).alias(STREAM)?;
    let plan = plan.join(table, join_type, (left, right), None)?.build()?;
    let is_twice = |place: usize, column: &Column| {
        let goes = match join_type {
            JoinType::Inner | JoinType::Left => place >= of_stream,
            JoinType::Right => place < of_stream,
            _ => false,
        };
        let is_shared = |(left, right): &(String, String)| left == right && *left == column.name;
        goes && pairs.iter().any(is_shared)
    };
    let columns = plan.schema().columns().into_iter().enumerate();
    let columns = columns.filter(|(place, column)| !is_twice(*place, column));
    let columns: Vec<Expr> = columns.map(|(_, column)| Expr::Column(column)).collect();
    let plan = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
    Ok(DataFrame::new(state, plan))
}

impl std::fmt::Debug for TableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableStream")
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}
