//! Tables beside the requests: read once, when the plan is made.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::default_table_source::{provider_as_source, source_as_provider};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::prelude::SessionContext;

use super::source::BatchTable;

/// The tables of a plan that are not the requests, in memory.
#[derive(Clone, Default)]
pub(super) struct Tables(HashMap<usize, Arc<dyn TableProvider>>);

impl Tables {
    /// Reads them.
    pub(super) async fn read(state: &SessionState, plan: &LogicalPlan) -> Result<Self> {
        let mut sources = Vec::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && !source_as_provider(&scan.source)?.is::<BatchTable>()
            {
                sources.push(Arc::clone(&scan.source));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let context = SessionContext::new_with_state(state.clone());
        let mut tables = HashMap::new();
        for source in sources {
            if tables.contains_key(&address(&source)) {
                continue;
            }
            let provider = source_as_provider(&source)?;
            let schema = provider.schema();
            let batches = context.read_table(provider)?.collect().await?;
            let table = Arc::new(MemTable::try_new(schema, vec![batches])?);
            tables.insert(address(&source), table as Arc<dyn TableProvider>);
        }
        Ok(Tables(tables))
    }

    /// The plan over what was read.
    pub(super) fn put_into(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let replaced = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(mut scan) = node else {
                return Ok(Transformed::no(node));
            };
            let Some(table) = self.0.get(&address(&scan.source)) else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            scan.source = provider_as_source(Arc::clone(table));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })?;
        Ok(replaced.data)
    }
}

/// Tells sources apart; they live as long as the plan that names them.
fn address(source: &Arc<dyn TableSource>) -> usize {
    Arc::as_ptr(source).addr()
}
