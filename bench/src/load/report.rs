//! What a run saw, for people, programs and plots.

use std::fmt::{self, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::generator::Window;
use super::heat::HeatMap;
use super::options::LoadOptions;
use super::phase::{Phase, PhaseReport, recorded};
use super::record::{ErrorCounts, Record, histogram};
use super::schedule::Arrivals;
use super::stalls::Stalls;
use super::timeline::Step;
use crate::poller::PollMode;

/// What a run saw.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// Where the load went.
    pub address: String,
    /// What its connections agreed on, version and cipher suite; nothing when they were plain.
    pub tls: Option<String>,
    /// How many connections it held.
    pub connections: usize,
    /// How many requests each could have in flight.
    pub pipeline: usize,
    /// Requests per second of an open loop.
    pub rate: Option<f64>,
    /// How those were spread over time.
    pub arrivals: Arrivals,
    /// How the load generator waited.
    pub poll_mode: PollMode,
    /// When the window was to begin, by the clock on the wall, in ns since 1970: where `timeline`,
    /// `heat` and `stalls` count from.
    pub begin_unix_ns: u64,
    /// How long the window was.
    pub window_s: f64,
    /// Replies that arrived in the window.
    pub completed: u64,
    /// Those per second.
    pub throughput_per_s: f64,
    /// From when a request was due, for each that was due in the window and not answered 503.
    pub latency: Percentiles,
    /// The same of those answered 503.
    pub shed: Percentiles,
    /// How many those were.
    pub shed_count: u64,
    /// What arrived in each tenth of a second of the window.
    pub timeline: Vec<Step>,
    /// The good ones by arrival and latency.
    pub heat: HeatMap,
    /// When the load generator could not run; always empty when it does not spin.
    pub stalls: Stalls,
    /// What became of the requests of each rate, where it changed.
    pub phases: Vec<PhaseReport>,
    /// How late the load generator itself sent requests of an open loop.
    pub lag: Percentiles,
    /// The part of the window, from 0 to 1, in which the load generator had something to do.
    pub busy: f64,
    /// What went wrong, the warm-up included.
    pub errors: ErrorCounts,
    /// Every latency as (ns, how often), at three significant digits.
    pub histogram_ns: Vec<(u64, u64)>,
    /// The same, to be merged and asked.
    #[serde(skip)]
    pub histogram: Histogram<u64>,
}

/// The usual points of a distribution, in µs.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the docs")]
pub struct Percentiles {
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub max_us: f64,
}

impl Percentiles {
    /// The points of a histogram of ns.
    pub fn of(histogram_ns: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram_ns.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram_ns.max() as f64 / 1e3,
        }
    }
}

/// From here on a load generator is suspected to be what it measures.
const BUSY_LIMIT: f64 = 0.95;

/// From here on at its p99 a load generator does not keep its schedule.
const LAG_LIMIT_US: f64 = 100.0;

impl LoadReport {
    pub(super) fn new(
        options: &LoadOptions,
        tls: Option<String>,
        record: Record,
        window: Window,
    ) -> LoadReport {
        let window_ns = window.length_ns;
        let window_s = window_ns as f64 / 1e9;
        // A window that never opened has no rate, and no division by zero either.
        let per_window = |value: f64| {
            if window_ns == 0 {
                0.0
            } else {
                value / window_s
            }
        };
        let merge = |of: fn(&Phase) -> &Histogram<u64>| {
            let mut all = histogram();
            for phase in &record.phases {
                all.add(of(phase)).expect("all have the same bounds");
            }
            all
        };
        let answered_ns = merge(|phase| &phase.answered_ns);
        let shed_ns = merge(|phase| &phase.shed_ns);
        let phases = options.steps.iter().zip(&record.phases);
        LoadReport {
            address: options.target.address.to_string(),
            tls,
            connections: options.connections,
            pipeline: options.pipeline,
            rate: options.rate,
            arrivals: options.arrivals,
            poll_mode: options.poll_mode,
            begin_unix_ns: window.begin_unix_ns,
            window_s,
            completed: record.completed,
            throughput_per_s: per_window(record.completed as f64),
            latency: Percentiles::of(&answered_ns),
            shed: Percentiles::of(&shed_ns),
            shed_count: shed_ns.len(),
            timeline: record.timeline.into_steps(),
            heat: record.heat.into_map(window_ns),
            stalls: record.stalls,
            phases: phases.map(|(&step, phase)| phase.report(step)).collect(),
            lag: Percentiles::of(&record.lag_ns),
            busy: 1.0 - per_window(record.idle_ns as f64 / 1e9).min(1.0),
            errors: record.errors,
            histogram_ns: recorded(&answered_ns),
            histogram: answered_ns,
        }
    }

