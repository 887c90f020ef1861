//! The erased edge: what a partition, a test and a bench see of a pipeline.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::batch::discard_payload;
use crate::context::Context;
use crate::defer::{End, Turn};
use crate::describe::Description;
use crate::operator::Operator;
use crate::row::{Finished, Requests};

/// A finished pipeline behind one virtual call per request.
pub trait Chain: Send {
    /// Computes the reply to one request, in the context's outbox.
    ///
    /// After `Ok` the reply is made, or still open when the row was filtered, or a place was reserved
    /// for it with the context's host.
    ///
    /// # Errors
    ///
    /// [`Panicked`] when an operator panicked. What it had written is taken back and its closures
    /// are taken anew, so the same request may be tried again.
    fn call(&mut self, cx: &mut Context<'_, '_>) -> Result<(), Panicked>;

    /// Whether rows may wait in the chain, so that [`settle`](Self::settle) is to be called at the
    /// end of each turn.
    fn defers(&self) -> bool;

    /// Ends a turn: rows that became ready go on.
    ///
    /// # Errors
    ///
    /// [`Panicked`] when that panicked outside [`Turn::resume`], which catches for itself. The
    /// chain is refreshed; tickets that were being gone through are lost to their deadlines.
    fn settle(&mut self, turn: &mut dyn Turn) -> Result<(), Panicked>;

    /// Takes the user's closures anew, after one of them panicked in [`Turn::resume`].
    fn refresh(&mut self);

    /// A fresh instance for another partition.
    fn instance(&self) -> Box<dyn Chain>;

    /// What it takes and answers. Nothing is known of a chain that does not say it.
    fn describe(&self) -> Description {
        Description {
            answers_freely: true,
            ..Description::default()
        }
    }
}

impl fmt::Debug for dyn Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain")
    }
}

/// An operator of the pipeline panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operator panicked")]
pub struct Panicked;

/// The operators of a pipeline and the pristine copy from which they are refreshed.
#[derive(Clone, Debug)]
pub struct Compiled<O> {
    operators: O,
    pristine: O,
}

impl<O: Operator<Requests, Out: Finished>> Compiled<O> {
    /// Closes the pipeline.
    pub fn new(operators: O) -> Self {
        Compiled {
            pristine: operators.clone(),
            operators,
        }
    }

    /// The payload's own drop, and the user's `Clone`, may panic as well.
    #[cold]
    fn after_panic(&mut self, payload: Box<dyn std::any::Any + Send>) {
        discard_payload(payload);
        self.refresh();
    }
}

impl<O: Operator<Requests, Out: Finished>> Chain for Compiled<O> {
    #[inline]
    fn call(&mut self, cx: &mut Context<'_, '_>) -> Result<(), Panicked> {
        let request = cx.request();
        match catch_unwind(AssertUnwindSafe(|| self.operators.apply(cx, request))) {
            Ok(_) => Ok(()),
            Err(payload) => {
                self.after_panic(payload);
                cx.reset();
                Err(Panicked)
            }
        }
    }

    fn defers(&self) -> bool {
        O::DEFERS
    }

    fn settle(&mut self, turn: &mut dyn Turn) -> Result<(), Panicked> {
        catch_unwind(AssertUnwindSafe(|| self.operators.settle(turn, &mut End))).map_err(
            |payload| {
                self.after_panic(payload);
                Panicked
            },
        )
    }

    fn refresh(&mut self) {
        let refresh = AssertUnwindSafe(|| self.operators.refresh(&self.pristine));
        if let Err(payload) = catch_unwind(refresh) {
            discard_payload(payload);
        }
    }

    fn instance(&self) -> Box<dyn Chain> {
        Box::new(Compiled::new(self.pristine.clone()))
    }

    fn describe(&self) -> Description {
        let mut description = Description::default();
        self.pristine.describe(&mut description);
        description
    }
}
