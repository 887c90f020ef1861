//! The end of a column pipeline: its plan becomes an operator.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::ExprSchemable;
use datafusion::prelude::{Expr, ident, lit, named_struct};
use snapback::{HasMode, Pipeline};
use snapback_operators::{Replied, Then};

use super::ColumnStream;
use crate::ddl;
use crate::describe;
use crate::early;
use crate::error::{Result, SqlError};
use crate::operator::{ColumnOperator, Compiled, Engine};
use crate::planner::{Planned, Planner};
use crate::reload::Watched;
use crate::reply::ReplyMode;
use crate::schema;

/// The name of the id behind a reply, where no other column has it.
const REPLY_ID: &str = "__snapback_id";

impl<S: HasMode, O> ColumnStream<S, O> {
    /// Answers each request with a column, and compiles the plan.
    ///
    /// | column | body | content type |
    /// |---|---|---|
    /// | text | as it is | `text/plain; charset=utf-8` |
    /// | bytes | as they are | `application/octet-stream` |
    /// | struct, map, list of those | JSON | `application/json` |
    /// | anything else | `{"name":value}`, where `name` is the column's | `application/json` |
    /// | null of anything else | `{}` | `application/json` |
    /// | any other null | empty | none |
    ///
    /// Tables that are joined are read now.
    ///
    /// # Errors
    ///
    /// [`SqlError::NotRowWise`] for a plan that needs more than the row at hand,
    /// [`SqlError::NotFromRequests`] for one that reads no requests, and what DataFusion refuses.
    pub fn make_reply(
        self,
        expression: Expr,
    ) -> Result<Pipeline<S, Replied, Then<O, ColumnOperator>>> {
        let planner = self.planner(expression)?;
        let reply = early::reply_of(&planner.plan);
        let has_rows = self.source.0.has_rows();
        let reply_mode = self.reply_mode.unwrap_or(match has_rows {
            true => ReplyMode::Array,
            false => ReplyMode::First,
        });
        // Before the tables are read: what changes meanwhile is read again.
        let watched = match self.reload_every {
            Some(every) => Some(Watched::of(&planner, every)?),
            None => None,
        };
        let Planned {
            reads,
            early,
            works,
            columns,
        } = planner.plan()?;
        let description = describe::pipeline(&reads, &planner, &reply, &early, reply_mode);
        let engine = Arc::new(Engine::new(early, works)?);
        let watching = match watched {
            Some(watched) => Some(watched.begin(planner, Arc::downgrade(&engine))?),
            None => None,
        };
        let compiled = Compiled {
            description,
            reads: Arc::new(reads),
            columns,
            engine,
            reply,
            reply_mode,
            answers_no_rows: has_rows && reply_mode == ReplyMode::Array,
            watching,
        };
        Ok(self.pipeline.then(ColumnOperator::new(Arc::new(compiled))))
    }

