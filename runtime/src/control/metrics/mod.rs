//! Metrics for Prometheus: one table of what there is, a reading of it all, and two text formats.

mod families;
mod process;
mod seen;
mod text;

use std::time::Instant;

use super::health::Queries;
use crate::tee::TeeSeen;
use families::*;
use process::Process;
use seen::{Histogram, QuerySeen};
pub(super) use text::Format;
use text::{Exposition, Labels};

#[cfg(test)]
mod tests;

/// Everything there is to measure, now. Nobody is asked: partitions are read with plain loads.
pub(super) fn scrape(queries: &Queries, format: Format) -> String {
    let now = Instant::now();
    let started = queries.iter().filter_map(|(_, query)| query.as_ref());
    let queries: Vec<_> = started.map(|query| QuerySeen::of(query, now)).collect();
    let mut out = Exposition::new(format);
    requests(&mut out, &queries);
    connections(&mut out, &queries);
    turns(&mut out, &queries);
    reloads(&mut out, &queries);
    stages(&mut out, &queries);
    epochs(&mut out, &queries);
    tees(&mut out, &queries);
    states(&mut out, &queries);
    process(&mut out, Process::read());
    out.finish()
}

fn requests(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &REQUEST_DURATION, queries, |samples, query| {
        samples.histogram(&[("query", &query.name)], &query.durations);
    });
    by_query(out, &REQUESTS, queries, |samples, query| {
        for partition in &query.partitions {
            samples.value(&query.labels(partition), partition.requests);
        }
    });
    by_query(out, &RESPONSES, queries, |samples, query| {
        for (class, replies) in query.replies() {
            samples.value(&[("query", &query.name), ("status_class", class)], replies);
        }
    });
    by_query(out, &ACTIVE_REQUESTS, queries, |samples, query| {
        let waiting: u64 = query.sum(|partition| partition.traffic.waiting);
        samples.value(&[("query", &query.name)], waiting);
    });
    by_query(out, &SHED, queries, |samples, query| {
        for (reason, count) in query.shed() {
            samples.value(&[("query", &query.name), ("reason", reason)], count);
        }
    });
    by_query(out, &TIMEOUTS, queries, |samples, query| {
        for (kind, count) in query.timeouts() {
            samples.value(&[("query", &query.name), ("kind", kind)], count);
        }
    });
}

fn connections(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &CONNECTIONS, queries, |samples, query| {
        for partition in &query.partitions {
            samples.value(&query.labels(partition), partition.connections);
        }
    });
    by_query(out, &CONNECTIONS_ACCEPTED, queries, |samples, query| {
        for partition in &query.partitions {
            samples.value(&query.labels(partition), partition.traffic.connections);
        }
    });
    by_query(out, &RECEIVED_BYTES, queries, |samples, query| {
        let bytes = query.sum(|partition| partition.traffic.received_bytes);
        samples.value(&[("query", &query.name)], bytes);
    });
    by_query(out, &SENT_BYTES, queries, |samples, query| {
        let bytes = query.sum(|partition| partition.traffic.sent_bytes);
        samples.value(&[("query", &query.name)], bytes);
    });
}

fn turns(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &TURNS, queries, |samples, query| {
        for partition in &query.partitions {
            samples.value(&query.labels(partition), partition.traffic.turns);
        }
    });
    by_query(out, &TURN_SECONDS, queries, |samples, query| {
        for partition in &query.partitions {
            let seconds = partition.traffic.turn_ns as f64 / 1e9;
            samples.value(&query.labels(partition), seconds);
        }
    });
    by_query(out, &TURN_LONGEST, queries, |samples, query| {
        for partition in &query.partitions {
            let seconds = partition.longest_turn_ns as f64 / 1e9;
            samples.value(&query.labels(partition), seconds);
        }
    });
    by_query(out, &TURN_RUNNING, queries, |samples, query| {
        for partition in &query.partitions {
            let seconds = partition.running_turn_ns as f64 / 1e9;
            samples.value(&query.labels(partition), seconds);
        }
    });
    by_query(out, &RESTARTS, queries, |samples, query| {
        samples.value(&[("query", &query.name)], query.restarts);
    });
}

