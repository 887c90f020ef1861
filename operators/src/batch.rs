//! `batch`: the rows of a turn go through a closure together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::context::Context;
use crate::defer::{Sink, Ticket, Turn};
use crate::operator::Operator;
use crate::row::{Owned, Row};

/// How rows are gathered.
///
/// By default a batch waits for nobody: it holds what arrived while the last turn ran, one row when
/// the server is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    /// The closure never sees more rows than this at once.
    pub max_batch_size: usize,
    /// How long the first row may wait for others before the batch runs, unless it is full before.
    pub max_batch_delay: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            max_batch_size: 256,
            max_batch_delay: Duration::ZERO,
        }
    }
}

impl BatchOptions {
    /// With another `max_batch_size`; 0 counts as 1.
    #[must_use]
    pub fn max_batch_size(self, rows: usize) -> Self {
        BatchOptions {
            max_batch_size: rows.max(1),
            ..self
        }
    }

    /// With another `max_batch_delay`.
    #[must_use]
    pub fn max_batch_delay(self, delay: Duration) -> Self {
        BatchOptions {
            max_batch_delay: delay,
            ..self
        }
    }
}

/// Gathers rows, and hands them to a closure together.
///
/// When the closure panics, its rows are run one by one, so that only the guilty one fails.
#[derive(Debug)]
pub struct Batch<F, In, Out> {
    f: F,
    pristine: F,
    options: BatchOptions,
    /// Tickets and rows go in pairs, oldest first.
    tickets: Vec<Ticket>,
    rows: Vec<In>,
    results: Vec<Out>,
    /// When the oldest row must go on, once that is known.
    due_ns: Option<u64>,
}

impl<F: Clone, In, Out> Batch<F, In, Out> {
    pub(crate) fn new(f: F, options: BatchOptions) -> Self {
        Batch {
            pristine: f.clone(),
            f,
            options,
            tickets: Vec::new(),
            rows: Vec::new(),
            results: Vec::new(),
            due_ns: None,
        }
    }

    /// Whether the rows are to be run in this turn.
    fn is_due(&mut self, turn: &mut dyn Turn) -> bool {
        let delay_ns = self.options.max_batch_delay.as_nanos();
        let delay_ns = u64::try_from(delay_ns).unwrap_or(u64::MAX);
        if delay_ns == 0 || self.rows.len() >= self.options.max_batch_size {
            return true;
        }
        let now_ns = turn.now_ns();
        let due_ns = *self.due_ns.get_or_insert(now_ns.saturating_add(delay_ns));
        if now_ns < due_ns {
            turn.settle_again_at(due_ns);
        }
        now_ns >= due_ns
    }
}

impl<F, In, Out> Batch<F, In, Out> {
    /// Drops the rows for whose replies nobody waits any more.
    #[cold]
    fn drop_abandoned(&mut self, turn: &mut dyn Turn) {
        if self.tickets.iter().all(|ticket| turn.is_awaited(ticket)) {
            return;
        }
        // Both are taken, and a row leaves with its ticket, whatever the drop of a row does.
        let tickets = std::mem::take(&mut self.tickets);
        let rows = std::mem::take(&mut self.rows);
        for (ticket, row) in tickets.into_iter().zip(rows) {
            if turn.is_awaited(&ticket) {
                self.tickets.push(ticket);
                self.rows.push(row);
            }
        }
    }
}

impl<F: Clone, In, Out> Batch<F, In, Out>
where
    F: FnMut(&[In], &mut Vec<Out>),
{
    /// Runs the closure over the rows; whether there is a result for each.
    fn run(&mut self, rows: &[In]) -> bool {
        self.results.clear();
        let (f, results) = (&mut self.f, &mut self.results);
        match catch_unwind(AssertUnwindSafe(|| f(rows, results))) {
            Ok(()) => self.results.len() == rows.len(),
            Err(payload) => {
                discard_payload(payload);
                self.f = self.pristine.clone();
                false
            }
        }
    }
}

/// Drops a panic's payload, whose own drop may panic; the payload of that panic is leaked, since
/// it could go on like this for ever.
pub fn discard_payload(payload: Box<dyn std::any::Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

impl<F: Clone, In, Out> Clone for Batch<F, In, Out> {
    /// Another instance: it begins without rows.
    fn clone(&self) -> Self {
        Batch::new(self.pristine.clone(), self.options)
    }
}

impl<R, In, Out, F> Operator<R> for Batch<F, In, Out>
where
    R: for<'r> Row<At<'r> = In>,
    In: Send + 'static,
    Out: Send + 'static,
    F: FnMut(&[In], &mut Vec<Out>) + Clone + Send + 'static,
{
    type Out = Owned<Out>;

    const DEFERS: bool = true;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In) -> Option<Out> {
        let ticket = cx.defer()?;
        self.tickets.push(ticket);
        self.rows.push(row);
        None
    }

    fn settle<S: Sink<Owned<Out>>>(&mut self, turn: &mut dyn Turn, rest: &mut S) {
        if self.rows.is_empty() || !self.is_due(turn) {
            return;
        }
        // Only rows that waited for others can have lost their clients.
        if self.due_ns.take().is_some() {
            self.drop_abandoned(turn);
        }
        // Both are taken, so that a panic of the user's `Clone` or `Drop` loses pairs: a row that
        // stayed without its ticket would answer somebody else's request.
        let mut tickets = std::mem::take(&mut self.tickets);
        let mut rows = std::mem::take(&mut self.rows);
        let mut next = tickets.drain(..);
        for rows in rows.chunks(self.options.max_batch_size.max(1)) {
            turn.ran_batch(rows.len());
            if self.run(rows) {
                for (result, ticket) in self.results.drain(..).zip(next.by_ref()) {
                    go_on(turn, ticket, result, rest);
                }
                continue;
            }
            for (row, ticket) in rows.chunks(1).zip(next.by_ref()) {
                match self.run(row).then(|| self.results.pop()).flatten() {
                    Some(result) => go_on(turn, ticket, result, rest),
                    None => fail(turn, ticket),
                }
            }
        }
        drop(next);
        rows.clear();
        self.tickets = tickets;
        self.rows = rows;
    }

    fn refresh(&mut self, pristine: &Self) {
        self.f = pristine.pristine.clone();
    }
}

/// The row of a ticket goes on to the operators behind.
pub(crate) fn go_on<T: 'static, S: Sink<Owned<T>>>(
    turn: &mut dyn Turn,
    ticket: Ticket,
    row: T,
    rest: &mut S,
) {
    let mut row = Some(row);
    turn.resume(ticket, &mut |cx| {
        if let Some(row) = row.take() {
            rest.push(cx, row);
        }
    });
}

/// The row of a ticket failed: its request is answered 500.
pub(crate) fn fail(turn: &mut dyn Turn, ticket: Ticket) {
    turn.resume(ticket, &mut |cx| cx.fail());
}
