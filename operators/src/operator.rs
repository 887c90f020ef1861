//! One step of a pipeline, and two steps in a row.

use crate::context::Context;
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

    /// Takes one row.
    fn apply<'r>(
        &mut self,
        cx: &mut Context<'_, 'r>,
        row: In::At<'r>,
    ) -> Option<<Self::Out as Row>::At<'r>>;

    /// Takes the user's closures anew from `pristine` after one of them panicked, since what they
    /// had captured may be half changed. Rows of other requests that wait in an operator stay.
    fn refresh(&mut self, pristine: &Self) {
        self.clone_from(pristine);
    }
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

    #[inline]
    fn apply<'r>(
        &mut self,
        cx: &mut Context<'_, 'r>,
        row: In::At<'r>,
    ) -> Option<<Self::Out as Row>::At<'r>> {
        let row = self.first.apply(cx, row)?;
        self.second.apply(cx, row)
    }

    fn refresh(&mut self, pristine: &Self) {
        self.first.refresh(&pristine.first);
        self.second.refresh(&pristine.second);
    }
}
