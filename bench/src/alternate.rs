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

use crate::compare::{
    Comparison, Entered, Entrant, Measurement, Pair, Scenario, ServerHistogram, command_line,
    machine, observe,
};
use crate::load::{Arrivals, LoadOptions, Percentiles, parse_duration, recorded};
use crate::output;
use crate::process::pin;
use crate::{HELLO_PATH, HELLO_REPLY};

/// What to load in turns, and how.
#[derive(Args, Clone, Debug)]
pub struct AlternateArguments {
    /// The server that the others are compared with, given as for `compare`.
    #[arg(long, value_name = "SERVER")]
    pub base: Entrant,
    /// Another server, which sleeps when nothing is asked of it; may be repeated.
    #[arg(long, value_name = "SERVER", required = true)]
    pub against: Vec<Entrant>,
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
    pub fn new(base: Entrant, against: Vec<Entrant>) -> AlternateArguments {
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

/// What the windows gave.
#[derive(Debug, Serialize)]
pub struct Alternation {
    /// The names of the servers: the base, the base again, the others.
    pub servers: Vec<String>,
    /// Requests per second.
    pub rate: f64,
    /// How long a window was.
    pub window_s: f64,
    /// Of each round, in the order of the servers.
    pub windows: Vec<Vec<Measurement>>,
    /// All windows of each server together, as (ns, how often).
    pub histograms_ns: Vec<Vec<(u64, u64)>>,
    /// The same by percentile.
    pub percentiles: Vec<Percentiles>,
}

/// Runs all windows and prints the ratios; fails when any request did.
///
/// # Errors
/// A server does not start or cannot be connected to, or a file cannot be written.
pub fn main(arguments: &AlternateArguments) -> Result<ExitCode, Box<dyn Error>> {
    let alternation = alternate(arguments)?;
    output::say(alternation.tables())?;
    output::write_json(arguments.json.as_deref(), &alternation)?;
    let errors = alternation.errors();
    if errors > 0 {
        eprintln!("error: {errors} requests failed");
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
    let base = &arguments.base;
    let entrants: Vec<&Entrant> = [base, base].into_iter().chain(&arguments.against).collect();
    let servers = entrants
        .iter()
        .map(|entrant| entrant.enter(arguments.server_core, HELLO_PATH))
        .collect::<Result<Vec<_>, _>>()?;
    let mut windows = Vec::new();
    let mut merged: Vec<Option<Histogram<u64>>> = servers.iter().map(|_| None).collect();
    for round in 0..arguments.windows {
        let mut measured: Vec<_> = servers.iter().map(|_| None).collect();
        for turn in 0..servers.len() {
            // Each server comes first, second and so on equally often.
            let index = (round as usize + turn) % servers.len();
            let (measurement, histogram) = window(arguments, &servers[index])?;
            measured[index] = Some(measurement);
            match &mut merged[index] {
                Some(all) => all.add(&histogram)?,
                none => *none = Some(histogram),
            }
        }
        windows.push(measured.into_iter().flatten().collect());
        if (round + 1) % 10 == 0 {
            eprintln!("{} of {} windows done", round + 1, arguments.windows);
        }
    }
    let merged: Vec<_> = merged.into_iter().flatten().collect();
    let mut names: Vec<_> = entrants.iter().map(|it| it.name().to_owned()).collect();
    names[1] = format!("{} again (A/A)", names[0]);
    Ok(Alternation {
        servers: names,
        rate: arguments.rate,
        window_s: arguments.window.as_secs_f64(),
        windows,
        percentiles: merged.iter().map(Percentiles::of).collect(),
        histograms_ns: merged.iter().map(recorded).collect(),
    })
}

fn window(
    arguments: &AlternateArguments,
    server: &Entered,
) -> Result<(Measurement, Histogram<u64>), Box<dyn Error>> {
    let options = LoadOptions {
        connections: arguments.connections,
        rate: Some(arguments.rate),
        arrivals: Arrivals::Poisson,
        duration: arguments.window,
        warmup: arguments.warmup,
        core: Some(arguments.load_core),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(server.target().clone())
    };
    observe(server, options)
}

impl Alternation {
    /// Requests that failed.
    pub fn errors(&self) -> u64 {
        let all = self.windows.iter().flatten();
        all.map(|measurement| measurement.errors).sum()
    }

    /// What a figure of each server is of the base's, window by window: the base again comes first.
    pub fn ratios(&self, figure: fn(&Measurement) -> f64) -> Vec<Vec<f64>> {
        let of = |index: usize| {
            let windows = self.windows.iter();
            windows.map(move |window| figure(&window[index]) / figure(&window[0]))
        };
        (1..self.servers.len())
            .map(|index| of(index).collect())
            .collect()
    }

    /// The windows as pairs, each server's beside the base's of the same round.
    pub fn comparison(&self, scenario: Scenario) -> Comparison {
        let (base, again) = (&self.servers[0], 1);
        let name = |index: usize| match index {
            index if index == again => base.clone(),
            index => self.servers[index].clone(),
        };
        let windows = (0..).zip(&self.windows);
        let pairs = windows.flat_map(|(round, window)| {
            (1..window.len()).map(move |index| Pair {
                scenario,
                server: name(index),
                round,
                base: window[0].clone(),
                other: window[index].clone(),
            })
        });
        let histograms = self.histograms_ns.iter().enumerate();
        Comparison {
            machine: machine(),
            command: command_line(),
            base: base.clone(),
            pairs: pairs.collect(),
            histograms: histograms
                .map(|(index, histogram_ns)| ServerHistogram {
                    scenario,
                    server: name(index),
                    is_base: index == 0,
                    histogram_ns: histogram_ns.clone(),
                })
                .collect(),
        }
    }

    /// The percentiles of each server, and the ratios to the base, in Markdown.
    pub fn tables(&self) -> String {
        let mut text =
            "| server | p50 µs | p99 µs | p99.9 µs | max µs | CPU µs/req |\n|---|---|---|---|---|---|\n".to_owned();
        for (index, (name, percentiles)) in self.servers.iter().zip(&self.percentiles).enumerate() {
            let Percentiles {
                p50_us,
                p99_us,
                p99_9_us,
                max_us,
                ..
            } = percentiles;
            let windows = self.windows.iter();
            let cpu_us = windows.filter_map(|window| window[index].cpu_us_per_request);
            let cpu_us = MedianInterval::of(cpu_us).median;
            text += &format!(
                "| {name} | {p50_us:.1} | {p99_us:.1} | {p99_9_us:.1} | {max_us:.0} | {cpu_us:.2} |\n"
            );
        }
        text += &format!(
            "\nMedian of {} ratios to the base's neighbouring window, and its 95 % confidence interval:\n\n\
             | server | p50 | p99 | p99.9 |\n|---|---|---|---|\n",
            self.windows.len()
        );
        let [p50, p99, p99_9] = [
            self.ratios(|m| m.p50_us),
            self.ratios(|m| m.p99_us),
            self.ratios(|m| m.p99_9_us),
        ];
        for (index, name) in self.servers.iter().skip(1).enumerate() {
            let [p50, p99, p99_9] = [&p50, &p99, &p99_9]
                .map(|ratios| MedianInterval::of(ratios[index].iter().copied()));
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
