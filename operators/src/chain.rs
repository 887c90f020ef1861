//! The erased edge: what a partition, a test and a bench see of a pipeline.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::context::Context;
use crate::operator::Operator;
use crate::row::{Replied, Requests};

/// A finished pipeline behind one virtual call per request.
pub trait Chain: Send {
    /// Computes the reply to one request, in the context's outbox.
    ///
    /// After `Ok` the reply is either made or still open, when the row was filtered.
    ///
    /// # Errors
    ///
    /// [`Panicked`] when an operator panicked. What it had written is taken back and its closures
    /// are taken anew, so the same request may be tried again.
    fn call(&mut self, cx: &mut Context<'_, '_>) -> Result<(), Panicked>;

    /// A fresh instance for another partition.
    fn instance(&self) -> Box<dyn Chain>;
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

impl<O: Operator<Requests, Out = Replied>> Compiled<O> {
    /// Closes the pipeline.
    pub fn new(operators: O) -> Self {
        Compiled {
            pristine: operators.clone(),
            operators,
        }
    }

    #[cold]
    fn after_panic(&mut self, cx: &mut Context<'_, '_>, payload: Box<dyn std::any::Any + Send>) {
        // The payload's own drop, and the user's `Clone`, may panic as well. The second payload is
        // leaked: its drop could go on like this for ever.
        let cleanup = AssertUnwindSafe(|| {
            drop(payload);
            self.operators.refresh(&self.pristine);
        });
        if let Err(second) = catch_unwind(cleanup) {
            std::mem::forget(second);
        }
        cx.reply().reset();
    }
}

impl<O: Operator<Requests, Out = Replied>> Chain for Compiled<O> {
    #[inline]
    fn call(&mut self, cx: &mut Context<'_, '_>) -> Result<(), Panicked> {
        let request = cx.request();
        match catch_unwind(AssertUnwindSafe(|| self.operators.apply(cx, request))) {
            Ok(_) => Ok(()),
            Err(payload) => {
                self.after_panic(cx, payload);
                Err(Panicked)
            }
        }
    }

    fn instance(&self) -> Box<dyn Chain> {
        Box::new(Compiled::new(self.pristine.clone()))
    }
}
