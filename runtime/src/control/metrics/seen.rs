//! A reading of one query.

use std::time::{Duration, Instant};

use crate::control::epochs::Epochs;
use crate::control::health;
use crate::io::clock::now_ns;
use crate::partition::buckets::BucketsSeen;
use crate::partition::shed::{ShedReason, TimeoutKind};
use crate::partition::traffic::{STATUS_CLASSES, TrafficSeen};
use crate::query::{PartitionView, StreamingQuery};
use crate::reloads::ReloadsSeen;
use crate::tee::TeeSeen;

/// The bounds of request durations: OpenTelemetry's from 5 ms on, and below them as many again,
/// where a request of a compiled pipeline is.
const REQUEST_BOUNDS_NS: &[u64] = &[
    5_000,
    10_000,
    25_000,
    50_000,
    75_000,
    100_000,
    250_000,
    500_000,
    750_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Nanoseconds, as a histogram of seconds.
const NS: f64 = 1e9;

/// A histogram as metrics show it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    /// The bounds, and how many values are at most each.
    pub(super) at_most: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl Histogram {
    /// Values divided by `unit`.
    fn of(seen: &BucketsSeen, unit: f64) -> Self {
        let bounds = seen.bounds.iter().map(|bound| *bound as f64 / unit);
        Histogram {
            at_most: bounds.zip(seen.at_most.iter().copied()).collect(),
            count: seen.count,
            sum: seen.sum as f64 / unit,
        }
    }

    /// Adds one with the same bounds.
    fn add(&mut self, other: &Histogram) {
        for ((_, count), (_, more)) in self.at_most.iter_mut().zip(&other.at_most) {
            *count += more;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    fn sum(all: impl Iterator<Item = Histogram>) -> Option<Histogram> {
        all.reduce(|mut sum, one| {
            sum.add(&one);
            sum
        })
    }

    const EMPTY: Histogram = Histogram {
        at_most: Vec::new(),
        count: 0,
        sum: 0.0,
    };
}

pub(super) struct QuerySeen {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) run_id: String,
    pub(super) service: String,
    pub(super) started_at_ms: u64,
    pub(super) is_ready: bool,
    pub(super) restarts: u64,
    pub(super) reloads: [ReloadsSeen; 2],
    pub(super) durations: Histogram,
    /// Of each deferring operator that rows have passed.
    pub(super) stages: Vec<(usize, Histogram)>,
    pub(super) batches: Histogram,
    pub(super) commits: Histogram,
    pub(super) epochs: Epochs,
    pub(super) lag: Duration,
    pub(super) tee: Option<TeeSeen>,
    pub(super) partitions: Vec<PartitionSeen>,
}

pub(super) struct PartitionSeen {
    pub(super) number: String,
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) traffic: TrafficSeen,
    pub(super) longest_turn_ns: u64,
    pub(super) running_turn_ns: u64,
    shed: Vec<u64>,
    timeouts: Vec<u64>,
}

impl QuerySeen {
    pub(super) fn of(query: &StreamingQuery, now: Instant) -> Self {
        let shared = query.shared();
        let views = shared.partitions();
        let last = query.last_progress();
        let longest_ns = |index: usize| {
            let partition = last.as_ref().and_then(|last| last.partitions.get(index));
            partition.map_or(0, |partition| (partition.longest_turn_us * 1e3) as u64)
        };
        let partitions = views.iter().enumerate();
        let epochs = shared.epochs.read();
        let durations = views.iter().map(|view| {
            let latencies = &view.published.latencies;
            Histogram::of(&latencies.read(REQUEST_BOUNDS_NS), NS)
        });
        let batches = views
            .iter()
            .map(|view| Histogram::of(&view.published.stages.batches(), 1.0));
        QuerySeen {
            name: shared.name.clone(),
            id: shared.id.clone(),
            run_id: shared.run_id.clone(),
            service: shared.service.clone(),
            started_at_ms: shared.started_at_ms,
            is_ready: health::not_ready(shared).is_empty(),
            restarts: query.status().restarts,
            reloads: shared.reloads.read(),
            durations: Histogram::sum(durations).unwrap_or(Histogram::EMPTY),
            stages: stages(views),
            batches: Histogram::sum(batches).unwrap_or(Histogram::EMPTY),
            commits: Histogram::of(&shared.epochs.durations(), NS),
            lag: epochs.lag(now),
            tee: shared.tee.as_ref().map(|tee| tee.read()),
            epochs,
            partitions: partitions
                .map(|(index, view)| PartitionSeen::of(index, view, longest_ns(index)))
                .collect(),
        }
    }

    pub(super) fn labels<'l>(&'l self, partition: &'l PartitionSeen) -> [(&'l str, &'l str); 2] {
        [("query", &self.name), ("partition", &partition.number)]
    }

    pub(super) fn sum(&self, value: impl Fn(&PartitionSeen) -> u64) -> u64 {
        self.partitions.iter().map(value).sum()
    }

    pub(super) fn replies(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let classes = STATUS_CLASSES.iter().enumerate();
        classes.map(|(class, name)| {
            (
                *name,
                self.sum(|partition| partition.traffic.replies[class]),
            )
        })
    }

    pub(super) fn shed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = ShedReason::ALL.iter().enumerate();
        reasons.map(|(index, reason)| (reason.name(), self.sum(|partition| partition.shed[index])))
    }

    pub(super) fn timeouts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = TimeoutKind::ALL.iter().enumerate();
        kinds.map(|(index, kind)| (kind.name(), self.sum(|partition| partition.timeouts[index])))
    }
}

impl PartitionSeen {
    fn of(index: usize, view: &PartitionView, longest_turn_ns: u64) -> Self {
        let published = &view.published;
        let shed = ShedReason::ALL.map(|reason| published.shed.shed(reason));
        let timeouts = TimeoutKind::ALL.map(|kind| published.shed.timeouts(kind));
        let running_turn_ns = published.turn_ns(now_ns()).unwrap_or(0);
        PartitionSeen {
            number: index.to_string(),
            requests: published.requests(),
            connections: view.connections() as u64,
            traffic: published.traffic.read(),
            longest_turn_ns: longest_turn_ns.max(published.longest_turn_ns()),
            running_turn_ns,
            shed: shed.to_vec(),
            timeouts: timeouts.to_vec(),
        }
    }
}

/// The stages of all partitions, by their numbers.
fn stages(views: &[PartitionView]) -> Vec<(usize, Histogram)> {
    let mut stages: Vec<(usize, Histogram)> = Vec::new();
    let seen = views
        .iter()
        .flat_map(|view| view.published.stages.durations());
    for (stage, seen) in seen {
        let histogram = Histogram::of(&seen, NS);
        match stages.binary_search_by_key(&stage, |(stage, _)| *stage) {
            Ok(index) => stages[index].1.add(&histogram),
            Err(index) => stages.insert(index, (stage, histogram)),
        }
    }
    stages
}
