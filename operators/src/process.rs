//! `process`: the escape hatch, with the whole request and reply in hand.

use std::marker::PhantomData;

use crate::context::Context;
use crate::describe::Description;
use crate::operator::Operator;
use crate::row::{Owned, Row};

/// Hands the row and its context to a closure, which may answer, stop the row or pass one on.
#[derive(Debug)]
pub struct Process<F, T> {
    f: F,
    out: PhantomData<fn() -> T>,
}

impl<F, T> Process<F, T> {
    pub(crate) fn new(f: F) -> Self {
        Process {
            f,
            out: PhantomData,
        }
    }
}

impl<F: Clone, T> Clone for Process<F, T> {
    fn clone(&self) -> Self {
        Process::new(self.f.clone())
    }
}

impl<In, T, F> Operator<In> for Process<F, T>
where
    In: Row,
    T: 'static,
    F: for<'x, 'c, 'r> FnMut(In::At<'r>, &'x mut Context<'c, 'r>) -> Option<T>
        + Clone
        + Send
        + 'static,
{
    type Out = Owned<T>;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<T> {
        (self.f)(row, cx)
    }

    fn describe(&self, description: &mut Description) {
        description.answers_freely = true;
        description.may_be_unanswered = true;
    }
}
