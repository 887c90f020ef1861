//! `map`: each row becomes another.

use std::marker::PhantomData;

use crate::context::Context;
use crate::operator::Operator;
use crate::row::Row;
use crate::row_fn::RowFn;

/// Turns each row into one of the family `Out`.
#[derive(Debug)]
pub struct Map<F, Out> {
    f: F,
    out: PhantomData<fn() -> Out>,
}

impl<F, Out> Map<F, Out> {
    pub(crate) fn new(f: F) -> Self {
        Map {
            f,
            out: PhantomData,
        }
    }
}

impl<F: Clone, Out> Clone for Map<F, Out> {
    fn clone(&self) -> Self {
        Map::new(self.f.clone())
    }
}

impl<In, Out, F> Operator<In> for Map<F, Out>
where
    In: Row,
    Out: Row,
    F: for<'r> RowFn<'r, In::At<'r>, Out::At<'r>>,
{
    type Out = Out;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<Out::At<'r>> {
        Some(self.f.call(cx.request(), row))
    }
}
