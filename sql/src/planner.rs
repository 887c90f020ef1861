//! From a pipeline's plan to what its mode runs; again whenever its tables have changed.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use snapback::Mode;

use crate::early::{Columns, EarlyReply, reply_of};
use crate::error::{Result, SqlError};
use crate::input::Reads;
use crate::micro::{self, Query, Work, repartitions};
use crate::plan::{Program, RequestSource, compile};

/// A plan, and all that making it runnable takes.
pub(crate) struct Planner {
    pub(crate) state: SessionState,
    pub(crate) source: RequestSource,
    /// The reply as its only column.
    pub(crate) plan: LogicalPlan,
    /// The same with the request's id behind it, where the plan has that.
    pub(crate) with_id: Option<LogicalPlan>,
    /// The replies that are given before, each as the only column of its plan.
    pub(crate) early: Vec<LogicalPlan>,
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

/// A pipeline's plans, ready to run.
pub(crate) struct Planned {
    /// What all of them read together.
    pub(crate) reads: Reads,
    /// In their order.
    pub(crate) early: Vec<EarlyReply>,
    pub(crate) works: Works,
    /// What the last one reads of it.
    pub(crate) columns: Columns,
}

impl Planner {
    /// Makes the plans runnable in their mode. Tables that they join are read now.
    pub(crate) fn plan(&self) -> Result<Planned> {
        let (own, works) = self.plan_last()?;
        let early: Result<Vec<_>> = self
            .early
            .iter()
            .map(|plan| Ok((compile(&self.state, plan.clone())?, reply_of(plan))))
            .collect();
        let early = early?;
        let reads = own.clone().union(early.iter().map(|((reads, _), _)| reads));
        let columns = own.within(&reads);
        let early = early.into_iter().map(|((own, program), reply)| EarlyReply {
            program,
            reply,
            columns: own.within(&reads),
        });
        Ok(Planned {
            early: early.collect(),
            works,
            columns,
            reads,
        })
    }

    fn plan_last(&self) -> Result<(Reads, Works)> {
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
                let micro::Planned { reads, plans } = query.plan(workers, slices)?;
                let works = plans.into_iter().map(Work::Plan).collect();
                Ok((reads, Works::Beside(works, slices)))
            }
            Err(error) => Err(error),
        }
    }
}
