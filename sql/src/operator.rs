//! The column pipeline as one operator: requests in, replies out, a batch per turn.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::vec;

use datafusion::arrow::record_batch::RecordBatch;
use snapback::{Context, Requests, Row};
use snapback_operators::{Operator, Replied, Sink, Ticket, Turn, discard_payload};

use crate::failure::Failure;
use crate::input::{Input, Reads};
use crate::plan::{Program, Rows};
use crate::reply::ReplyColumn;

/// How often a batch that fails is halved before its rows are run one by one.
const MOST_HALVINGS: u32 = 4;

/// How long no further failure is written to the log after ten.
const LOG_PAUSE_NS: u64 = 1_000_000_000;
const LOG_LINES: u32 = 10;

/// A compiled column pipeline, as an operator: what
/// [`make_reply`](crate::ColumnStream::make_reply) ends a pipeline with.
///
/// A request is parsed when it comes, and refused at once where it does not fit. At the end of the
/// turn those that fit are evaluated together. When that fails, the batch is halved a few times and
/// then run row by row, so that only the guilty request is answered 500 or 400.
pub struct ColumnOperator {
    compiled: Arc<Compiled>,
    input: Input,
    /// One for each row of the input.
    tickets: Vec<Ticket>,
    log: LogLimit,
}

/// What all partitions share.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) reads: Arc<Reads>,
    pub(crate) program: Program,
    pub(crate) reply: ReplyColumn,
}

impl ColumnOperator {
    pub(crate) fn new(compiled: Arc<Compiled>) -> Self {
        ColumnOperator {
            input: Input::new(&compiled.reads),
            compiled,
            tickets: Vec::new(),
            log: LogLimit::default(),
        }
    }

    /// Evaluates a batch and answers its requests, whose tickets come next.
    fn answer<S: Sink<Replied>>(
        &mut self,
        batch: RecordBatch,
        tickets: &mut vec::Drain<'_, Ticket>,
        halvings: u32,
        turn: &mut dyn Turn,
        rest: &mut S,
    ) {
        let failure = match self.compiled.evaluate(batch.clone()) {
            Ok(rows) => {
                let tickets = tickets.take(batch.num_rows());
                return self.compiled.reply(&rows, tickets, turn, rest);
            }
            Err(failure) => failure,
        };
        let rows = batch.num_rows();
        if rows <= 1 {
            if failure.is_ours() {
                self.log.write(&failure, turn);
            }
            if let Some(ticket) = tickets.next() {
                turn.resume(ticket, &mut |cx| failure.answer(cx));
            }
            return;
        }
        let part = if halvings > 0 { rows.div_ceil(2) } else { 1 };
        for start in (0..rows).step_by(part) {
            let part = batch.slice(start, part.min(rows - start));
            self.answer(part, tickets, halvings.saturating_sub(1), turn, rest);
        }
    }
}

impl Compiled {
    fn evaluate(&self, batch: RecordBatch) -> Result<Rows, Failure> {
        match catch_unwind(AssertUnwindSafe(|| self.program.evaluate(batch))) {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(Failure::Error(error)),
            Err(payload) => {
                discard_payload(payload);
                Err(Failure::Panic)
            }
        }
    }

    /// Answers each request with its first row. One without a row goes on unanswered.
    fn reply<S: Sink<Replied>>(
        &self,
        rows: &Rows,
        tickets: impl Iterator<Item = Ticket>,
        turn: &mut dyn Turn,
        rest: &mut S,
    ) {
        let column = rows.batch.column(0);
        let mut next = 0;
        for (request, ticket) in tickets.enumerate() {
            let (row, behind) = rows.of_request(request, next);
            next = behind;
            turn.resume(ticket, &mut |cx| {
                if let Some(row) = row {
                    self.reply.write(column.as_ref(), row, cx.reply());
                    rest.push(cx, ());
                }
            });
        }
    }
}

impl Operator<Requests> for ColumnOperator {
    type Out = Replied;

    const DEFERS: bool = true;

    fn apply<'r>(
        &mut self,
        cx: &mut Context<'_, 'r>,
        request: <Requests as Row>::At<'r>,
    ) -> Option<()> {
        if !cx.reply().is_open() || !self.input.offer(request, cx.reply()) {
            return None;
        }
        match cx.defer() {
            Some(ticket) => {
                self.input.keep(request);
                self.tickets.push(ticket);
            }
            None => self.input.take_back(),
        }
        None
    }

    fn settle<S: Sink<Replied>>(&mut self, turn: &mut dyn Turn, rest: &mut S) {
        if self.tickets.is_empty() {
            return;
        }
        let mut tickets = std::mem::take(&mut self.tickets);
        let batch = self.input.finish();
        self.compiled.program.begin_batch();
        self.answer(batch, &mut tickets.drain(..), MOST_HALVINGS, turn, rest);
        self.tickets = tickets;
    }

    /// The program has no state that a panic could have left half changed; a row that was offered
    /// when it came goes, those that wait stay.
    fn refresh(&mut self, _pristine: &Self) {
        self.input.take_back();
    }
}

impl Clone for ColumnOperator {
    /// Another instance: it begins without rows.
    fn clone(&self) -> Self {
        ColumnOperator::new(Arc::clone(&self.compiled))
    }
}

impl fmt::Debug for ColumnOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnOperator")
            .field("compiled", &self.compiled)
            .field("rows", &self.tickets.len())
            .finish_non_exhaustive()
    }
}

/// Ten lines a second: a pipeline that fails at each request does not fill the disk.
#[derive(Debug, Default)]
struct LogLimit {
    began_ns: u64,
    lines: u32,
}

impl LogLimit {
    #[cold]
    fn write(&mut self, failure: &Failure, turn: &mut dyn Turn) {
        let now_ns = turn.now_ns();
        if now_ns.saturating_sub(self.began_ns) >= LOG_PAUSE_NS {
            (self.began_ns, self.lines) = (now_ns, 0);
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines <= LOG_LINES {
            failure.log();
        }
    }
}
