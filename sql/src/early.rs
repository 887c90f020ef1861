//! Replies from the middle of a pipeline.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::LogicalPlan;

use crate::input::Reads;
use crate::plan::Program;
use crate::reply::ReplyColumn;

/// Answers the requests for which it has a value; the others go on.
#[derive(Debug)]
pub(crate) struct EarlyReply {
    pub(crate) program: Program,
    pub(crate) reply: ReplyColumn,
    pub(crate) columns: Columns,
}

/// What a plan reads of what all plans of a pipeline read together.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    /// All of it.
    All,
    /// The columns at these places.
    At(Vec<usize>),
}

/// The column that a plan replies with: its only one.
pub(crate) fn reply_of(plan: &LogicalPlan) -> ReplyColumn {
    let reply = plan.schema().field(0);
    ReplyColumn::new(reply.name(), reply.data_type())
}

impl Reads {
    /// What several plans over the same requests read together.
    pub(crate) fn union<'r>(self, others: impl IntoIterator<Item = &'r Reads>) -> Reads {
        let mut union = self;
        for other in others {
            let fields = other.columns.iter().zip(other.schema.fields());
            let further: Vec<_> = fields
                .filter(|(source, _)| !union.columns.contains(source))
                .map(|(source, field)| (*source, Arc::clone(field)))
                .collect();
            let mut all: Vec<_> = union.schema.fields().iter().cloned().collect();
            for (source, field) in further {
                union.columns.push(source);
                all.push(field);
            }
            union.schema = Arc::new(Schema::new(all));
        }
        union
    }

    /// Where these are in a union that they are a part of.
    pub(crate) fn within(&self, union: &Reads) -> Columns {
        if self.columns == union.columns {
            return Columns::All;
        }
        let place = |source| union.columns.iter().position(|own| own == source);
        Columns::At(self.columns.iter().filter_map(place).collect())
    }
}
