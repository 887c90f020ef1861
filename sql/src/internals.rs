//! Batches without a server, for this crate's own benches. No promise is made about anything in here.

use std::sync::Arc;

use datafusion::prelude::{SessionContext, ident};
use snapback::{Pipeline, Reply};
use snapback_operators::{Peer, ReplyHead, Request, Run};
use tokio::runtime::Runtime;

use crate::error::{Result, SqlError};
use crate::input::Input;
use crate::micro::{Planned, Query};
use crate::plan::{Program, compile};
use crate::stream::Columns;

/// A planned query, and the rows of the next batch.
pub struct Batches {
    input: Input,
    work: Work,
    run: Run,
}

enum Work {
    Program(Program),
    Plan(crate::micro::MicroPlan, Runtime),
}

impl Batches {
    /// Plans a query whose reply is a column. A row-wise one becomes a program, any other one
    /// DataFusion's plan; so does a row-wise one if `by_datafusion`.
    ///
    /// # Errors
    ///
    /// Of the planning.
    pub fn new(
        context: &SessionContext,
        schema: &str,
        query: &str,
        column: &str,
        by_datafusion: bool,
    ) -> Result<Self> {
        let stream = Pipeline::detached()
            .columns_in(context)
            .parse_request(schema)?
            .sql(query)?;
        let (source, frame) = stream.planned()?;
        let (state, plan) = frame.select(vec![ident(column)])?.into_parts();
        let compiled = match by_datafusion {
            true => None,
            false => match compile(&state, plan.clone()) {
                Ok(compiled) => Some(compiled),
                Err(SqlError::NotRowWise(_)) => None,
                Err(error) => return Err(error),
            },
        };
        let (reads, work) = match compiled {
            Some((reads, program)) => (reads, Work::Program(program)),
            None => {
                let query = Query {
                    state: &state,
                    source: &source,
                    plan,
                    with_id: None,
                };
                let Planned { reads, mut plans } = query.plan(1, 1)?;
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                let plan = plans.pop().ok_or(SqlError::NotFromRequests)?;
                (reads, Work::Plan(plan, runtime))
            }
        };
        Ok(Batches {
            input: Input::new(&Arc::new(reads)),
            work,
            run: Run::new("bench", "bench"),
        })
    }

    /// Adds a request with this body; whether it fits.
    pub fn add(&mut self, body: &[u8]) -> bool {
        let id = self.run.request_id(0, 0);
        let request = Request::new(id, "POST", "/", &Peer::Unix).with_body(body);
        let (mut out, mut head) = (Vec::new(), ReplyHead::default());
        let fits = self
            .input
            .offer(&request, &mut Reply::new(&mut out, &mut head));
        if fits {
            self.input.keep(&request);
        }
        fits
    }

    /// Runs the plan over what was added; how many rows came out.
    ///
    /// # Errors
    ///
    /// Of the plan.
    pub fn run(&mut self) -> datafusion::error::Result<usize> {
        let batch = self.input.finish().rows;
        let rows = match &self.work {
            Work::Program(program) => {
                program.begin_batch();
                program.evaluate(batch)?
            }
            Work::Plan(plan, runtime) => runtime.block_on(plan.evaluate(batch))?,
        };
        Ok(rows.batch.num_rows())
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}
