//! What a query did in an epoch.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::tee::TeeSeen;

/// The progress of a query in one interval of its trigger.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryProgress {
    /// The id of the query, which it keeps over restarts from its checkpoint.
    pub id: String,
    /// The id of this run.
    pub run_id: String,
    /// The name of the query.
    pub name: String,
    /// The epoch that was open during the interval.
    pub epoch: u64,
    /// When the interval ended, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// How long it was, in milliseconds.
    pub interval_ms: f64,
    /// Requests answered, per second.
    pub requests_per_second: f64,
    /// The time from the wake-up that brought a request until its reply was with the kernel.
    pub latency: LatencySummary,
    /// Each partition's part.
    pub partitions: Vec<PartitionProgress>,
    /// What the checkpoint says; none without a `checkpointLocation`.
    pub checkpoint: Option<CheckpointProgress>,
    /// How the tee is doing; none without one.
    pub tee: Option<TeeProgress>,
}

/// The part of one partition in the progress of its query.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PartitionProgress {
    /// Which partition.
    pub partition: usize,
    /// `settled` at the beginning of the interval.
    pub start_offset: u64,
    /// The low-water mark: every request below it is answered.
    pub settled: u64,
    /// The offset that the next request gets.
    pub next: u64,
    /// Open connections.
    pub connections: usize,
    /// Requests answered, per second.
    pub requests_per_second: f64,
    /// The latencies of this partition.
    pub latency: LatencySummary,
    /// The longest turn, in microseconds.
    pub longest_turn_us: f64,
    /// The longest end of a turn at which an epoch ended, in microseconds.
    pub longest_end_of_turn_us: f64,
}

/// Percentiles in microseconds, with a precision of 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LatencySummary {
    /// How many requests they are about.
    pub count: u64,
    /// The median.
    pub p50_us: f64,
    /// 9 of 10 requests took at most this.
    pub p90_us: f64,
    /// 99 of 100 requests took at most this.
    pub p99_us: f64,
    /// 999 of 1000 requests took at most this.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl LatencySummary {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        LatencySummary {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}

/// The state of a query's checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CheckpointProgress {
    /// The newest epoch that is committed; none before the first commit ever.
    pub committed_epoch: Option<u64>,
    /// How long the last commit took, in milliseconds.
    pub duration_ms: f64,
    /// For how long there has been something that no committed epoch says, in milliseconds; 0 when
    /// there is nothing.
    pub lag_ms: f64,
    /// Why the last commit failed, if it did; it is tried again.
    pub failure: Option<String>,
    /// What keeps this run from committing at all: the lock of the process that it took over from.
    pub waiting_for: Option<String>,
}

/// The state of a query's tee.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TeeProgress {
    /// How many rows are in the sink since the query started.
    pub rows: u64,
    /// How many were dropped, since the sink was too slow.
    pub dropped_rows: u64,
    /// Bytes of rows that were handed over to the sink, and are not in it yet.
    pub pending_bytes: u64,
    /// For how long there have been rows that were to be in the sink, in milliseconds; 0 when there are
    /// none.
    pub lag_ms: f64,
    /// Why the last write failed, if it did; it is tried again.
    pub failure: Option<String>,
}

impl TeeProgress {
    pub(crate) fn of(seen: &TeeSeen) -> Self {
        TeeProgress {
            rows: seen.rows,
            dropped_rows: seen.dropped,
            pending_bytes: seen.pending_bytes,
            lag_ms: seen.lag.as_secs_f64() * 1e3,
            failure: seen.failure.clone(),
        }
    }
}
