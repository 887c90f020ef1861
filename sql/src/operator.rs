//! The column pipeline as one operator: requests in, replies out, a batch per turn.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use snapback::{Context, Requests, Row};
use snapback_operators::{Description, Operator, Replied, Sink, Ticket, Turn};

use crate::batch::Batch;
use crate::early::{Columns, EarlyReply};
use crate::error::Result;
use crate::evaluation::{MOST_HALVINGS, Part, evaluate_in_parts};
use crate::failure::Failure;
use crate::input::{Input, Reads};
use crate::micro::{Crew, Done, Job};
use crate::plan::{Program, Rows};
use crate::planner::Works;
use crate::reload::Watching;
use crate::reply::{ReplyColumn, ReplyMode};

/// How long no further failure is written to the log after ten.
const LOG_PAUSE_NS: u64 = 1_000_000_000;
const LOG_LINES: u32 = 10;

/// A compiled column pipeline, as an operator: what
/// [`make_reply`](crate::ColumnStream::make_reply) ends a pipeline with.
///
/// A request is parsed when it comes, and refused at once where it does not fit. At the end of the
/// turn those that fit are evaluated together: there in the continuous mode, in the others on a thread
/// beside the partition's, as a micro-batch, when the last one has ended. When that fails, the batch
/// is halved a few times and then run row by row, so that only the guilty request is answered 500 or
/// 400.
pub struct ColumnOperator {
    compiled: Arc<Compiled>,
    input: Input,
    /// One for each row of the input.
    tickets: Vec<Ticket>,
    /// The parts of the batch that is being answered.
    parts: Vec<Part>,
    micro: MicroBatches,
    log: LogLimit,
}

/// What all partitions share.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) description: Description,
    pub(crate) reads: Arc<Reads>,
    /// What the last plan reads of it.
    pub(crate) columns: Columns,
    pub(crate) engine: Arc<Engine>,
    pub(crate) reply: ReplyColumn,
    pub(crate) reply_mode: ReplyMode,
    /// A request without a row is answered too: an array of its rows may be empty.
    pub(crate) answers_no_rows: bool,
    /// Reads the tables anew as long as the pipeline is there.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(crate) watching: Option<Watching>,
}

/// What evaluates batches. Replies from the middle are made at the end of the partition's turn.
#[derive(Debug)]
pub(crate) enum Engine {
    /// At the end of the partition's turn.
    InTurn(ArcSwap<(Vec<EarlyReply>, Program)>),
    /// Beside it.
    Beside(ArcSwap<Vec<EarlyReply>>, Crew),
}

impl Engine {
    /// # Errors
    ///
    /// A thread could not be started.
    pub(crate) fn new(early: Vec<EarlyReply>, works: Works) -> Result<Self> {
        Ok(match works {
            Works::InTurn(program) => Engine::InTurn(ArcSwap::from_pointee((early, program))),
            Works::Beside(works, threads) => {
                Engine::Beside(ArcSwap::from_pointee(early), Crew::new(works, threads)?)
            }
        })
    }

    /// Runs this from the next batch on. It comes from the same plans.
    pub(crate) fn exchange(&self, early: Vec<EarlyReply>, works: Works) {
        match (self, works) {
            (Engine::InTurn(current), Works::InTurn(program)) => {
                current.store(Arc::new((early, program)));
            }
            (Engine::Beside(current, crew), Works::Beside(works, _)) => {
                current.store(Arc::new(early));
                crew.exchange(works);
            }
            _ => unreachable!("a plan runs in one mode"),
        }
    }
}

/// The micro-batches of one partition, one after the other.
struct MicroBatches {
    /// The tickets of the one that runs; none when none does.
    running: Vec<Ticket>,
    done: Done,
    /// When the next one may begin.
    next_ns: u64,
    partition: u32,
    waker: Option<Waker>,
}

impl Default for MicroBatches {
    fn default() -> Self {
        MicroBatches {
            running: Vec::new(),
            done: Arc::new(ArrayQueue::new(1)),
            next_ns: 0,
            partition: 0,
            waker: None,
        }
    }
}

