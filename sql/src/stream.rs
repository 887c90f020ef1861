//! The builder: a stream of requests as a table.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Column, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{JoinType, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{Expr, SessionConfig, SessionContext};
use snapback::{Pipeline, Requests};

use crate::error::{Result, SqlError};
use crate::functions;
use crate::plan::RequestSource;
use crate::planning::wait_for;
use crate::reply::ReplyMode;

mod make_reply;
mod parse;

/// The name of the stream in SQL.
pub const REQUESTS: &str = "requests";

/// A context for tables and functions, as this crate makes one for a stream that is given none:
/// names in SQL are taken as they are written (DataFusion by itself lower-cases them), and a plan
/// runs in one partition.
pub fn context() -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    SessionContext::new_with_config(config)
}

/// A column of texts, for small tables.
pub fn strings<'t>(texts: impl IntoIterator<Item = &'t str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// What this crate adds to a loaded stream: its requests as columns.
pub trait Columns<S, O>: Sized {
    /// The stream as a table, in a [`context`] of its own.
    ///
    /// It has the column `id`, `struct<originatingService, requestId, partitionId>`;
    /// [`parse_request`](ColumnStream::parse_request) adds those of the body.
    fn columns(self) -> ColumnStream<S, O> {
        self.columns_in(&context())
    }

    /// The stream as a table beside the tables and functions of `context`: what is registered
    /// there, in memory or as a file, can be joined and called.
    fn columns_in(self, context: &SessionContext) -> ColumnStream<S, O>;
}

impl<S, O> Columns<S, O> for Pipeline<S, Requests, O> {
    fn columns_in(self, context: &SessionContext) -> ColumnStream<S, O> {
        functions::register(context);
        ColumnStream {
            pipeline: self,
            context: context.clone(),
            source: RequestSource::default(),
            steps: None,
            early: Vec::new(),
            reply_mode: None,
            reload_every: None,
        }
    }
}

/// A stream of requests as a table: DataFusion's `DataFrame` over what comes in.
///
/// Each method plans, and reports at once what is wrong with it. [`make_reply`](Self::make_reply)
/// compiles the whole plan, and refuses what a request by itself cannot pass: see [`crate::NotRowWise`].
pub struct ColumnStream<S, O> {
    pipeline: Pipeline<S, Requests, O>,
    context: SessionContext,
    source: RequestSource,
    /// What is planned so far; nothing but the requests themselves at first.
    steps: Option<DataFrame>,
    /// The replies that are given from the middle, in their order.
    early: Vec<LogicalPlan>,
    /// What was asked for.
    reply_mode: Option<ReplyMode>,
    reload_every: Option<Duration>,
}

impl<S, O> ColumnStream<S, O> {
    /// Keeps these columns alone.
    ///
    /// # Errors
    ///
    /// When an expression names what there is not, or has no type.
    pub fn select(self, expressions: impl IntoIterator<Item = Expr>) -> Result<Self> {
        let expressions: Vec<Expr> = expressions.into_iter().collect();
        self.transform(|requests| requests.select(expressions))
    }

    /// Adds a column, or replaces the one of this name.
    ///
    /// # Errors
    ///
    /// As of [`select`](Self::select).
    pub fn with_column(self, name: &str, expression: Expr) -> Result<Self> {
        self.transform(|requests| requests.with_column(name, expression))
    }

    /// Keeps the requests for which the predicate is true; the others are answered
    /// `unansweredReply` (204).
    ///
    /// # Errors
    ///
    /// As of [`select`](Self::select); and when the predicate is not boolean.
    pub fn filter(self, predicate: Expr) -> Result<Self> {
        self.transform(|requests| requests.filter(predicate))
    }

    /// Drops these columns. A name that there is not is no error, as in Spark.
    ///
    /// # Errors
    ///
    /// Of DataFusion's planning.
    pub fn drop(self, columns: &[&str]) -> Result<Self> {
        let columns: Vec<Column> = columns
            .iter()
            .map(|name| Column::from_name(*name))
            .collect();
        self.transform(|requests| requests.drop_columns(&columns))
    }

    /// Looks each request up in a table, which is read once, when the pipeline is built. The
    /// columns `on` equal each other, left of the request, right of the table; the join keeps all
    /// requests ([`JoinType::Left`]) or those that match.
    ///
    /// A request that matches several rows is answered with the first.
    ///
    /// # Errors
    ///
    /// As of [`select`](Self::select).
    pub fn join(self, table: DataFrame, join_type: JoinType, on: &[(&str, &str)]) -> Result<Self> {
        let (requests_on, table_on): (Vec<Column>, Vec<Column>) = on
            .iter()
            .map(|(left, right)| (Column::from_name(*left), Column::from_name(*right)))
            .unzip();
        self.transform(|requests| {
            let (state, plan) = requests.into_parts();
            let plan = LogicalPlanBuilder::from(plan)
                .join(
                    table.into_unoptimized_plan(),
                    join_type,
                    (requests_on, table_on),
                    None,
                )?
                .build()?;
            Ok(DataFrame::new(state, plan))
        })
    }

