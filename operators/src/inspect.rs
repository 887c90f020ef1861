//! `inspect`: rows are looked at.

use crate::context::Context;
use crate::operator::Operator;
use crate::row::Row;
use crate::row_fn::RowFn;

/// Shows each row to a closure and lets it pass.
#[derive(Clone, Debug)]
pub struct Inspect<F> {
    pub(crate) f: F,
}

impl<In, F> Operator<In> for Inspect<F>
where
    In: Row,
    F: for<'x, 'r> RowFn<'r, &'x In::At<'r>, ()>,
{
    type Out = In;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<In::At<'r>> {
        self.f.call(cx.request(), &row);
        Some(row)
    }
}