impl ColumnOperator {
    pub(crate) fn new(compiled: Arc<Compiled>) -> Self {
        ColumnOperator {
            input: Input::new(&compiled.reads),
            compiled,
            tickets: Vec::new(),
            parts: Vec::new(),
            micro: MicroBatches::default(),
            log: LogLimit::default(),
        }
    }

    /// Evaluates the requests of the turn in it, and answers them.
    fn run_in_turn<S: Sink<Replied>>(
        &mut self,
        early: &[EarlyReply],
        program: &Program,
        turn: &mut dyn Turn,
        rest: &mut S,
    ) {
        let mut batch = self.input.finish();
        let mut tickets = std::mem::take(&mut self.tickets);
        if !early.is_empty() {
            batch = self.reply_early(early, batch, &mut tickets, turn, rest);
        }
        if !tickets.is_empty() {
            let mut parts = std::mem::take(&mut self.parts);
            batch.reduce(&self.compiled.columns);
            evaluate(program, batch, &mut parts);
            self.answer(&mut parts, &mut tickets, turn, rest);
            self.parts = parts;
        }
        self.tickets = tickets;
    }

    /// Answers the requests for which there is a reply already; their tickets go. Gives the others.
    #[cold]
    fn reply_early<S: Sink<Replied>>(
        &mut self,
        early: &[EarlyReply],
        mut batch: Batch,
        tickets: &mut Vec<Ticket>,
        turn: &mut dyn Turn,
        rest: &mut S,
    ) -> Batch {
        for EarlyReply {
            program,
            reply,
            columns,
        } in early
        {
            let mut parts = std::mem::take(&mut self.parts);
            let mut own = batch.clone();
            own.reduce(columns);
            evaluate(program, own, &mut parts);
            let mut goes_on = Vec::with_capacity(tickets.len());
            let mut all = std::mem::take(tickets).into_iter();
            for Part { requests, outcome } in parts.drain(..) {
                let rows = match &outcome {
                    Ok(rows) => rows,
                    Err(failure) => {
                        self.fail(failure, all.by_ref().take(requests), turn);
                        goes_on.resize(goes_on.len() + requests, false);
                        continue;
                    }
                };
                let (column, mut next) = (rows.batch.column(0), 0);
                for (request, ticket) in all.by_ref().take(requests).enumerate() {
                    let own = rows.of_request(request, next);
                    next = own.end;
                    let answer = own.into_iter().find(|row| column.is_valid(*row));
                    goes_on.push(answer.is_none());
                    match answer {
                        None => tickets.push(ticket),
                        Some(row) => turn.resume(ticket, &mut |cx| {
                            reply.write(column.as_ref(), row, cx.reply());
                            rest.push(cx, ());
                        }),
                    }
                }
            }
            self.parts = parts;
            if tickets.len() < goes_on.len() {
                batch = batch.filter(&goes_on);
            }
        }
        batch
    }

    /// Answers requests that could not be evaluated.
    fn fail(
        &mut self,
        failure: &Failure,
        tickets: impl Iterator<Item = Ticket>,
        turn: &mut dyn Turn,
    ) {
        if failure.is_ours() {
            self.log.write(failure, turn);
        }
        for ticket in tickets {
            turn.resume(ticket, &mut |cx| failure.answer(cx));
        }
    }