fn reloads(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &RELOADS, queries, |samples, query| {
        for seen in query.reloads {
            for (result, count) in [("success", seen.succeeded), ("failure", seen.failed)] {
                let kind = seen.kind.name();
                let labels = [("query", &*query.name), ("kind", kind), ("result", result)];
                samples.value(&labels, count);
            }
        }
    });
    by_query(out, &LAST_RELOAD, queries, |samples, query| {
        for seen in query.reloads {
            let labels = [("query", &*query.name), ("kind", seen.kind.name())];
            samples.value(&labels, u64::from(seen.is_last_good));
        }
    });
}

fn stages(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &STAGE_DURATION, queries, |samples, query| {
        for (stage, durations) in &query.stages {
            let stage = stage.to_string();
            samples.histogram(&[("query", &query.name), ("stage", &stage)], durations);
        }
    });
    by_query(out, &BATCH_ROWS, queries, |samples, query| {
        samples.histogram(&[("query", &query.name)], &query.batches);
    });
}

fn epochs(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &EPOCH_DURATION, queries, |samples, query| {
        samples.histogram(&[("query", &query.name)], &query.commits);
    });
    by_query(out, &COMMIT_FAILURES, queries, |samples, query| {
        samples.value(&[("query", &query.name)], query.epochs.failed);
    });
    by_query(out, &LAG_SECONDS, queries, |samples, query| {
        samples.value(&[("query", &query.name)], query.lag.as_secs_f64());
    });
    by_query(out, &LAG_EPOCHS, queries, |samples, query| {
        samples.value(&[("query", &query.name)], query.epochs.epochs_behind);
    });
}

/// Nothing is said of tees where no query has one.
fn tees(out: &mut Exposition, queries: &[QuerySeen]) {
    if queries.iter().all(|query| query.tee.is_none()) {
        return;
    }
    let mut one = |family, value: fn(&TeeSeen) -> f64| {
        by_query(out, family, queries, |samples, query| {
            if let Some(tee) = &query.tee {
                samples.value(&[("query", &query.name)], value(tee));
            }
        });
    };
    one(&TEE_ROWS, |tee| tee.rows as f64);
    one(&TEE_DROPPED, |tee| tee.dropped as f64);
    one(&TEE_PENDING, |tee| tee.pending_bytes as f64);
    one(&TEE_LAG, |tee| tee.lag.as_secs_f64());
    one(&TEE_FAILURES, |tee| tee.failures as f64);
}

fn states(out: &mut Exposition, queries: &[QuerySeen]) {
    by_query(out, &QUERY_READY, queries, |samples, query| {
        samples.value(&[("query", &query.name)], u64::from(query.is_ready));
    });
    by_query(out, &QUERY_START_TIME, queries, |samples, query| {
        let seconds = query.started_at_ms as f64 / 1e3;
        samples.value(&[("query", &query.name)], seconds);
    });
    by_query(out, &QUERY_INFO, queries, |samples, query| {
        let labels: &Labels<'_> = &[
            ("query", &query.name),
            ("query_id", &query.id),
            ("run_id", &query.run_id),
            ("service", &query.service),
        ];
        samples.value(labels, 1u64);
    });
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.family(&BUILD_INFO).value(&version, 1u64);
}

fn process(out: &mut Exposition, process: Process) {
    let mut one = |family, value: Option<f64>| {
        if let Some(value) = value {
            out.family(family).value(&[], value);
        }
    };
    one(&PROCESS_CPU, process.cpu_seconds);
    one(&PROCESS_START_TIME, process.start_time_seconds);
    one(&PROCESS_RESIDENT, process.resident_bytes);
    one(&PROCESS_VIRTUAL, process.virtual_bytes);
    one(&PROCESS_THREADS, process.threads);
    one(&PROCESS_OPEN_FDS, process.open_fds);
    one(&PROCESS_MAX_FDS, process.max_fds);
}

/// The samples of a family, query by query; a family without queries is left out.
fn by_query(
    out: &mut Exposition,
    family: &Family,
    queries: &[QuerySeen],
    mut write: impl FnMut(&mut Exposition, &QuerySeen),
) {
    if queries.is_empty() {
        return;
    }
    let samples = out.family(family);
    for query in queries {
        write(samples, query);
    }
}

/// The table of `docs/operations.md`.
#[cfg(test)]
fn family_table() -> String {
    let mut table =
        String::from("| Metric | Type | Unit | Labels | Meaning |\n|---|---|---|---|---|\n");
    for family in FAMILIES {
        let labels: Vec<_> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        table += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            family.name,
            family.kind.name(),
            family.unit,
            labels.join(", "),
            family.help
        );
    }
    table
}
