//! Servers against each other, on a machine whose speed changes from minute to minute.
//!
//! Each server is measured in pairs with the base, back to back, each in a fresh process on the
//! server's core; the order within a pair turns around from round to round, so that a drift of the
//! machine favours neither. What counts is the median of the ratios within the pairs, beside the
//! same ratio of the base with itself (A/A): a difference inside the A/A spread is none.
//!
//! A server may also run already, started by somebody else: it is then only asked.

mod contender;
mod entrant;
mod scenario;
mod spread;
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
pub use entrant::{Entered, Entrant, Outsider};
pub use scenario::Scenario;
pub use spread::Spread;
pub use table::markdown;

use crate::footprint::Footprint;
use crate::load::{Edge, LoadOptions, parse_duration, recorded, run_observed};
use crate::output;
use crate::process::{Used, pin};
use crate::{HELLO_PATH, HELLO_REPLY};

/// What to compare, and how.
#[derive(Args, Clone, Debug)]
pub struct CompareArguments {
    /// The server that all others are compared with: `floor`, `floor-spin`, `nginx`, NAME=COMMAND
    /// or NAME=URL. In a command `{self}` is this program, `{core}` the server's core and `{port}`
    /// a free port; without `{port}` it must print `listening on ADDRESS`. `{certificate}` is a file
    /// into which a server that speaks TLS writes the certificate that it is to be trusted by. A URL, `http://…` or
    /// `unix:/socket:/path`, is that of a server which runs already; with `,pid=PID` behind it the
    /// CPU time is that of this process, otherwise it is unknown.
    #[arg(long, value_name = "SERVER", default_value = "floor")]
    pub base: Entrant,
    /// A server to compare with it, given like the base; may be repeated.
    #[arg(long, value_name = "SERVER")]
    pub against: Vec<Entrant>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "single,c64")]
    pub scenarios: Vec<Scenario>,
    /// How often each pair is measured; fewer than 7 say little.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How long each measurement takes.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub duration: Duration,
    /// How long a server is warmed up before it.
    #[arg(long, value_parser = parse_duration, default_value = "300ms")]
    pub warmup: Duration,
    /// Requests per second of the scenario `open`; `busy` has five times as many.
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// The path to ask for, where no URL says another.
    #[arg(long, default_value = HELLO_PATH)]
    pub path: String,
    /// Take any body for an answer; by default it must be that of the workload.
    #[arg(long)]
    pub any_body: bool,
    /// Write every measurement here, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl CompareArguments {
    /// The defaults of the command line, against nobody yet.
    pub fn new(base: Entrant) -> CompareArguments {
        CompareArguments {
            base,
            against: Vec::new(),
            scenarios: vec![Scenario::Single, Scenario::C64],
            rounds: 7,
            duration: Duration::from_secs(1),
            warmup: Duration::from_millis(300),
            rate: 20_000.0,
            server_core: 0,
            load_core: 1,
            path: HELLO_PATH.to_owned(),
            any_body: false,
            json: None,
        }
    }
}

/// What one run against one server gave.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the docs")]
pub struct Measurement {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub throughput_per_s: f64,
    /// Of the server, all its threads, user and system; unknown of a server that runs elsewhere
    /// and whose process was not named.
    pub cpu_us_per_request: Option<f64>,
    /// Cores' worth of CPU time that the server used; unknown likewise.
    pub server_busy: Option<f64>,
    /// How often a thread of the server gave up its core or lost it; unknown likewise.
    pub switches_per_request: Option<f64>,
    /// The server's resident memory at the end; unknown likewise.
    pub rss_mib: Option<f64>,
    /// The part of the time in which the load generator had something to do.
    pub load_busy: f64,
    pub errors: u64,
}

/// A server and the base, measured in the same round: back to back, or both among others in turns.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// What was measured.
    pub scenario: Scenario,
    /// The name of the server; that of the base in an A/A pair.
    pub server: String,
    /// Counted from 0. In odd rounds of pairs the base came second.
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
    /// The servers all stayed up, and each had its windows in turns: the pairs of a round share their
    /// base, and stand in no order.
    pub is_in_turns: bool,
    /// In the order in which they were measured.
    pub pairs: Vec<Pair>,
    /// Every latency, of all rounds together.
    pub histograms: Vec<ServerHistogram>,
}

impl Comparison {
    /// How many requests failed, of all.
    pub fn errors(&self) -> u64 {
        let pairs = self.pairs.iter();
        pairs.map(|pair| pair.base.errors + pair.other.errors).sum()
    }

    /// The servers beside the base, itself for the A/A pairs, in the order in which they came.
    pub fn servers(&self) -> Vec<&str> {
        let mut servers = Vec::new();
        for pair in &self.pairs {
            if !servers.contains(&pair.server.as_str()) {
                servers.push(pair.server.as_str());
            }
        }
        servers
    }
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
    let errors = comparison.errors();
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
        is_in_turns: false,
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
    other: &Entrant,
    round: u32,
    histograms: &mut Histograms,
) -> Result<Pair, Box<dyn Error>> {
    let mut measured = [(&arguments.base, true), (other, false)];
    if round % 2 == 1 {
        measured.reverse();
    }
    let mut run = |(entrant, is_base): (&Entrant, bool)| {
        let (measurement, histogram) = measure(arguments, entrant, scenario)?;
        let key = (scenario, entrant.name().to_owned(), is_base);
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
    entrant: &Entrant,
    scenario: Scenario,
) -> Result<(Measurement, Histogram<u64>), Box<dyn Error>> {
    // The server inherits the core of the thread that starts it.
    pin(arguments.server_core)?;
    let server = entrant.enter(arguments.server_core, &arguments.path)?;
    let options = LoadOptions {
        duration: arguments.duration,
        warmup: arguments.warmup,
        core: Some(arguments.load_core),
        expect_body: (!arguments.any_body).then(|| HELLO_REPLY.as_bytes().into()),
        ..scenario.load(server.target().clone(), arguments.rate)
    };
    observe(&server, options)
}

/// Loads a server once, and tells what that gave and what the server used for it.
pub(crate) fn observe(
    server: &Entered,
    options: LoadOptions,
) -> Result<(Measurement, Histogram<u64>), Box<dyn Error>> {
    let options = LoadOptions {
        ca: server.ca().map(Path::to_owned),
        ..options
    };
    let mut used = [None; 2];
    let report = run_observed(&options, |edge| {
        // A server that died shows as errors of the load.
        used[usize::from(edge == Edge::End)] = server.pid().and_then(|pid| Used::by(pid).ok());
    })?;
    let [begin, end] = used;
    let between = begin.zip(end);
    let cpu_us = between.map(|(begin, end)| end.cpu_ns.saturating_sub(begin.cpu_ns) as f64 / 1e3);
    let switches = between.map(|(begin, end)| end.switches.saturating_sub(begin.switches));
    let footprint = server.pid().and_then(|pid| Footprint::of(pid).ok());
    let measurement = Measurement {
        p50_us: report.latency.p50_us,
        p99_us: report.latency.p99_us,
        p99_9_us: report.latency.p99_9_us,
        throughput_per_s: report.throughput_per_s,
        cpu_us_per_request: cpu_us.map(|cpu_us| cpu_us / report.completed as f64),
        server_busy: cpu_us.map(|cpu_us| cpu_us / 1e6 / report.window_s),
        switches_per_request: switches.map(|count| count as f64 / report.completed as f64),
        rss_mib: footprint.map(|held| held.rss_bytes as f64 / f64::from(1 << 20)),
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
