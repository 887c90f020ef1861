//! From a plan over requests to what is executed for each micro-batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::UInt32Type;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result as PlanResult, resources_err};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{
    ExecutionPlan, SendableRecordBatchStream, execute_stream_partitioned,
};
use datafusion::prelude::{Column, Expr, SessionConfig};
use futures::StreamExt;

use super::carry::{carry, row_of};
use super::source::{BatchTable, MicroBatch, Noted};
use super::tables::Tables;
use crate::clock::{self, BatchClock};
use crate::error::{Result, SqlError};
use crate::input::Reads;
use crate::plan::{RequestSource, Rows, is_requests};
use crate::planning::wait_for;

/// What one micro-batch may hold in memory beside its requests.
const MEMORY_BYTES: usize = 1 << 30;
/// How many rows a micro-batch may become.
const MOST_ROWS: usize = 1 << 20;

/// The plan of a micro-batch.
#[derive(Debug)]
pub(crate) struct MicroPlan {
    plan: Arc<dyn ExecutionPlan>,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    clock: BatchClock,
    whose: Whose,
    /// The places of the batch's columns among those that there are.
    places: Vec<usize>,
    available: usize,
}

/// How the request of a row is known. It is the plan's second column, behind the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// By its number in the batch.
    Number,
    /// By its id; those of all requests are the batch's first column.
    Id,
}

/// What plans were made for a query, one for each of its workers.
pub(crate) struct Planned {
    pub(crate) reads: Reads,
    pub(crate) plans: Vec<MicroPlan>,
}

/// What is to be planned.
pub(crate) struct Query<'q> {
    pub(crate) state: &'q SessionState,
    pub(crate) source: &'q RequestSource,
    /// The reply as its only column.
    pub(crate) plan: LogicalPlan,
    /// The same with the request's id behind it, where the plan has that.
    pub(crate) with_id: Option<LogicalPlan>,
}

impl Query<'_> {
    /// Makes the plan for so many workers, each of which works on a batch in so many slices.
    pub(crate) fn plan(self, workers: usize, slices: usize) -> Result<Planned> {
        let available = self.source.0.schema();
        let noted = Noted::default();
        let table = |numbered| BatchTable::new(&available, numbered, slices, noted.clone());
        let numbered = Arc::new(table(true));
        let (plan, whose) = match (carry(&self.plan, &numbered)?, self.with_id) {
            (Ok(plan), _) => (plan, Whose::Number),
            (Err(_), Some(plan)) => (plan, Whose::Id),
            (Err(blocked), None) => {
                return Err(SqlError::WhoseReply {
                    operator: blocked.operator,
                });
            }
        };
        // What is left of requests are those that no row carries: in a subquery, in another side of
        // a join.
        let plan = over(plan, &Arc::new(table(false)))?;
        let plan = ordered(plan, whose)?;
        let mut state = self.state.clone();
        state.config_mut().options_mut().execution.target_partitions = slices;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(MEMORY_BYTES, 1.0)
            .with_disk_manager_builder(
                DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
            )
            .build_arc()?;
        let state = &state;
        let planned = wait_for(async || {
            clock::begin_batch();
            let tables = Tables::read(state, &plan).await?;
            let plan = tables.put_into(plan)?;
            let mut planned = Vec::new();
            for _ in 0..workers {
                let clock = BatchClock::of_plan();
                let (plan, _) = clock::set_to_batch_time(plan.clone(), &clock)?;
                planned.push((state.create_physical_plan(&plan).await?, clock));
            }
            Ok(planned)
        })?;
        let mut places = noted.columns();
        if whose == Whose::Id && !places.contains(&0) {
            places.insert(0, 0);
        }
        let schema = available.project(&places);
        let reads = Reads {
            columns: self.source.0.at(&places),
            sources: self.source.0.clone(),
            schema: Arc::new(schema.map_err(DataFusionError::from)?),
        };
        let plan_of = |(plan, clock)| MicroPlan {
            plan,
            config: state.config().clone(),
            runtime: Arc::clone(&runtime),
            clock,
            whose,
            places: places.clone(),
            available: available.fields().len(),
        };
        Ok(Planned {
            reads,
            plans: planned.into_iter().map(plan_of).collect(),
        })
    }
}

