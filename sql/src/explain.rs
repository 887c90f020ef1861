//! What becomes of a plan, and what its stages cost, for people.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::prelude::Expr;
use snapback::{HasMode, Mode, Reply};
use snapback_operators::{Headers, Peer, ReplyHead, Request, Run};
use tokio::runtime::{Builder, Runtime};

use crate::early::{Columns, reply_of};
use crate::error::Result;
use crate::input::Input;
use crate::micro::Work;
use crate::plan::{Program, Rows};
use crate::planner::{Planned, Planner, Works};
use crate::reply::{ReplyColumn, ReplyMode};
use crate::stream::ColumnStream;

/// How long each size of batch is measured.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many requests the batches have that are measured.
const BATCHES: [usize; 4] = [1, 16, 256, 4096];

/// A request to measure a plan with.
#[derive(Clone, Copy, Debug)]
pub struct SampleRequest<'r> {
    /// The method.
    pub method: &'r str,
    /// Path and query.
    pub target: &'r str,
    /// Header fields.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body.
    pub body: &'r [u8],
}

/// What becomes of a plan.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The mode that it runs in.
    pub mode: Mode,
    /// The columns of requests that it reads; others are not built.
    pub reads: SchemaRef,
    /// The plan, optimized; before it those of earlier replies.
    pub plan: String,
    /// What executes it, and where.
    pub runs: String,
    /// What the stages cost; empty without a request that fits.
    pub costs: Vec<StageCosts>,
}

/// What the stages cost a request, the median of many batches, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StageCosts {
    /// How many requests the batch had.
    pub requests: usize,
    /// From the request to its row.
    pub parse_ns: f64,
    /// From the rows to the column of replies.
    pub evaluate_ns: f64,
    /// From the column to the reply's bytes.
    pub reply_ns: f64,
}

impl<S: HasMode, O> ColumnStream<S, O> {
    /// Explains what [`make_reply`](Self::make_reply) would make of an expression, and measures it
    /// with a request, here and now, for about half a second. What a thread hop costs, and a
    /// socket, is not in it.
    ///
    /// # Errors
    ///
    /// As of `make_reply`.
    pub fn explain(
        &self,
        expression: Expr,
        sample: Option<SampleRequest<'_>>,
    ) -> Result<Explanation> {
        let planner = self.planner(expression)?;
        let Planned {
            reads,
            early,
            works,
            columns,
        } = planner.plan()?;
        let mut plans = Vec::new();
        for plan in planner.early.iter().chain([&planner.plan]) {
            let plan = planner.state.optimize(plan)?;
            plans.push(plan.display_indent().to_string());
        }
        let reply = reply_of(&planner.plan);
        let reads = Arc::new(reads);
        let mut runs = runs(&planner, &works);
        if !early.is_empty() {
            let early = early.len();
            runs = format!("after {early} earlier replies, in the partition's turn: {runs}");
        }
        let engine = Measured::new(works)?;
        let mut costs = Vec::new();
        if let Some(sample) = sample {
            let mut input = Input::new(&reads);
            for requests in BATCHES {
                costs.extend(measure(
                    &mut input, &columns, &engine, &reply, sample, requests,
                ));
            }
        }
        Ok(Explanation {
            mode: planner.mode,
            reads: Arc::clone(&reads.schema),
            plan: plans.join("\n"),
            runs,
            costs,
        })
    }
}

fn runs(planner: &Planner, works: &Works) -> String {
    match works {
        Works::InTurn(program) => {
            let steps = steps(program);
            format!("compiled once into {steps} over Arrow columns, in the partition's turn")
        }
        Works::Beside(works, threads) => {
            let what = match works.first() {
                Some(Work::Program(program)) => {
                    format!(
                        "compiled once into {} steps over Arrow columns",
                        program.steps()
                    )
                }
                _ if *threads == 1 => "DataFusion's plan, made once".to_owned(),
                _ => format!("DataFusion's plan, made once, on {threads} threads"),
            };
            let whose = match planner.mode {
                Mode::Server => "of all requests",
                _ => "of each partition",
            };
            format!("{what}, in micro-batches {whose}, on a thread beside the partitions")
        }
    }
}