    /// Runs a query, in which the stream so far is the table [`requests`](REQUESTS).
    ///
    /// # Errors
    ///
    /// When the text is no query, or names what there is not.
    pub fn sql(mut self, query: &str) -> Result<Self> {
        /// For as long as a query is planned, the context has a table of the stream's name.
        static PLANNING: Mutex<()> = Mutex::new(());

        let _planning = PLANNING.lock().unwrap_or_else(PoisonError::into_inner);
        if self.context.table_exist(REQUESTS)? {
            return Err(SqlError::NameTaken);
        }
        let requests = self.frame()?.into_view();
        self.context.register_table(REQUESTS, requests)?;
        let planned =
            wait_for(async || Ok(self.context.sql_with_options(query, only_queries()).await?));
        self.context.deregister_table(REQUESTS)?;
        self.steps = Some(planned?);
        Ok(self)
    }

    /// Applies a definition: a function of `DataFrame`s that can as well be given a file.
    ///
    /// # Errors
    ///
    /// Of the function.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::datafusion::error::Result;
    /// # use snapback_sql::prelude::*;
    /// fn lengths(rows: DataFrame) -> Result<DataFrame> {
    ///     rows.filter(col("foo").is_not_null())?
    ///         .with_column("fooLength", character_length(col("foo")))
    /// }
    ///
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_request("foo STRING")?
    ///     .transform(lengths)?
    ///     .make_reply(col("fooLength"))?
    ///     .test();
    /// service.post(r#"{"foo":"hello"}"#).expect(200, r#"{"fooLength":5}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transform(
        mut self,
        definition: impl FnOnce(DataFrame) -> datafusion::error::Result<DataFrame>,
    ) -> Result<Self> {
        let transformed = definition(self.frame()?)?;
        self.steps = Some(transformed);
        Ok(self)
    }

    /// Answers a request of which the plan makes several rows in this way. A request of which it makes
    /// none is answered `unansweredReply` (204).
    #[must_use]
    pub fn reply_mode(self, reply_mode: ReplyMode) -> Self {
        ColumnStream {
            reply_mode: Some(reply_mode),
            ..self
        }
    }

    /// Looks so often whether the tables have changed, and if so reads them anew, beside the requests: a
    /// batch sees the old tables or the new ones, never some of each. What cannot be read is told to the
    /// log, and the old tables stay.
    ///
    /// Tables of files on local disk are looked at; replace a file by renaming another one over it,
    /// or it may be read half-written. So are those that a [`MemorySink`](crate::sink::MemorySink) fills,
    /// whose stream must have started before the query is planned.
    #[must_use]
    pub fn reload_tables(self, every: Duration) -> Self {
        ColumnStream {
            reload_every: Some(every),
            ..self
        }
    }

    /// Whether what is planned so far reads files on local disk, which
    /// [`reload_tables`](Self::reload_tables) would look at.
    ///
    /// # Errors
    ///
    /// What DataFusion refuses.
    pub fn reads_files(&self) -> Result<bool> {
        let last = self.frame()?;
        for plan in self.early.iter().chain([last.logical_plan()]) {
            if !crate::reload::files_of(plan)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The columns that there are now.
    ///
    /// # Errors
    ///
    /// What DataFusion refuses.
    pub fn schema(&self) -> Result<SchemaRef> {
        Ok(Arc::clone(self.frame()?.schema().inner()))
    }

    /// Where the requests come from, and the plan so far.
    #[cfg(feature = "internals")]
    pub(crate) fn planned(&self) -> Result<(RequestSource, DataFrame)> {
        Ok((self.source.clone(), self.frame()?))
    }

    /// The plan so far.
    fn frame(&self) -> Result<DataFrame> {
        if let Some(steps) = &self.steps {
            return Ok(steps.clone());
        }
        let name = TableReference::bare(REQUESTS);
        let source = Arc::new(self.source.clone());
        let plan = LogicalPlanBuilder::scan(name, source, None)?.build()?;
        Ok(DataFrame::new(self.context.state(), plan))
    }
}

/// A stream is asked, not changed: no `CREATE`, no `INSERT`, no `SET`.
pub(crate) fn only_queries() -> datafusion::prelude::SQLOptions {
    datafusion::prelude::SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

impl<S: fmt::Debug, O> fmt::Debug for ColumnStream<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.steps.as_ref().map(|steps| steps.logical_plan());
        f.debug_struct("ColumnStream")
            .field("source", &self.source)
            .field("plan", &plan)
            .finish_non_exhaustive()
    }
}
