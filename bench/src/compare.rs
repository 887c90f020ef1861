//! Servers against each other, on a machine whose speed changes from minute to minute.
//!
//! Each server is measured in pairs with the base, back to back, each in a fresh process on the
//! server's core; the order within a pair turns around from round to round, so that a drift of the
//! machine favours neither. What counts is the median of the ratios within the pairs, beside the
//! same ratio of the base with itself (A/A): a difference inside the A/A spread is none.

mod contender;
mod scenario;
mod table;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

pub use contender::{Contender, ContenderError, Server};
pub use scenario::Scenario;
pub use table::{Spread, markdown};

use crate::address::Target;
use crate::load::{Edge, LoadOptions, parse_duration, recorded, run_observed};
use crate::output;
use crate::process::{pin, process_cpu_ns};
use crate::{HELLO_PATH, HELLO_REPLY};

/// What to compare, and how.
#[derive(Args, Clone, Debug)]
pub struct CompareArguments {
    /// The server that all others are compared with: `floor`, `floor-spin`, `nginx`, or
    /// NAME=COMMAND. In a command `{self}` is this program, `{core}` the server's core and
    /// `{port}` a free port; without `{port}` it must print `listening on ADDRESS`.
    #[arg(long, default_value = "floor")]
    base: Contender,
    /// A server to compare with it, given like the base; may be repeated.
    #[arg(long, value_name = "SERVER")]
    against: Vec<Contender>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "single,c64")]
    scenarios: Vec<Scenario>,
    /// How often each pair is measured; fewer than 7 say little.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement takes.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    duration: Duration,
    /// How long a server is warmed up before it.
    #[arg(long, value_parser = parse_duration, default_value = "300ms")]
    warmup: Duration,
    /// Requests per second of the scenario `open`.
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// The path to ask for.
    #[arg(long, default_value = HELLO_PATH)]
    path: String,
    /// Take any body for an answer; by default it must be that of the workload.
    #[arg(long)]
    any_body: bool,
    /// Write every measurement here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What one run against one server gave.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the docs")]
pub struct Measurement {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub throughput_per_s: f64,
    /// Of the server, all its threads, user and system.
    pub cpu_us_per_request: f64,
    /// Cores' worth of CPU time that the server used.
    pub server_busy: f64,
    /// The part of the time in which the load generator had something to do.
    pub load_busy: f64,
    pub errors: u64,
}

/// A server and the base, measured back to back.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// What was measured.
    pub scenario: Scenario,
    /// The name of the server; that of the base in an A/A pair.
    pub server: String,
    /// Counted from 0. In odd rounds the base came second.
    pub round: u32,
    /// What the base gave.
    pub base: Measurement,
    /// What the server gave.
    pub other: Measurement,
}

/// The pairs, and what is needed to judge them.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The model of the CPU and the release of the kernel.
    pub machine: [String; 2],
    /// The command line.
    pub command: Vec<String>,
    /// The name of the base.
    pub base: String,
    /// In the order in which they were measured.
    pub pairs: Vec<Pair>,
    /// Every latency, of all rounds together.
    pub histograms: Vec<ServerHistogram>,
}

/// The latencies of a server in a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ServerHistogram {
    /// What was measured.
    pub scenario: Scenario,
    /// The name of the server.
    pub server: String,
    /// Whether it is the base, measured once for each server beside it.
    pub is_base: bool,
    /// Every latency as (ns, how often).
    pub histogram_ns: Vec<(u64, u64)>,
}

/// The histograms of all rounds so far, by scenario, server, and whether it is the base.
type Histograms = BTreeMap<(Scenario, String, bool), Histogram<u64>>;

