//! The end of a column pipeline: its plan becomes an operator.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::prelude::{Expr, ident, lit, named_struct};
use snapback::{HasMode, Pipeline};
use snapback_operators::{Replied, Then};

use super::ColumnStream;
use crate::describe;
use crate::error::{Result, SqlError};
use crate::operator::{ColumnOperator, Compiled, Engine};
use crate::planner::Planner;
use crate::reload::Watched;
use crate::reply::ReplyColumn;
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
        let reply = planner.plan.schema().field(0);
        let reply = ReplyColumn::new(reply.name(), reply.data_type());
        // Before the tables are read: what changes meanwhile is read again.
        let watched = match self.reload_every {
            Some(every) => Some(Watched::of(&planner.plan, every)?),
            None => None,
        };
        let (reads, works) = planner.plan()?;
        let description = describe::pipeline(&reads, &planner.plan, &reply, self.reply_mode);
        let engine = Arc::new(Engine::new(works)?);
        let watching = match watched {
            Some(watched) => Some(watched.begin(planner, Arc::downgrade(&engine))?),
            None => None,
        };
        let compiled = Compiled {
            description,
            reads: Arc::new(reads),
            engine,
            reply,
            reply_mode: self.reply_mode,
            watching,
        };
        Ok(self.pipeline.then(ColumnOperator::new(Arc::new(compiled))))
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
            mode: origin.mode(),
            partitions: origin.partitions(),
        })
    }
}