/// The plan, which reads its requests from this table.
fn over(plan: LogicalPlan, table: &Arc<BatchTable>) -> PlanResult<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) if is_requests(&scan) => {
            scan.source = provider_as_source(Arc::clone(table) as _);
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

/// The plan with the reply as its first column and whose it is as its second.
fn ordered(plan: LogicalPlan, whose: Whose) -> PlanResult<LogicalPlan> {
    if whose == Whose::Id {
        return Ok(plan);
    }
    let reply = Column::from(plan.schema().qualified_field(0));
    let row = row_of(&plan)?;
    LogicalPlanBuilder::from(plan)
        .project([Expr::Column(reply), row])?
        .build()
}

impl MicroPlan {
    /// Runs the plan over a batch of requests: their replies, in the order of the requests.
    pub(crate) async fn evaluate(&self, requests: RecordBatch) -> PlanResult<Rows> {
        self.clock.begin_batch();
        let batch = MicroBatch::new(&requests, &self.places, self.available);
        let config = self.config.clone().with_extension(Arc::new(batch));
        let context = TaskContext::default()
            .with_session_config(config)
            .with_runtime(Arc::clone(&self.runtime));
        // Without this the state of the last batch would be in the plan: rows of a join, and so on.
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let schema = plan.schema();
        let streams = execute_stream_partitioned(plan, Arc::new(context))?;
        let batches = rows_of(streams).await?;
        let batch = concat_batches(&schema, &batches)?;
        let numbers = match self.whose {
            Whose::Number => batch.column(1).as_primitive::<UInt32Type>().clone(),
            Whose::Id => numbers_of(batch.column(1), requests.column(0)),
        };
        in_order(&batch.project(&[0])?, &numbers)
    }
}

/// The rows of all partitions of a plan, which run side by side; they come in the order of the
/// partitions, so that of several rows of a request the same one is the first each time.
async fn rows_of(mut partitions: Vec<SendableRecordBatchStream>) -> PlanResult<Vec<RecordBatch>> {
    let rows = Arc::new(AtomicUsize::new(0));
    if partitions.len() == 1 {
        return rows_in(partitions.remove(0), rows).await;
    }
    let spawn = |partition| SpawnedTask::spawn(rows_in(partition, Arc::clone(&rows)));
    let tasks: Vec<_> = partitions.into_iter().map(spawn).collect();
    let mut all = Vec::new();
    for task in tasks {
        // A panic goes on here; a task that was cancelled had nobody to wait for it.
        let rows = task.join_unwind().await;
        all.extend(rows.map_err(|error| DataFusionError::External(Box::new(error)))??);
    }
    Ok(all)
}

/// The rows of one partition. Those of all are counted together.
async fn rows_in(
    mut partition: SendableRecordBatchStream,
    rows: Arc<AtomicUsize>,
) -> PlanResult<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    while let Some(batch) = partition.next().await {
        let batch = batch?;
        let before = rows.fetch_add(batch.num_rows(), Ordering::Relaxed);
        if before + batch.num_rows() > MOST_ROWS {
            return resources_err!("the plan makes more than {MOST_ROWS} rows");
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// The numbers of the requests that have these ids, by the column of all ids.
fn numbers_of(ids: &ArrayRef, requests: &ArrayRef) -> UInt32Array {
    let (ids, all) = (request_ids(ids), request_ids(requests));
    let numbers: HashMap<&str, u32> = all.iter().flatten().zip(0..).collect();
    ids.iter()
        .map(|id| numbers.get(id?).copied())
        .collect::<UInt32Array>()
}

/// The texts in a column of ids, which tell requests apart.
fn request_ids(ids: &ArrayRef) -> StringArray {
    let ids = ids.as_struct();
    let texts = ids.column(1).as_string::<i32>().clone();
    match ids.nulls() {
        None => texts,
        Some(nulls) => (0..texts.len())
            .map(|row| (nulls.is_valid(row) && texts.is_valid(row)).then(|| texts.value(row)))
            .collect(),
    }
}

/// The rows of requests in the order of these; what belongs to none is left out. Rows of one request
/// keep the order in which the plan gave them.
fn in_order(rows: &RecordBatch, numbers: &UInt32Array) -> PlanResult<Rows> {
    let is_rising = numbers.null_count() == 0 && numbers.values().is_sorted();
    if is_rising {
        return Ok(Rows {
            batch: rows.clone(),
            origins: Some(numbers.clone()),
        });
    }
    let mut order: Vec<(u32, u32)> = numbers
        .iter()
        .zip(0..)
        .filter_map(|(number, row)| Some((number?, row)))
        .collect();
    order.sort_unstable();
    let (origins, order): (Vec<u32>, Vec<u32>) = order.into_iter().unzip();
    Ok(Rows {
        batch: take_record_batch(rows, &UInt32Array::from(order))?,
        origins: Some(UInt32Array::from(origins)),
    })
}
