//! What the API says of queries, as JSON.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::health::{Queries, Trouble};
use crate::progress::QueryProgress;
use crate::query::{PartitionView, Phase, StreamingQuery};
use crate::service_info::ServiceInfo;

/// How long `stop` waits for the end of a query; shorter than a connection lives.
pub(super) const STOP_WAIT: Duration = Duration::from_secs(20);

/// A query, in the words of the progress records.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryView {
    id: String,
    run_id: String,
    name: String,
    service: String,
    state: &'static str,
    message: String,
    is_ready: bool,
    not_ready: Vec<Value>,
    failed_reloads: Vec<Value>,
    exception: Option<String>,
    restarts: u64,
    started_at_ms: u64,
    connections: usize,
    service_info: Vec<ServiceInfo>,
    last_progress: Option<QueryProgress>,
}

/// All queries of a session; those that are about to start have no more than a name.
pub(super) fn list(queries: &Queries) -> Value {
    let views = queries.iter().map(|(name, started)| match started {
        Some(started) => json!(query(started)),
        None => json!({ "name": name, "state": "starting", "isReady": false }),
    });
    json!({ "queries": views.collect::<Vec<_>>() })
}

/// One query.
pub(super) fn query(query: &StreamingQuery) -> QueryView {
    let (status, shared) = (query.status(), query.shared());
    QueryView {
        id: shared.id.clone(),
        run_id: shared.run_id.clone(),
        name: shared.name.clone(),
        service: shared.service.clone(),
        state: state(shared.phase().0),
        message: status.message,
        is_ready: status.not_ready.is_empty(),
        not_ready: status
            .not_ready
            .iter()
            .map(|reason| Trouble::of(reason).json())
            .collect(),
        failed_reloads: status
            .failed_reloads
            .iter()
            .map(|failed| json!({ "kind": failed.kind.name(), "error": failed.error }))
            .collect(),
        exception: query.exception().map(|error| error.to_string()),
        restarts: status.restarts,
        started_at_ms: shared.started_at_ms,
        connections: shared
            .partitions()
            .iter()
            .map(PartitionView::connections)
            .sum(),
        service_info: query.service_info().to_vec(),
        last_progress: query.last_progress(),
    }
}

/// The newest progress records of a query, oldest first.
pub(super) fn progress(query: &StreamingQuery) -> Value {
    json!({ "progress": query.recent_progress() })
}

fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::Active => "active",
        Phase::Draining => "draining",
        Phase::Ended => "ended",
    }
}
