//! The number of its request, carried through a plan with each row.

use std::sync::Arc;

use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{JoinType, LogicalPlan, LogicalPlanBuilder, Projection, TableScan};
use datafusion::prelude::{Column, Expr};

use super::source::{BatchTable, ROW};
use crate::plan::{is_requests, reads_requests};

/// What stands in the way of knowing whose reply a row is.
pub(super) struct Blocked {
    /// The operator, in SQL's words.
    pub(super) operator: String,
}

/// The plan with [`ROW`] behind its columns, read from `numbered`; or the first operator at which
/// rows of several requests become one.
pub(super) fn carry(
    plan: &LogicalPlan,
    numbered: &Arc<BatchTable>,
) -> Result<std::result::Result<LogicalPlan, Blocked>> {
    let inputs = match plan {
        LogicalPlan::TableScan(scan) if is_requests(scan) => {
            return Ok(Ok(scanned(scan, numbered)?));
        }
        LogicalPlan::Join(join) => {
            let Some(left) = carrying_side(join.join_type, &join.left, &join.right)? else {
                return Ok(Err(blocked(plan)));
            };
            let side = if left { &join.left } else { &join.right };
            let carried = match carry(side, numbered)? {
                Ok(carried) => carried,
                Err(blocked) => return Ok(Err(blocked)),
            };
            match left {
                true => vec![carried, join.right.as_ref().clone()],
                false => vec![join.left.as_ref().clone(), carried],
            }
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_) => {
            let mut carried = Vec::new();
            for input in plan.inputs() {
                match carry(input, numbered)? {
                    Ok(input) => carried.push(input),
                    Err(blocked) => return Ok(Err(blocked)),
                }
            }
            carried
        }
        _ => return Ok(Err(blocked(plan))),
    };
    if let LogicalPlan::Projection(projection) = plan {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs).unwrap_or_else(|_| unreachable!());
        let mut expressions = projection.expr.clone();
        // Without the qualifier of its table, which another branch of a union has not.
        expressions.push(row_of(&input)?.alias(ROW));
        let projection = Projection::try_new(expressions, Arc::new(input))?;
        return Ok(Ok(LogicalPlan::Projection(projection)));
    }
    Ok(Ok(plan.with_new_exprs(plan.expressions(), inputs)?))
}

/// The column [`ROW`] of a plan that carries it.
pub(super) fn row_of(plan: &LogicalPlan) -> Result<Expr> {
    let schema = plan.schema();
    let index = schema
        .fields()
        .iter()
        .rposition(|field| field.name() == ROW);
    let index = index.ok_or_else(|| {
        datafusion::common::internal_datafusion_err!("the number of a request was lost")
    })?;
    Ok(Expr::Column(Column::from(schema.qualified_field(index))))
}

fn scanned(scan: &TableScan, numbered: &Arc<BatchTable>) -> Result<LogicalPlan> {
    let provider = Arc::clone(numbered);
    LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(provider), None)?.build()
}

/// Whether the plan moves rows between partitions because it was told to.
pub(crate) fn repartitions(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Repartition(_));
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// Whether the row is carried by the left side of a join (`true`) or by the right one; by none when
/// the side with the requests is not in the result.
fn carrying_side(
    join_type: JoinType,
    left: &LogicalPlan,
    right: &LogicalPlan,
) -> Result<Option<bool>> {
    use JoinType::{LeftAnti, LeftMark, LeftSemi, RightAnti, RightMark, RightSemi};
    Ok(match (reads_requests(left)?, reads_requests(right)?) {
        (true, _) if !matches!(join_type, RightSemi | RightAnti | RightMark) => Some(true),
        (_, true) if !matches!(join_type, LeftSemi | LeftAnti | LeftMark) => Some(false),
        _ => None,
    })
}

fn blocked(plan: &LogicalPlan) -> Blocked {
    let operator = match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.is_empty() => {
            "GROUP BY without an aggregate".to_owned()
        }
        LogicalPlan::Aggregate(aggregate) => {
            let names = aggregate.aggr_expr.iter();
            let names: Vec<_> = names.map(|expr| expr.schema_name().to_string()).collect();
            format!("the aggregate {}", names.join(", "))
        }
        LogicalPlan::Distinct(_) => "DISTINCT".to_owned(),
        other => other.display().to_string(),
    };
    Blocked { operator }
}
