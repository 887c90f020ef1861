//! `try_map`: each row becomes another, or its request is refused.

use std::marker::PhantomData;

use crate::context::Context;
use crate::describe::Description;
use crate::operator::Operator;
use crate::refusal::IntoRefusal;
use crate::row::{Owned, Row};
use crate::row_fn::RowFn;

/// Turns each row into a `T`; an error becomes the reply, with its status.
#[derive(Debug)]
pub struct TryMap<F, T, E> {
    f: F,
    out: PhantomData<fn() -> (T, E)>,
}

impl<F, T, E> TryMap<F, T, E> {
    pub(crate) fn new(f: F) -> Self {
        TryMap {
            f,
            out: PhantomData,
        }
    }
}

impl<F: Clone, T, E> Clone for TryMap<F, T, E> {
    fn clone(&self) -> Self {
        TryMap::new(self.f.clone())
    }
}

impl<In, T, E, F> Operator<In> for TryMap<F, T, E>
where
    In: Row,
    T: 'static,
    E: IntoRefusal + 'static,
    F: for<'r> RowFn<'r, In::At<'r>, Result<T, E>>,
{
    type Out = Owned<T>;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<T> {
        match self.f.call(cx.request(), row) {
            Ok(row) => Some(row),
            Err(error) => {
                let refusal = error.into_refusal();
                cx.reply().problem(refusal.status, &refusal.detail);
                None
            }
        }
    }

    fn describe(&self, description: &mut Description) {
        description.refuses_freely = true;
    }
}
