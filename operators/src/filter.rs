//! `filter`: some rows go on.

use crate::context::Context;
use crate::describe::Description;
use crate::operator::Operator;
use crate::row::Row;
use crate::row_fn::RowFn;

/// Lets the rows pass for which the closure holds. The others leave the pipeline; their requests
/// are answered `unansweredReply` unless they were answered before.
#[derive(Clone, Debug)]
pub struct Filter<F> {
    pub(crate) predicate: F,
}

impl<In, F> Operator<In> for Filter<F>
where
    In: Row,
    F: for<'x, 'r> RowFn<'r, &'x In::At<'r>, bool>,
{
    type Out = In;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<In::At<'r>> {
        self.predicate.call(cx.request(), &row).then_some(row)
    }

    fn describe(&self, description: &mut Description) {
        description.may_be_unanswered = true;
    }
}
