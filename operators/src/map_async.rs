//! `map_async`: each row becomes another by way of a future.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

use crossbeam_queue::ArrayQueue;

use crate::batch::{discard_payload, fail, go_on};
use crate::context::Context;
use crate::defer::{Sink, Ticket, Turn};
use crate::operator::Operator;
use crate::row::{Owned, Row};

/// How many rows one partition may have in futures, unless the pipeline says otherwise.
pub const MAX_IN_FLIGHT: usize = 1024;

/// Turns each row into a future on the session's runtime, and goes on with its output.
///
/// Futures run side by side; their rows go on in the order in which they end, and the replies of a
/// connection leave in the order of its requests. When `max_in_flight` futures of a partition run
/// already, further requests are answered 503 at once.
pub struct MapAsync<F, Fut: Future> {
    f: F,
    max_in_flight: usize,
    completions: Arc<Completions<Fut::Output>>,
}

/// What the futures of one instance give back. Bounded by the number of futures, so a push always
/// finds room.
struct Completions<T> {
    done: ArrayQueue<Completion<T>>,
    in_flight: AtomicUsize,
}

/// `None` when the future panicked.
struct Completion<T> {
    ticket: Ticket,
    output: Option<T>,
    _in_flight: InFlight<T>,
}

/// Counts a future as long as it runs, and until its output is taken; also when it is dropped.
struct InFlight<T>(Arc<Completions<T>>);

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F, Fut: Future> fmt::Debug for MapAsync<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapAsync({} at most)", self.max_in_flight)
    }
}

impl<F, Fut: Future> MapAsync<F, Fut> {
    pub(crate) fn new(f: F, max_in_flight: usize) -> Self {
        let max_in_flight = max_in_flight.max(1);
        let completions = Completions {
            done: ArrayQueue::new(max_in_flight),
            in_flight: AtomicUsize::new(0),
        };
        MapAsync {
            f,
            max_in_flight,
            completions: Arc::new(completions),
        }
    }

    fn begin(&self) -> Option<InFlight<Fut::Output>> {
        // Only the partition adds, so the count cannot grow between the look and the addition.
        if self.completions.in_flight.load(Ordering::Relaxed) >= self.max_in_flight {
            return None;
        }
        self.completions.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(InFlight(Arc::clone(&self.completions)))
    }
}

impl<F: Clone, Fut: Future> Clone for MapAsync<F, Fut> {
    /// Another instance: it begins without futures.
    fn clone(&self) -> Self {
        MapAsync::new(self.f.clone(), self.max_in_flight)
    }
}

impl<In, F, Fut> Operator<In> for MapAsync<F, Fut>
where
    In: Row,
    Fut: Future<Output: Send> + Send + 'static,
    F: for<'r> FnMut(In::At<'r>) -> Fut + Clone + Send + 'static,
{
    type Out = Owned<Fut::Output>;

    const DEFERS: bool = true;

    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<Fut::Output> {
        let Some(in_flight) = self.begin() else {
            cx.overloaded();
            return None;
        };
        // The closure runs before a place is reserved: if it panics, the request is tried again.
        let future = (self.f)(row);
        let ticket = cx.defer()?;
        let (place, waker) = (ticket.place(), cx.waker());
        let work = async move {
            let mut future = pin!(future);
            let output = poll_fn(|cx| poll_caught(future.as_mut(), cx)).await;
            let completions = Arc::clone(&in_flight.0);
            let completion = Completion {
                ticket,
                output,
                _in_flight: in_flight,
            };
            // There is room for as many completions as there are futures.
            let _ = completions.done.push(completion);
            waker.wake();
        };
        cx.spawn(place, Box::pin(work));
        None
    }

    fn settle<S: Sink<Owned<Fut::Output>>>(&mut self, turn: &mut dyn Turn, rest: &mut S) {
        // As many as there may be, so that a turn ends though futures end faster than it.
        for _ in 0..self.max_in_flight {
            let Some(Completion { ticket, output, .. }) = self.completions.done.pop() else {
                break;
            };
            match output {
                Some(output) => go_on(turn, ticket, output, rest),
                None => fail(turn, ticket),
            }
        }
    }

    fn refresh(&mut self, pristine: &Self) {
        self.f = pristine.f.clone();
    }
}

/// Polls a future whose panic is an output, `None`.
fn poll_caught<Fut: Future>(
    future: Pin<&mut Fut>,
    cx: &mut TaskContext<'_>,
) -> Poll<Option<Fut::Output>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(payload) => {
            discard_payload(payload);
            Poll::Ready(None)
        }
    }
}
