//! The threads that work on micro-batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Waker;
use std::thread;

use crossbeam_queue::ArrayQueue;
use datafusion::arrow::record_batch::RecordBatch;
use tokio::runtime::{Builder, Runtime};

use super::plan::MicroPlan;
use crate::error::Result;
use crate::evaluation::{MOST_HALVINGS, Part, evaluate_in_parts};
use crate::failure::Failure;
use crate::plan::{Program, Rows};

/// What a worker runs.
#[derive(Debug)]
pub(crate) enum Work {
    /// A row-wise plan.
    Program(Arc<Program>),
    /// Any other.
    Plan(MicroPlan),
}

/// One micro-batch.
pub(crate) struct Job {
    pub(crate) batch: RecordBatch,
    pub(crate) done: Done,
    /// Wakes whoever waits for it.
    pub(crate) waker: Waker,
}

/// Where the parts of a micro-batch are put when it has ended. Who has one in hand never has another,
/// so there is always room.
pub(crate) type Done = Arc<ArrayQueue<Vec<Part>>>;

/// The workers of a query: threads that are pinned nowhere, and end when nobody can send them
/// anything any more.
#[derive(Debug)]
pub(crate) struct Crew {
    workers: Vec<Sender<Job>>,
}

impl Crew {
    /// A worker for each work. Each drives a plan with so many threads.
    ///
    /// They begin here, since a thread inherits the core of who begins it, and partitions are
    /// pinned.
    pub(crate) fn new(works: Vec<Work>, threads: usize) -> Result<Self> {
        let mut workers = Vec::new();
        for (index, work) in works.into_iter().enumerate() {
            let (sender, jobs) = mpsc::channel();
            let mut runtime = match threads {
                1 => Builder::new_current_thread(),
                _ => Builder::new_multi_thread(),
            };
            let runtime = runtime
                .worker_threads(threads)
                .thread_name("snapback-compute")
                .build()?;
            thread::Builder::new()
                .name(format!("snapback-batch-{index}"))
                .spawn(move || work.run(&jobs, &runtime))?;
            workers.push(sender);
        }
        Ok(Crew { workers })
    }

    /// Hands a job to the worker of a partition. When it has died, which no request can bring about,
    /// the requests are left to their deadlines.
    pub(crate) fn begin(&self, partition: u32, job: Job) {
        let worker = partition as usize % self.workers.len().max(1);
        if self.workers[worker].send(job).is_err() {
            tracing::error!("the thread that works on micro-batches is gone");
        }
    }
}

impl Work {
    fn run(&self, jobs: &Receiver<Job>, runtime: &Runtime) {
        while let Ok(Job { batch, done, waker }) = jobs.recv() {
            if let Work::Program(program) = self {
                program.begin_batch();
            }
            let mut parts = Vec::new();
            let evaluate = &mut |batch| self.evaluate(batch, runtime);
            evaluate_in_parts(batch, MOST_HALVINGS, evaluate, &mut parts);
            // Who began the batch may be gone; then so is the place.
            let _ = done.push(parts);
            waker.wake();
        }
    }

    fn evaluate(
        &self,
        batch: RecordBatch,
        runtime: &Runtime,
    ) -> std::result::Result<Rows, Failure> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| match self {
            Work::Program(program) => program.evaluate(batch),
            Work::Plan(plan) => runtime.block_on(plan.evaluate(batch)),
        }));
        Failure::of(evaluated)
    }
}
