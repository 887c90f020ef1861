//! From the optimized plan to the steps of a program.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Join, JoinType, LogicalPlan, TableScan, TableSource};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::{PhysicalExpr, collect};
use datafusion::prelude::Expr;

use super::join::{Keep, Side, StaticJoin};
use super::{Program, Step, refuse};
use crate::clock::{self, BatchClock};
use crate::error::{Result, SqlError};
use crate::input::{Reads, Sources};
use crate::planning::wait_for;

/// The requests, as a table to plan with. It holds no rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestSource(pub(crate) Sources);

impl TableSource for RequestSource {
    fn schema(&self) -> SchemaRef {
        Arc::new(self.0.schema())
    }
}

/// Optimizes a plan over [`RequestSource`] and compiles it. Tables that it joins are read now.
pub(crate) fn compile(state: &SessionState, plan: LogicalPlan) -> Result<(Reads, Program)> {
    let (plan, reads_clock) = clock::set_to_batch_time(plan, &BatchClock::default())?;
    let plan = state.optimize(&plan)?;
    if !reads_requests(&plan)? {
        return Err(SqlError::NotFromRequests);
    }
    let mut compiler = Compiler {
        state,
        reads: None,
        steps: Vec::new(),
    };
    compiler.plan(&plan)?;
    let steps = compiler.steps;
    let reads = compiler.reads.ok_or(SqlError::NotFromRequests)?;
    Ok((reads, Program { steps, reads_clock }))
}

struct Compiler<'s> {
    state: &'s SessionState,
    reads: Option<Reads>,
    /// What is done to the requests so far.
    steps: Vec<Step>,
}

impl Compiler<'_> {
    /// Compiles a plan over requests, its input first.
    fn plan(&mut self, plan: &LogicalPlan) -> Result<()> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(plan, scan),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Filter(filter) => {
                self.plan(&filter.input)?;
                self.filter(&filter.predicate, filter.input.schema())
            }
            LogicalPlan::Projection(projection) => {
                self.plan(&projection.input)?;
                let expressions = self.physical(&projection.expr, projection.input.schema())?;
                let schema = nullable(projection.schema.as_arrow());
                self.steps.push(Step::Project {
                    expressions,
                    schema,
                });
                Ok(())
            }
            LogicalPlan::Join(join) => self.join(join),
            other => Err(refuse::not_row_wise(other).into()),
        }
    }

    fn scan(&mut self, plan: &LogicalPlan, scan: &TableScan) -> Result<()> {
        let Some(source) = scan.source.downcast_ref::<RequestSource>() else {
            return Err(SqlError::NotFromRequests);
        };
        if scan.fetch.is_some() {
            return Err(refuse::not_row_wise(plan).into());
        }
        let available = source.schema();
        let indices: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..available.fields().len()).collect(),
        };
        self.reads = Some(Reads {
            columns: source.0.at(&indices),
            sources: source.0.clone(),
            schema: Arc::new(available.project(&indices).map_err(DataFusionError::from)?),
        });
        scan.filters
            .iter()
            .try_for_each(|predicate| self.filter(predicate, &scan.projected_schema))
    }

    fn filter(&mut self, predicate: &Expr, input: &DFSchema) -> Result<()> {
        let predicate = self.physical_one(predicate, input)?;
        self.steps.push(Step::Filter(predicate));
        Ok(())
    }

    fn join(&mut self, join: &Join) -> Result<()> {
        let requests_left = reads_requests(&join.left)?;
        if requests_left && reads_requests(&join.right)? {
            return Err(refuse::self_join().into());
        }
        let keep = match (join.join_type, requests_left) {
            (JoinType::Inner, _) => Keep::Matches,
            (JoinType::Left, true) | (JoinType::Right, false) => Keep::All,
            (JoinType::LeftSemi, true) | (JoinType::RightSemi, false) => Keep::Matched,
            (JoinType::LeftAnti, true) | (JoinType::RightAnti, false) => Keep::Unmatched {
                not_in: join.null_aware,
            },
            (other, _) => return Err(refuse::join(other, requests_left).into()),
        };
        if join.on.is_empty() {
            return Err(refuse::join_without_key().into());
        }
        let (requests, table) = match requests_left {
            true => (&join.left, &join.right),
            false => (&join.right, &join.left),
        };
        self.plan(requests)?;
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let (request_keys, table_keys) = match requests_left {
            true => (left_keys, right_keys),
            false => (right_keys, left_keys),
        };
        let both = join.left.schema().join(join.right.schema())?;
        let filter = join.filter.as_ref();
        let filter = filter.map(|filter| self.physical_one(filter, &both));
        let join = StaticJoin::new(
            Side {
                requests_left,
                keep,
                null_equality: join.null_equality,
            },
            self.physical(&request_keys, requests.schema())?,
            &self.physical(&table_keys, table.schema())?,
            self.read(table)?,
            filter.transpose()?,
            nullable(both.as_arrow()),
        )?;
        self.steps.push(Step::Join(Box::new(join)));
        Ok(())
    }

    /// The rows of a plan that reads no requests.
    fn read(&self, plan: &LogicalPlan) -> Result<RecordBatch> {
        clock::begin_batch();
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let batches = wait_for(async || {
            clock::begin_batch();
            let plan = self.state.create_physical_plan(plan).await?;
            Ok(collect(plan, self.state.task_ctx()).await?)
        })?;
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        Ok(concat_batches(&schema, &batches).map_err(DataFusionError::from)?)
    }

    fn physical(&self, exprs: &[Expr], input: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs
            .iter()
            .map(|expr| self.physical_one(expr, input))
            .collect()
    }

    fn physical_one(&self, expr: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let has_subquery = expr.exists(|expr| {
            let is_subquery = matches!(
                expr,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
            );
            Ok(is_subquery)
        })?;
        if has_subquery {
            return Err(refuse::subquery().into());
        }
        Ok(create_physical_expr(
            expr,
            input,
            self.state.execution_props(),
            &PhysicalPlanningContext::default(),
        )?)
    }
}

/// Whether these are the requests.
pub(crate) fn is_requests(scan: &TableScan) -> bool {
    scan.source.is::<RequestSource>()
}

/// Whether the plan, or a subquery in it, reads requests.
pub(crate) fn reads_requests(plan: &LogicalPlan) -> datafusion::error::Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan {
            found |= is_requests(scan);
        }
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(found)
}

/// The schema with every column nullable: a step trusts values, not what was said of them.
fn nullable(schema: &Schema) -> SchemaRef {
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    Arc::new(Schema::new(
        schema.fields().iter().map(nullable).collect::<Fields>(),
    ))
}
