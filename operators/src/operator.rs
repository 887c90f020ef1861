//! One step of a pipeline, and two steps in a row.

use crate::context::Context;
use crate::defer::{Sink, Turn};
use crate::describe::Description;
use crate::row::{Requests, Row};

/// One step of a pipeline.
///
/// An operator takes a row and returns the next one, or `None` when the row stops here. Whether the
/// request is then answered, and how, stands in the context. Operators are values: each partition
/// works on a clone of its own, so an operator needs no lock and its closures no `Sync`.
///
/// An operator that answers later (a batch, a future) takes an owned row, keeps it with the
/// request's ticket and returns `None`; at the end of the turn it hands what became ready to the
/// operators behind it.
pub trait Operator<In: Row>: Clone + Send + 'static {
    /// What it gives to the next operator.
    type Out: Row;

    /// Whether it may answer later. A chain in which no operator does is never settled.
    const DEFERS: bool = false;

    /// Takes one row.
    fn apply<'r>(
        &mut self,
        cx: &mut Context<'_, 'r>,
        row: In::At<'r>,
    ) -> Option<<Self::Out as Row>::At<'r>>;

    /// At the end of a turn: hands the rows that became ready to the operators behind.
    fn settle<S: Sink<Self::Out>>(&mut self, _turn: &mut dyn Turn, _rest: &mut S) {}

    /// Takes the user's closures anew from `pristine` after one of them panicked, since what they
    /// had captured may be half changed. Rows of other requests that wait in an operator stay.
    fn refresh(&mut self, pristine: &Self) {
        self.clone_from(pristine);
    }

    /// Adds what it takes of the requests and how it answers. One that only passes rows on has
    /// nothing to add.
    fn describe(&self, _description: &mut Description) {}
}

/// The empty pipeline: requests come out as they went in.
#[derive(Clone, Copy, Debug)]
pub struct Start;

impl Operator<Requests> for Start {
    type Out = Requests;

    #[inline]
    fn apply<'r>(
        &mut self,
        _cx: &mut Context<'_, 'r>,
        row: <Requests as Row>::At<'r>,
    ) -> Option<<Requests as Row>::At<'r>> {
        Some(row)
    }
}

/// Two operators fused; rustc compiles the whole nest into one function.
#[derive(Clone, Copy, Debug)]
pub struct Then<First, Second> {
    pub(crate) first: First,
    pub(crate) second: Second,
}

impl<In, First, Second> Operator<In> for Then<First, Second>
where
    In: Row,
    First: Operator<In>,
    Second: Operator<First::Out>,
{
    type Out = Second::Out;

    const DEFERS: bool = First::DEFERS || Second::DEFERS;

    #[inline]
    fn apply<'r>(
        &mut self,
        cx: &mut Context<'_, 'r>,
        row: In::At<'r>,
    ) -> Option<<Self::Out as Row>::At<'r>> {
        let row = self.first.apply(cx, row)?;
        self.second.apply(cx, row)
    }

    fn settle<S: Sink<Second::Out>>(&mut self, turn: &mut dyn Turn, rest: &mut S) {
        if First::DEFERS {
            self.first.settle(
                turn,
                &mut Downstream {
                    operator: &mut self.second,
                    rest,
                },
            );
        }
        self.second.settle(turn, rest);
    }

    fn refresh(&mut self, pristine: &Self) {
        self.first.refresh(&pristine.first);
        self.second.refresh(&pristine.second);
    }

    fn describe(&self, description: &mut Description) {
        self.first.describe(description);
        self.second.describe(description);
    }
}

/// An operator and what is behind it, as the sink of what is before it.
struct Downstream<'d, O, S> {
    operator: &'d mut O,
    rest: &'d mut S,
}

impl<R: Row, O: Operator<R>, S: Sink<O::Out>> Sink<R> for Downstream<'_, O, S> {
    fn push<'r>(&mut self, cx: &mut Context<'_, 'r>, row: R::At<'r>) {
        if let Some(next) = self.operator.apply(cx, row) {
            self.rest.push(cx, next);
        }
    }
}