fn steps(program: &Program) -> String {
    match program.steps() {
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    }
}

/// What is measured.
enum Measured {
    Program(Program),
    Work(Work, Runtime),
}

impl Measured {
    fn new(works: Works) -> Result<Self> {
        Ok(match works {
            Works::InTurn(program) => Measured::Program(program),
            Works::Beside(mut works, threads) => {
                let runtime = match threads {
                    1 => Builder::new_current_thread().build()?,
                    _ => Builder::new_multi_thread()
                        .worker_threads(threads)
                        .build()?,
                };
                Measured::Work(works.swap_remove(0), runtime)
            }
        })
    }

    /// The rows of a batch; none when it fails.
    fn evaluate(&self, batch: datafusion::arrow::record_batch::RecordBatch) -> Option<Rows> {
        match self {
            Measured::Program(program) => {
                program.begin_batch();
                program.evaluate(batch).ok()
            }
            Measured::Work(work, runtime) => {
                work.begin_batch();
                work.evaluate(batch, runtime).ok()
            }
        }
    }
}

/// Measures batches of so many requests; none when the request does not fit, or fails.
fn measure(
    input: &mut Input,
    columns: &Columns,
    engine: &Measured,
    reply: &ReplyColumn,
    sample: SampleRequest<'_>,
    requests: usize,
) -> Option<StageCosts> {
    let run = Run::new("explain", "explain");
    let fields: Vec<_> = sample
        .headers
        .iter()
        .map(|(name, value)| httparse::Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let peer = Peer::Unix;
    let id = run.request_id(0, 0);
    let request = Request::new(id, sample.method, sample.target, &peer)
        .with_headers(Headers::new(&fields))
        .with_body(sample.body);
    let (mut parse, mut evaluate, mut write) = (Vec::new(), Vec::new(), Vec::new());
    let (mut out, mut head) = (Vec::new(), ReplyHead::default());
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let start = Instant::now();
        for _ in 0..requests {
            if !input.offer(&request, &mut Reply::new(&mut out, &mut head)) {
                input.take_back();
                let _ = input.finish();
                return None;
            }
            input.keep(&request);
        }
        let mut batch = input.finish();
        batch.reduce(columns);
        let parsed = Instant::now();
        let rows = batch.attribute(engine.evaluate(batch.rows.clone())?);
        let evaluated = Instant::now();
        let column = rows.batch.column(0);
        let mut next = 0;
        for number in 0..requests {
            let own = rows.of_request(number, next);
            next = own.end;
            if !own.is_empty() {
                out.clear();
                head = ReplyHead::default();
                let target = &mut Reply::new(&mut out, &mut head);
                reply.write_rows(column.as_ref(), own, ReplyMode::First, target);
            }
        }
        parse.push(parsed - start);
        evaluate.push(evaluated - parsed);
        write.push(evaluated.elapsed());
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let per_request = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / requests as f64
    };
    Some(StageCosts {
        requests,
        parse_ns: per_request(parse),
        evaluate_ns: per_request(evaluate),
        reply_ns: per_request(write),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mode   {}", self.mode.name())?;
        writeln!(f, "runs   {}", self.runs)?;
        let columns: Vec<String> = self
            .reads
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        writeln!(f, "reads  {}", columns.join(", "))?;
        writeln!(f, "plan")?;
        for line in self.plan.lines() {
            writeln!(f, "  {line}")?;
        }
        if self.costs.is_empty() {
            return write!(f, "costs  not measured: no request that fits");
        }
        write!(
            f,
            "costs  ns per request, medians\n  {:>8}{:>10}{:>10}{:>10}",
            "batch", "parse", "evaluate", "reply"
        )?;
        for cost in &self.costs {
            let StageCosts {
                requests,
                parse_ns,
                evaluate_ns,
                reply_ns,
            } = cost;
            write!(
                f,
                "\n  {requests:>8}{parse_ns:>10.0}{evaluate_ns:>10.0}{reply_ns:>10.0}"
            )?;
        }
        Ok(())
    }
}
