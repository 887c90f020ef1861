//! Servers that all stay up, loaded in turns: for differences that drown in a fresh process's noise.
//!
//! `compare` starts a process for each measurement, so the layout of its memory and what the machine
//! does in those seconds go into the ratio. Here each server is started once, the base twice; all
//! sleep on the same core but the one whose window it is. Windows are short and many, so that a stall
//! of the machine spoils few of them, and the median of the ratios between neighbouring windows
//! forgets those. Beside each median stands its confidence interval, which needs no distribution.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::HELLO_REPLY;
use crate::address::Target;
use crate::compare::{Contender, Server};
use crate::load::{Arrivals, LoadOptions, LoadReport, Percentiles, parse_duration, recorded, run};
use crate::output;
use crate::process::pin;

/// What to load in turns, and how.
#[derive(Args, Clone, Debug)]
pub struct AlternateArguments {
    /// The server that the other is compared with, as NAME=COMMAND; see `compare`.
    #[arg(long)]
    pub base: Contender,
    /// The other server.
    #[arg(long)]
    pub against: Contender,
    /// How many windows each server gets.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub windows: u32,
    /// How long a window is.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub window: Duration,
    /// How long the load runs before each window.
    #[arg(long, value_parser = parse_duration, default_value = "50ms")]
    pub warmup: Duration,
    /// Requests per second, open loop, Poisson arrivals.
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    /// Over how many connections.
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// Write every window and the raw histograms here, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl AlternateArguments {
    /// The defaults of the command line.
    pub fn new(base: Contender, against: Contender) -> AlternateArguments {
        AlternateArguments {
            base,
            against,
            windows: 120,
            window: Duration::from_secs(1),
            warmup: Duration::from_millis(50),
            rate: 20_000.0,
            connections: 32,
            server_core: 0,
            load_core: 1,
            json: None,
        }
    }
}

/// A place in the order of servers: the base, the base again, the other.
const NAMES: [&str; 3] = ["base", "base again (A/A)", "other"];

/// What the windows gave.
#[derive(Debug, Serialize)]
pub struct Alternation {
    /// The name of the base.
    pub base: String,
    /// The name of the other server.
    pub other: String,
    /// Requests per second.
    pub rate: f64,
    /// How long a window was.
    pub window_s: f64,
    /// Of each round: base, base again, other.
    pub windows: Vec<[Percentiles; 3]>,
    /// All windows of each server together, as (ns, how often).
    pub histograms_ns: [Vec<(u64, u64)>; 3],
    /// The same by percentile.
    pub percentiles: [Percentiles; 3],
    /// Requests that failed.
    pub errors: u64,
}

