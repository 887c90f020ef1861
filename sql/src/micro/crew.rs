//! The threads that work on micro-batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::task::Waker;
use std::thread;

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use datafusion::arrow::record_batch::RecordBatch;
use snapback_operators::discard_payload;
use tokio::runtime::{Builder, Runtime};

use super::plan::MicroPlan;
use crate::batch::Batch;
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
    pub(crate) batch: Batch,
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
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    jobs: Sender<Job>,
    work: Arc<ArcSwap<Work>>,
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
            let work = Arc::new(ArcSwap::from_pointee(work));
            workers.push(Worker {
                jobs: sender,
                work: Arc::clone(&work),
            });
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
                .spawn(move || run(&work, &jobs, &runtime))?;
        }
        Ok(Crew { workers })
    }

    /// From its next job on each worker does this.
    pub(crate) fn exchange(&self, works: Vec<Work>) {
        for (worker, work) in self.workers.iter().zip(works) {
            worker.work.store(Arc::new(work));
        }
    }

    /// Hands a job to the worker of a partition. When its thread has gone, the job fails at once.
    pub(crate) fn begin(&self, partition: u32, job: Job) {
        let worker = partition as usize % self.workers.len().max(1);
        if let Err(SendError(job)) = self.workers[worker].jobs.send(job) {
            tracing::error!("the thread that works on micro-batches is gone");
            let requests = job.batch.requests();
            job.end(vec![Part::failed(requests)]);
        }
    }
}

impl Job {
    /// Who began the batch may be gone; then so is the place.
    fn end(self, parts: Vec<Part>) {
        let _ = self.done.push(parts);
        self.waker.wake();
    }
}

/// Works on what comes, until nobody can send anything any more.
fn run(work: &ArcSwap<Work>, jobs: &Receiver<Job>, runtime: &Runtime) {
    while let Ok(job) = jobs.recv() {
        let batch = job.batch.clone();
        let requests = batch.requests();
        // A panic of an evaluation is caught where it fails a request; any other fails the batch, not
        // the thread.
        let parts = catch_unwind(AssertUnwindSafe(|| {
            // One version of the tables for the whole batch.
            let work = work.load_full();
            work.begin_batch();
            let mut parts = Vec::new();
            let evaluate = &mut |batch| work.evaluate(batch, runtime);
            evaluate_in_parts(batch, MOST_HALVINGS, evaluate, &mut parts);
            parts
        }));
        job.end(parts.unwrap_or_else(|payload| {
            discard_payload(payload);
            vec![Part::failed(requests)]
        }));
    }
}

impl Work {
    /// Reads the clock, if it is a program that does; DataFusion's plans do so by themselves.
    pub(crate) fn begin_batch(&self) {
        if let Work::Program(program) = self {
            program.begin_batch();
        }
    }

    /// Evaluates a batch. A panic is a failure.
    pub(crate) fn evaluate(
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
