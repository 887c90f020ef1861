//! `update`: rows are changed in place.

use crate::context::Context;
use crate::operator::Operator;
use crate::row::Row;
use crate::row_fn::RowFn;

/// Changes each row in place.
#[derive(Clone, Debug)]
pub struct Update<F> {
    pub(crate) f: F,
}

impl<In, F> Operator<In> for Update<F>
where
    In: Row,
    F: for<'x, 'r> RowFn<'r, &'x mut In::At<'r>, ()>,
{
    type Out = In;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, mut row: In::At<'r>) -> Option<In::At<'r>> {
        self.f.call(cx.request(), &mut row);
        Some(row)
    }
}
