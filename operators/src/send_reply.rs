//! `send_reply`: an answer from the middle of the pipeline.

use std::marker::PhantomData;

use crate::context::Context;
use crate::describe::Description;
use crate::operator::Operator;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::row::Row;
use crate::row_fn::RowFn;

/// Answers the requests for which the closure gives a reply. The row goes on in any case, as in
/// Spark Serving; since the first reply wins, what comes later is not sent.
#[derive(Debug)]
pub struct SendReply<F, T> {
    f: F,
    reply: PhantomData<fn() -> T>,
}

impl<F, T> SendReply<F, T> {
    pub(crate) fn new(f: F) -> Self {
        SendReply {
            f,
            reply: PhantomData,
        }
    }
}

impl<F: Clone, T> Clone for SendReply<F, T> {
    fn clone(&self) -> Self {
        SendReply::new(self.f.clone())
    }
}

impl<In, T, F> Operator<In> for SendReply<F, T>
where
    In: Row,
    T: IntoReply + 'static,
    F: for<'x, 'r> RowFn<'r, &'x In::At<'r>, Option<T>>,
{
    type Out = In;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<In::At<'r>> {
        if let Some(reply) = self.f.call(cx.request(), &row) {
            reply.into_reply(cx.reply());
        }
        Some(row)
    }

    fn describe(&self, description: &mut Description) {
        description.answers_freely = true;
    }
}

/// What can be sent as a reply with a status of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a reply",
    label = "not a reply",
    note = "give text (`&'static str`, `String`), a pair `(status, text)`, or a `Refusal`; `process` has the whole reply in hand"
)]
pub trait IntoReply {
    /// Writes the reply.
    fn into_reply(self, reply: &mut Reply<'_>);
}

impl IntoReply for &'static str {
    fn into_reply(self, reply: &mut Reply<'_>) {
        reply.text(self);
    }
}

impl IntoReply for String {
    fn into_reply(self, reply: &mut Reply<'_>) {
        reply.text(&self);
    }
}

impl<T: IntoReply> IntoReply for (u16, T) {
    fn into_reply(self, reply: &mut Reply<'_>) {
        reply.status(self.0);
        self.1.into_reply(reply);
    }
}

impl IntoReply for Refusal {
    fn into_reply(self, reply: &mut Reply<'_>) {
        reply.problem(self.status, &self.detail);
    }
}