/// Runs all windows and prints the ratios; fails when any request did.
///
/// # Errors
/// A server does not start or cannot be connected to, or a file cannot be written.
pub fn main(arguments: &AlternateArguments) -> Result<ExitCode, Box<dyn Error>> {
    let alternation = alternate(arguments)?;
    output::say(alternation.tables())?;
    output::write_json(arguments.json.as_deref(), &alternation)?;
    if alternation.errors > 0 {
        eprintln!("error: {} requests failed", alternation.errors);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs all windows.
///
/// # Errors
/// A server does not start or cannot be connected to.
pub fn alternate(arguments: &AlternateArguments) -> Result<Alternation, Box<dyn Error>> {
    pin(arguments.server_core)?;
    let start = |contender| Server::start(contender, arguments.server_core);
    let servers = [
        start(&arguments.base)?,
        start(&arguments.base)?,
        start(&arguments.against)?,
    ];
    let mut windows = Vec::new();
    let mut merged = [const { None::<Histogram<u64>> }; 3];
    let mut errors = 0;
    for round in 0..arguments.windows {
        let mut measured = [None; 3];
        for turn in 0..3 {
            // Each server comes first, second and last equally often.
            let index = (round as usize + turn) % 3;
            let report = window(arguments, &servers[index])?;
            errors += report.errors.total();
            measured[index] = Some(report.latency);
            match &mut merged[index] {
                Some(all) => all.add(&report.histogram)?,
                none => *none = Some(report.histogram),
            }
        }
        windows.push(measured.map(|percentiles| percentiles.expect("each server had its window")));
        if (round + 1) % 10 == 0 {
            eprintln!("{} of {} windows done", round + 1, arguments.windows);
        }
    }
    let merged = merged.map(|all| all.expect("there was a window"));
    Ok(Alternation {
        base: arguments.base.name().to_owned(),
        other: arguments.against.name().to_owned(),
        rate: arguments.rate,
        window_s: arguments.window.as_secs_f64(),
        windows,
        percentiles: merged.each_ref().map(Percentiles::of),
        histograms_ns: merged.map(|all| recorded(&all)),
        errors,
    })
}

fn window(arguments: &AlternateArguments, server: &Server) -> Result<LoadReport, Box<dyn Error>> {
    let target = Target::hello(server.address().clone());
    Ok(run(&LoadOptions {
        connections: arguments.connections,
        rate: Some(arguments.rate),
        arrivals: Arrivals::Poisson,
        duration: arguments.window,
        warmup: arguments.warmup,
        core: Some(arguments.load_core),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(target)
    })?)
}

impl Alternation {
    /// The percentiles of each server, and the ratios to the base, in Markdown.
    pub fn tables(&self) -> String {
        let mut text =
            "| server | p50 µs | p99 µs | p99.9 µs | max µs |\n|---|---|---|---|---|\n".to_owned();
        for (name, percentiles) in NAMES.iter().zip(&self.percentiles) {
            let Percentiles {
                p50_us,
                p99_us,
                p99_9_us,
                max_us,
                ..
            } = percentiles;
            text +=
                &format!("| {name} | {p50_us:.1} | {p99_us:.1} | {p99_9_us:.1} | {max_us:.0} |\n");
        }
        let windows = &self.windows;
        text += &format!(
            "\nMedian of {} ratios to the base's neighbouring window, and its 95 % confidence interval:\n\n\
             | server | p50 | p99 | p99.9 |\n|---|---|---|---|\n",
            windows.len()
        );
        for (index, name) in NAMES.iter().enumerate().skip(1) {
            let ratio = |figure: fn(&Percentiles) -> f64| {
                MedianInterval::of(windows.iter().map(|w| figure(&w[index]) / figure(&w[0])))
            };
            let (p50, p99) = (ratio(|p| p.p50_us), ratio(|p| p.p99_us));
            let p99_9 = ratio(|p| p.p99_9_us);
            text += &format!("| {name} | {p50} | {p99} | {p99_9} |\n");
        }
        text
    }
}

/// A median, and between which values the median of the whole population lies, 19 times of 20.
///
/// From order statistics: the number of values below the true median is binomial (n, ½), whatever
/// the distribution. The normal approximation of it is good from a dozen values on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MedianInterval {
    median: f64,
    low: f64,
    high: f64,
}

impl MedianInterval {
    fn of(values: impl IntoIterator<Item = f64>) -> MedianInterval {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let Some(last) = n.checked_sub(1) else {
            return MedianInterval {
                median: f64::NAN,
                low: f64::NAN,
                high: f64::NAN,
            };
        };
        let reach = 1.96 * (n as f64).sqrt() / 2.0;
        let low = (n as f64 / 2.0 - reach).floor().max(1.0) as usize - 1;
        MedianInterval {
            median: f64::midpoint(sorted[last / 2], sorted[n / 2]),
            low: sorted[low],
            high: sorted[last - low],
        }
    }
}

impl std::fmt::Display for MedianInterval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MedianInterval { median, low, high } = self;
        write!(f, "{median:.3} ({low:.3}–{high:.3})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_median_is_that_of_the_tables() {
        // n = 100: the 40th and the 61st value, as tables of the sign test give it.
        let interval = MedianInterval::of((1..=100).map(f64::from));
        let MedianInterval { median, low, high } = interval;
        assert_eq!((low, median, high), (40.0, 50.5, 61.0));
        let few = MedianInterval::of([2.0, 1.0, 3.0]);
        assert_eq!((few.low, few.median, few.high), (1.0, 2.0, 3.0));
        assert!(MedianInterval::of([]).median.is_nan());
    }
}