    /// Answers what was evaluated beside, and begins the next micro-batch, if it is time for it.
    fn run_beside<S: Sink<Replied>>(
        &mut self,
        early: &ArcSwap<Vec<EarlyReply>>,
        crew: &Crew,
        turn: &mut dyn Turn,
        rest: &mut S,
    ) {
        if let Some(mut parts) = self.micro.done.pop() {
            let mut tickets = std::mem::take(&mut self.micro.running);
            turn.ran_batch(tickets.len());
            self.answer(&mut parts, &mut tickets, turn, rest);
            self.micro.running = tickets;
        }
        if !self.micro.running.is_empty() || self.tickets.is_empty() {
            return;
        }
        let now_ns = turn.now_ns();
        if now_ns < self.micro.next_ns {
            return turn.settle_again_at(self.micro.next_ns);
        }
        let mut batch = self.take_awaited(turn);
        let early = early.load();
        if !early.is_empty() {
            let mut tickets = std::mem::take(&mut self.micro.running);
            batch = self.reply_early(&early, batch, &mut tickets, turn, rest);
            self.micro.running = tickets;
        }
        batch.reduce(&self.compiled.columns);
        let Some(waker) = self.micro.waker.clone() else {
            return;
        };
        if self.micro.running.is_empty() {
            return;
        }
        self.micro.next_ns = now_ns.saturating_add(turn.batch_interval_ns());
        let done = Arc::clone(&self.micro.done);
        crew.begin(self.micro.partition, Job { batch, done, waker });
    }

    /// The requests that gathered, but for those whose replies nobody waits for any more; the tickets
    /// of the others are those of the batch that runs now.
    fn take_awaited(&mut self, turn: &mut dyn Turn) -> Batch {
        let batch = self.input.finish();
        let tickets = self.tickets.iter();
        let awaited: Vec<bool> = tickets.map(|ticket| turn.is_awaited(ticket)).collect();
        let tickets = self.tickets.drain(..).zip(&awaited);
        let tickets = tickets.filter_map(|(ticket, awaited)| awaited.then_some(ticket));
        self.micro.running.extend(tickets);
        if self.micro.running.len() == awaited.len() {
            return batch;
        }
        batch.filter(&awaited)
    }

    /// Answers the requests of a batch, whose tickets come in their order.
    fn answer<S: Sink<Replied>>(
        &mut self,
        parts: &mut Vec<Part>,
        tickets: &mut Vec<Ticket>,
        turn: &mut dyn Turn,
        rest: &mut S,
    ) {
        let mut tickets = tickets.drain(..);
        for Part { requests, outcome } in parts.drain(..) {
            let tickets = tickets.by_ref().take(requests);
            match outcome {
                Ok(rows) => self.compiled.reply(&rows, tickets, turn, rest),
                Err(failure) => self.fail(&failure, tickets, turn),
            }
        }
    }
}

/// Runs a program over a batch; what panics is its request's failure.
fn evaluate(program: &Program, batch: Batch, parts: &mut Vec<Part>) {
    program.begin_batch();
    let evaluate =
        &mut |batch| Failure::of(catch_unwind(AssertUnwindSafe(|| program.evaluate(batch))));
    evaluate_in_parts(batch, MOST_HALVINGS, evaluate, parts);
}

impl Compiled {
    /// Answers each request with its rows. One without a row goes on unanswered.
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
            let own = rows.of_request(request, next);
            next = own.end;
            turn.resume(ticket, &mut |cx| {
                if !own.is_empty() || self.answers_no_rows {
                    let reply = cx.reply();
                    self.reply
                        .write_rows(column.as_ref(), own.clone(), self.reply_mode, reply);
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
                if self.micro.waker.is_none() {
                    self.micro.waker = Some(cx.waker());
                    self.micro.partition = request.id().partition();
                }
            }
            None => self.input.take_back(),
        }
        None
    }

    fn settle<S: Sink<Replied>>(&mut self, turn: &mut dyn Turn, rest: &mut S) {
        let compiled = Arc::clone(&self.compiled);
        match &*compiled.engine {
            Engine::InTurn(_) if self.tickets.is_empty() => {}
            // One version of the tables for the whole batch.
            Engine::InTurn(current) => {
                let current = current.load();
                let (early, program) = &**current;
                self.run_in_turn(early, program, turn, rest);
            }
            Engine::Beside(early, crew) => self.run_beside(early, crew, turn, rest),
        }
    }

    fn describe(&self, description: &mut Description) {
        description.clone_from(&self.compiled.description);
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