/// Compares, prints a table for each scenario, and fails when any request did.
///
/// # Errors
/// A server does not start, or a file cannot be written.
pub fn main(arguments: &CompareArguments) -> Result<ExitCode, Box<dyn Error>> {
    let comparison = compare(arguments)?;
    output::say(markdown(&comparison))?;
    output::write_json(arguments.json.as_deref(), &comparison)?;
    let errors: u64 = comparison
        .pairs
        .iter()
        .map(|pair| pair.base.errors + pair.other.errors)
        .sum();
    if errors > 0 {
        eprintln!("error: {errors} requests failed; the JSON says against which server");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures every pair of every round.
///
/// # Errors
/// A server does not start, or cannot be connected to.
pub fn compare(arguments: &CompareArguments) -> Result<Comparison, Box<dyn Error>> {
    let base = &arguments.base;
    let (mut pairs, mut histograms) = (Vec::new(), Histograms::new());
    for round in 0..arguments.rounds {
        for &scenario in &arguments.scenarios {
            for other in std::iter::once(base).chain(&arguments.against) {
                let pair = measure_pair(arguments, scenario, other, round, &mut histograms)?;
                pairs.push(pair);
            }
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let histograms = histograms.into_iter();
    Ok(Comparison {
        machine: machine(),
        command: command_line(),
        base: base.name().to_owned(),
        pairs,
        histograms: histograms
            .map(|((scenario, server, is_base), histogram)| ServerHistogram {
                scenario,
                server,
                is_base,
                histogram_ns: recorded(&histogram),
            })
            .collect(),
    })
}

/// Measures the base and another server back to back; in odd rounds the base comes second.
fn measure_pair(
    arguments: &CompareArguments,
    scenario: Scenario,
    other: &Contender,
    round: u32,
    histograms: &mut Histograms,
) -> Result<Pair, Box<dyn Error>> {
    let mut measured = [(&arguments.base, true), (other, false)];
    if round % 2 == 1 {
        measured.reverse();
    }
    let mut run = |(contender, is_base): (&Contender, bool)| {
        let (measurement, histogram) = measure(arguments, contender, scenario)?;
        let key = (scenario, contender.name().to_owned(), is_base);
        match histograms.entry(key) {
            Entry::Vacant(none) => drop(none.insert(histogram)),
            Entry::Occupied(mut all) => all.get_mut().add(&histogram)?,
        }
        Ok::<_, Box<dyn Error>>(measurement)
    };
    let mut results = [run(measured[0])?, run(measured[1])?];
    if round % 2 == 1 {
        results.reverse();
    }
    let [base, other_measured] = results;
    Ok(Pair {
        scenario,
        server: other.name().to_owned(),
        round,
        base,
        other: other_measured,
    })
}

/// Starts a server, loads it and stops it: a server that spins must not run beside another.
fn measure(
    arguments: &CompareArguments,
    contender: &Contender,
    scenario: Scenario,
) -> Result<(Measurement, Histogram<u64>), Box<dyn Error>> {
    // The server inherits the core of the thread that starts it.
    pin(arguments.server_core)?;
    let server = Server::start(contender, arguments.server_core)?;
    let target = Target {
        path: arguments.path.clone(),
        ..Target::hello(server.address().clone())
    };
    let options = LoadOptions {
        duration: arguments.duration,
        warmup: arguments.warmup,
        core: Some(arguments.load_core),
        expect_body: (!arguments.any_body).then(|| HELLO_REPLY.as_bytes().into()),
        ..scenario.load(target, arguments.rate)
    };
    let mut cpu_ns = [0; 2];
    let report = run_observed(&options, |edge| {
        // A server that died shows as errors of the load.
        let now_ns = process_cpu_ns(server.pid()).unwrap_or(0);
        cpu_ns[usize::from(edge == Edge::End)] = now_ns;
    })?;
    let cpu_us = cpu_ns[1].saturating_sub(cpu_ns[0]) as f64 / 1e3;
    let measurement = Measurement {
        p50_us: report.latency.p50_us,
        p99_us: report.latency.p99_us,
        p99_9_us: report.latency.p99_9_us,
        throughput_per_s: report.throughput_per_s,
        cpu_us_per_request: cpu_us / report.completed as f64,
        server_busy: cpu_us / 1e6 / report.window_s,
        load_busy: report.busy,
        errors: report.errors.total(),
    };
    Ok((measurement, report.histogram))
}

/// The command line, without folders.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args().map(without_folder).collect()
}

/// An argument that is an absolute path, by its last part: where a checkout lies is nobody's concern.
fn without_folder(argument: String) -> String {
    let path = Path::new(&argument);
    let name = path.file_name().filter(|_| path.is_absolute());
    name.map_or_else(
        || argument.clone(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The model of the CPU and the release of the kernel, as far as the system tells.
pub(crate) fn machine() -> [String; 2] {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")
                .map(|rest| rest.replace([':', '\t'], ""))
        })
        .unwrap_or_default();
    [
        cpu.trim().to_owned(),
        read("/proc/sys/kernel/osrelease").trim().to_owned(),
    ]
}
