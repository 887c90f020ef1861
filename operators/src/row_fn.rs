//! The two shapes that a closure over rows can have.

use crate::request::Request;

/// What an operator calls for a row: a closure over the row, or over the row and its request.
///
/// The output is a parameter and not an associated type, because it may borrow from `'r`, which
/// then appears in no input that rustc would accept (E0582).
pub trait RowFn<'r, Row, Out>: Clone + Send + 'static {
    /// Calls the closure.
    fn call(&mut self, request: &'r Request<'r>, row: Row) -> Out;
}

/// A closure over the row alone.
#[derive(Clone, Debug)]
pub struct Plain<F>(pub F);

impl<'r, Row, Out, F> RowFn<'r, Row, Out> for Plain<F>
where
    F: FnMut(Row) -> Out + Clone + Send + 'static,
{
    #[inline]
    fn call(&mut self, _request: &'r Request<'r>, row: Row) -> Out {
        (self.0)(row)
    }
}

/// A closure over the row and its request.
#[derive(Clone, Debug)]
pub struct WithRequest<F>(pub F);

impl<'r, Row, Out, F> RowFn<'r, Row, Out> for WithRequest<F>
where
    F: FnMut(Row, &'r Request<'r>) -> Out + Clone + Send + 'static,
{
    #[inline]
    fn call(&mut self, request: &'r Request<'r>, row: Row) -> Out {
        (self.0)(row, request)
    }
}
