//! `now()` and its kind: the time of the batch.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::prelude::Expr;

/// DataFusion's functions of the time, by the name under which each knows itself.
const CLOCKS: [&str; 3] = ["now", "current_date", "current_time"];

/// Where a plan finds the time of its batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchClock(Option<Arc<AtomicI64>>);

impl BatchClock {
    /// One for a plan that several threads work on together, a batch at a time.
    pub(crate) fn of_plan() -> Self {
        BatchClock(Some(Arc::default()))
    }

    /// Reads the clock for the batch that is evaluated next.
    pub(crate) fn begin_batch(&self) {
        match &self.0 {
            Some(clock) => clock.store(now_ns(), Ordering::Relaxed),
            None => begin_batch(),
        }
    }

    fn batch_time_ns(&self) -> i64 {
        match &self.0 {
            Some(clock) => clock.load(Ordering::Relaxed),
            None => BATCH_TIME_NS.get(),
        }
    }
}

impl PartialEq for BatchClock {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }
}

impl Eq for BatchClock {}

impl Hash for BatchClock {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ref().map(Arc::as_ptr).hash(state);
    }
}

thread_local! {
    /// The time of the batch that this thread evaluates, in nanoseconds since 1970.
    static BATCH_TIME_NS: Cell<i64> = const { Cell::new(0) };
}

/// Reads the clock for the batch that is evaluated next on this thread.
pub(crate) fn begin_batch() {
    BATCH_TIME_NS.set(now_ns());
}

fn now_ns() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

/// Puts [`BatchTime`] in the place of each function of the time; whether there was one.
///
/// DataFusion takes such a function for a constant of the query, and folds it while it optimizes.
/// A plan that is made once would tell the time of its making for ever.
pub(crate) fn set_to_batch_time(
    plan: LogicalPlan,
    time: &BatchClock,
) -> Result<(LogicalPlan, bool)> {
    let mut found = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        plan.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::ScalarFunction(call) if CLOCKS.contains(&call.func.name()) => {
                    found = true;
                    let clock = BatchTime {
                        clock: call.func.as_ref().clone(),
                        time: time.clone(),
                        signature: Signature::nullary(Volatility::Volatile),
                    };
                    let function =
                        ScalarFunction::new_udf(Arc::new(ScalarUDF::from(clock)), call.args);
                    Ok(Transformed::yes(Expr::ScalarFunction(function)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok((plan.data, found))
}

/// A function of the time that asks for it anew in each batch. It is volatile, so nobody folds it;
/// its value is what DataFusion would have folded it to.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BatchTime {
    clock: ScalarUDF,
    time: BatchClock,
    signature: Signature,
}

impl ScalarUDFImpl for BatchTime {
    fn name(&self) -> &str {
        self.clock.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.clock.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.clock.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now: DateTime<Utc> = DateTime::from_timestamp_nanos(self.time.batch_time_ns());
        let context = SimplifyContext::builder()
            .with_config_options(args.config_options)
            .with_query_execution_start_time(Some(now))
            .build();
        match self.clock.simplify(Vec::new(), &context)? {
            ExprSimplifyResult::Simplified(Expr::Literal(value, _)) => {
                Ok(ColumnarValue::Scalar(value))
            }
            _ => internal_err!("{}() has no value at a given time", self.name()),
        }
    }
}
