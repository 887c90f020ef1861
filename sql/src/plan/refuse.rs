//! What the continuous mode does not run, and what does.

use datafusion::logical_expr::{Distinct, JoinType, LogicalPlan};

use crate::error::NotRowWise;

const SERVER: &str = "server mode will run it, over the requests of a micro-batch";
const AS_WINDOW: &str = "server mode will run it, over the requests of a micro-batch; as a window, \
     `OVER ()`, it leaves each request its row";
const BEFORE: &str = "compute it into a table beforehand, and join that";

/// Why an operator over requests is not row-wise.
pub(super) fn not_row_wise(plan: &LogicalPlan) -> NotRowWise {
    let (operator, reason, way_out) = match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.is_empty() => (
            "DISTINCT, or GROUP BY without an aggregate".to_owned(),
            "it compares requests with each other",
            SERVER,
        ),
        LogicalPlan::Aggregate(aggregate) => (
            format!("the aggregate {}", listed(&aggregate.aggr_expr)),
            "it computes one value from several requests",
            AS_WINDOW,
        ),
        LogicalPlan::Distinct(Distinct::All(_) | Distinct::On(_)) => (
            "DISTINCT".to_owned(),
            "it compares requests with each other",
            SERVER,
        ),
        LogicalPlan::Window(window) => (
            format!("the window function {}", listed(&window.window_expr)),
            "it looks at the requests around a request",
            SERVER,
        ),
        LogicalPlan::Sort(_) => (
            "ORDER BY".to_owned(),
            "a request is answered before the next one is known",
            SERVER,
        ),
        LogicalPlan::Limit(_) | LogicalPlan::TableScan(_) => (
            "LIMIT".to_owned(),
            "each request has its reply",
            "filter the requests that are not to be answered",
        ),
        LogicalPlan::Union(_) => (
            "UNION of requests".to_owned(),
            "it would answer a request twice",
            "write the cases as CASE WHEN",
        ),
        LogicalPlan::Unnest(_) => (
            "unnest".to_owned(),
            "it makes several rows of one request, which has one reply",
            SERVER,
        ),
        LogicalPlan::Repartition(_) => (
            "repartition".to_owned(),
            "a request is answered on the partition that it came to",
            SERVER,
        ),
        LogicalPlan::RecursiveQuery(_) => (
            "WITH RECURSIVE".to_owned(),
            "how often it runs is not known beforehand",
            BEFORE,
        ),
        other => (
            other.display().to_string(),
            "it is no query of requests",
            "write a SELECT from requests",
        ),
    };
    NotRowWise {
        operator,
        reason,
        way_out,
    }
}

/// A subquery that the optimizer could not turn into a join.
pub(super) fn subquery() -> NotRowWise {
    NotRowWise {
        operator: "a subquery in an expression".to_owned(),
        reason: "it would run once for each request",
        way_out: BEFORE,
    }
}

/// A join of requests with requests.
pub(super) fn self_join() -> NotRowWise {
    NotRowWise {
        operator: "a join of requests with requests".to_owned(),
        reason: "it compares requests with each other",
        way_out: SERVER,
    }
}

/// A join of this type, where the requests are on the left, or on the right.
pub(super) fn join(join_type: JoinType, requests_left: bool) -> NotRowWise {
    let side = if requests_left { "left" } else { "right" };
    NotRowWise {
        operator: format!("a {join_type} join with the requests on its {side}"),
        reason: "it gives rows of the table too, which nobody asked for",
        way_out: "use an inner join, or an outer one that keeps the requests",
    }
}

/// A join that has no equality to look rows up by.
pub(super) fn join_without_key() -> NotRowWise {
    NotRowWise {
        operator: "a join without an equality".to_owned(),
        reason: "each request would meet every row of the table",
        way_out: "join ON a column that equals one of the table",
    }
}

fn listed(expressions: &[datafusion::prelude::Expr]) -> String {
    let names: Vec<_> = expressions
        .iter()
        .map(|expr| expr.schema_name().to_string())
        .collect();
    names.join(", ")
}
