//! From a pipeline's plan to what its mode runs; again whenever its tables have changed.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use snapback::Mode;

use crate::error::{Result, SqlError};
use crate::input::Reads;
use crate::micro::{Planned, Query, Work, repartitions};
use crate::plan::{Program, RequestSource, compile};

/// A plan, and all that making it runnable takes.
pub(crate) struct Planner {
    pub(crate) state: SessionState,
    pub(crate) source: RequestSource,
    /// The reply as its only column.
    pub(crate) plan: LogicalPlan,
    /// The same with the request's id behind it, where the plan has that.
    pub(crate) with_id: Option<LogicalPlan>,
    pub(crate) mode: Mode,
    pub(crate) partitions: usize,
}

/// What runs a plan.
pub(crate) enum Works {
    /// In the partition's turn.
    InTurn(Program),
    /// Beside it: for each worker, which drives it with so many threads.
    Beside(Vec<Work>, usize),
}

impl Planner {
    /// Makes the plan runnable in its mode. Tables that it joins are read now.
    pub(crate) fn plan(&self) -> Result<(Reads, Works)> {
        if self.mode == Mode::Distributed && repartitions(&self.plan)? {
            return Err(SqlError::Repartitioned);
        }
        let compiled = compile(&self.state, self.plan.clone());
        if self.mode == Mode::Continuous {
            let (reads, program) = compiled?;
            return Ok((reads, Works::InTurn(program)));
        }
        let (workers, slices) = match self.mode {
            Mode::Server => (1, self.partitions),
            _ => (self.partitions, 1),
        };
        match compiled {
            Ok((reads, program)) => {
                let program = Arc::new(program);
                let works = (0..workers).map(|_| Work::Program(Arc::clone(&program)));
                Ok((reads, Works::Beside(works.collect(), 1)))
            }
            Err(SqlError::NotRowWise(_)) => {
                let query = Query {
                    state: &self.state,
                    source: &self.source,
                    plan: self.plan.clone(),
                    with_id: self.with_id.clone(),
                };
                let Planned { reads, plans } = query.plan(workers, slices)?;
                let works = plans.into_iter().map(Work::Plan).collect();
                Ok((reads, Works::Beside(works, slices)))
            }
            Err(error) => Err(error),
        }
    }
}