    /// Answers from the middle of the pipeline the requests for which an expression is not null, with
    /// its value, as [`make_reply`](Self::make_reply) does: Spark Serving's `sendReplyUDF`. They take no
    /// part in what follows, so nothing there can fail them, and no later reply reaches them; the
    /// others go on. Several such replies are tried in their order.
    ///
    /// It is evaluated in the partition's turn in every mode, before the micro-batch of the others begins;
    /// so what is before it must be row-wise.
    ///
    /// # Errors
    ///
    /// When the expression names what there is not. What is not row-wise is an error of `make_reply`.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_request("total INT, parts INT")?
    ///     .send_reply(when(col("parts").eq(lit(0)), lit("nothing to share")).end()?)?
    ///     .make_reply((col("total") / col("parts")).alias("each"))?
    ///     .test();
    /// service.post(r#"{"total":6,"parts":3}"#).expect(200, r#"{"each":2}"#);
    /// service.post(r#"{"total":6,"parts":0}"#).expect(200, "nothing to share");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_reply(mut self, expression: Expr) -> Result<Self> {
        let frame = self.frame()?;
        let plan = frame.clone().select(vec![expression])?.into_parts().1;
        self.early.push(plan);
        // What is parsed is settled by the first plan over it.
        self.steps = Some(frame);
        Ok(self)
    }

    /// An expression in SQL over the columns that there are now, as Spark's `expr`.
    ///
    /// # Errors
    ///
    /// When the text is no expression, or names what there is not.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let stream = Pipeline::detached().columns().parse_request("value INT")?;
    /// let missing = stream.expr("CASE WHEN value IS NULL THEN 'no value' END")?;
    /// let mut service = stream.send_reply(missing)?.make_reply(col("value"))?.test();
    /// service.post(r#"{"value":null}"#).expect(200, "no value");
    /// # Ok(())
    /// # }
    /// ```
    pub fn expr(&self, sql: &str) -> Result<Expr> {
        Ok(self.frame()?.parse_sql_expr(sql)?)
    }

    /// A condition in SQL over the columns that there are now: an [`expr`](Self::expr) that is true, false
    /// or null.
    ///
    /// # Errors
    ///
    /// [`SqlError::NotBoolean`] for any other expression; [`SqlError::Plan`] as of `expr`.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let stream = Pipeline::detached().columns().parse_request("value INT")?;
    /// assert!(stream.condition("value > 3").is_ok());
    /// let error = stream.condition("value + 3").err().map(|error| error.to_string());
    /// let expected = "`value + 3` is no condition: it is BIGINT, and a condition is BOOLEAN";
    /// assert_eq!(error.as_deref(), Some(expected));
    /// # Ok(())
    /// # }
    /// ```
    pub fn condition(&self, sql: &str) -> Result<Expr> {
        let frame = self.frame()?;
        let condition = frame.parse_sql_expr(sql)?;
        match condition.get_type(frame.schema())? {
            DataType::Boolean | DataType::Null => Ok(condition),
            other => Err(SqlError::NotBoolean {
                expression: sql.to_owned(),
                data_type: ddl::type_name(&other),
            }),
        }
    }

    /// Answers each request with all columns but its `id` and itself: a single one as
    /// [`make_reply`](Self::make_reply) does, several as a JSON object.
    ///
    /// # Errors
    ///
    /// As of `make_reply`; and [`SqlError::NothingToReply`] when there is no such column.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_request("a INT, b INT")?
    ///     .sql("SELECT id, a + b AS sum, a * b AS product FROM requests")?
    ///     .make_reply_of_all()?
    ///     .test();
    /// service.post(r#"{"a":2,"b":3}"#).expect(200, r#"{"sum":5,"product":6}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn make_reply_of_all(self) -> Result<Pipeline<S, Replied, Then<O, ColumnOperator>>> {
        let all = self.reply_of_all()?;
        self.make_reply(all)
    }

    /// What [`make_reply_of_all`](Self::make_reply_of_all) replies with.
    ///
    /// # Errors
    ///
    /// [`SqlError::NothingToReply`] when there is nothing.
    pub fn reply_of_all(&self) -> Result<Expr> {
        let schema = self.schema()?;
        let is_own = |field: &&FieldRef| {
            let (name, data_type) = (field.name(), field.data_type());
            [schema::id_field(), schema::request_field()]
                .iter()
                .any(|own| own.name() == name && own.data_type() == data_type)
        };
        let replies = schema.fields().iter().filter(|field| !is_own(field));
        let names: Vec<&String> = replies.map(|field| field.name()).collect();
        match names.as_slice() {
            [] => Err(SqlError::NothingToReply),
            [name] => Ok(ident(*name)),
            names => {
                let parts = names.iter().flat_map(|name| [lit(*name), ident(*name)]);
                Ok(named_struct(parts.collect()).alias("reply"))
            }
        }
    }

    /// What is planned, with an expression as its reply.
    pub(crate) fn planner(&self, expression: Expr) -> Result<Planner> {
        let frame = self.frame()?;
        let id = frame.schema().field_with_unqualified_name(schema::ID).ok();
        let has_id = id.is_some_and(|id| id.data_type() == schema::id_field().data_type());
        let with_id = match has_id {
            true => {
                let id = ident(schema::ID).alias(REPLY_ID);
                let frame = frame.clone().select(vec![expression.clone(), id])?;
                Some(frame.into_parts().1)
            }
            false => None,
        };
        let (state, plan) = frame.select(vec![expression])?.into_parts();
        let origin = self.pipeline.origin();
        Ok(Planner {
            state,
            source: self.source.clone(),
            plan,
            with_id,
            early: self.early.clone(),
            mode: origin.mode(),
            partitions: origin.partitions(),
        })
    }
}