    /// Why the load generator, and not the server, may be what was measured.
    pub fn bottleneck(&self) -> Option<String> {
        if self.busy >= BUSY_LIMIT {
            return Some(format!(
                "the load generator was busy {:.0} % of the time",
                self.busy * 1e2
            ));
        }
        if self.lag.p99_us >= LAG_LIMIT_US {
            let lag_us = self.lag.p99_us;
            return Some(format!(
                "the load generator was {lag_us:.0} µs behind its schedule at p99"
            ));
        }
        None
    }

    /// The percentile distribution in HdrHistogram's text format, in µs, as its plotters read it.
    pub fn hgrm(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let total = self.histogram.len();
        let mut seen = 0;
        for step in self.histogram.iter_quantiles(5) {
            seen += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let value_us = step.value_iterated_to() as f64 / 1e3;
            let _ = write!(text, "{value_us:12.3} {quantile:14.12} {seen:10}");
            // The last one has no inverse.
            let _ = match quantile < 1.0 {
                true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
                false => writeln!(text),
            };
        }
        let (mean_us, deviation_us) = (self.histogram.mean() / 1e3, self.histogram.stdev() / 1e3);
        let max_us = self.latency.max_us;
        let _ = write!(
            text,
            "#[Mean    = {mean_us:12.3}, StdDeviation   = {deviation_us:12.3}]\n\
             #[Max     = {max_us:12.3}, Total count    = {total:12}]\n"
        );
        text
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadReport {
            connections,
            pipeline,
            latency,
            ..
        } = self;
        write!(f, "{} · ", self.address)?;
        if let Some(tls) = &self.tls {
            write!(f, "{tls} · ")?;
        }
        write!(f, "{connections} connections · ")?;
        match self.rate {
            Some(rate) => writeln!(f, "open loop, {rate}/s {:?}", self.arrivals)?,
            None => writeln!(f, "closed loop, {pipeline} in flight each")?,
        }
        writeln!(
            f,
            "{:.0} requests/s ({} in {:.2} s)",
            self.throughput_per_s, self.completed, self.window_s
        )?;
        writeln!(
            f,
            "latency µs: p50 {:.1} · p90 {:.1} · p99 {:.1} · p99.9 {:.1} · max {:.1}",
            latency.p50_us, latency.p90_us, latency.p99_us, latency.p99_9_us, latency.max_us
        )?;
        write!(f, "errors: {}", self.errors.total())?;
        for (name, count) in self.errors.named().iter().filter(|(_, count)| *count > 0) {
            write!(f, " · {name} {count}")?;
        }
        let Stalls {
            count,
            total_ns,
            max_ns,
            ..
        } = self.stalls;
        if count > 0 {
            write!(
                f,
                "\nstalls of this machine, not of the server: {count}, {:.2} ms in all, {:.2} ms at most",
                total_ns as f64 / 1e6,
                max_ns as f64 / 1e6
            )?;
        }
        if let Some(why) = self.bottleneck() {
            write!(
                f,
                "\nwarning: {why}: what was measured may be its own limit"
            )?;
        }
        Ok(())
    }
}
