//! A server that is asked for three times what it can do.
//!
//! Three runs one after the other against one process: a closed loop that finds the maximum, an open
//! loop at a multiple of it, and, at once, an open loop at half of it. A server without a plan serves
//! everybody late; one with a plan serves as many as it can in time, and tells the others at once.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::address::Target;
use crate::compare::{Contender, Server};
use crate::load::{Arrivals, LoadOptions, LoadReport, STEP_NS, Step, parse_duration, run};
use crate::process::pin;
use crate::{HELLO_PATH, HELLO_REPLY};

/// Whom to overload, and by how much.
#[derive(Args, Clone, Debug)]
pub struct OverloadArguments {
    /// The server, as NAME=COMMAND; see `compare`. It must answer hello, slowly.
    #[arg(
        long,
        default_value = "busy={self} serve busy --listen 127.0.0.1:{port} --cores {core}"
    )]
    server: Contender,
    /// The overload, in multiples of the maximum.
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// How long the overload takes.
    #[arg(long, value_parser = parse_duration, default_value = "30s")]
    duration: Duration,
    /// How long the maximum is measured, and the recovery watched.
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    around: Duration,
    /// Over how many connections.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write the three reports here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Overload {
    maximum: LoadReport,
    overload: LoadReport,
    recovery: LoadReport,
}

/// Runs the three loads and prints what came of them.
///
/// # Errors
/// The server does not start or cannot be connected to, or a file cannot be written.
pub fn main(arguments: &OverloadArguments) -> Result<ExitCode, Box<dyn Error>> {
    pin(arguments.server_core)?;
    let server = Server::start(&arguments.server, arguments.server_core)?;
    let target = Target {
        address: server.address().clone(),
        host: "localhost".into(),
        path: HELLO_PATH.into(),
    };
    let base = LoadOptions {
        warmup: Duration::ZERO,
        core: Some(arguments.load_core),
        ..LoadOptions::new(target)
    };
    eprintln!("the maximum, {:?} …", arguments.around);
    let maximum = run(&LoadOptions {
        connections: 8,
        duration: arguments.around,
        warmup: Duration::from_millis(500),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..base.clone()
    })?;
    let open = |rate: f64, duration| LoadOptions {
        connections: arguments.connections,
        rate: Some(rate),
        arrivals: Arrivals::Poisson,
        duration,
        ..base.clone()
    };
    eprintln!("the overload, {:?} …", arguments.duration);
    let rate = maximum.throughput_per_s * arguments.times;
    let overload = run(&open(rate, arguments.duration))?;
    eprintln!("the recovery, {:?} …", arguments.around);
    let recovery = run(&open(maximum.throughput_per_s / 2.0, arguments.around))?;
    let result = Overload {
        maximum,
        overload,
        recovery,
    };
    print_result(&result);
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&result)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_result(result: &Overload) {
    println!(
        "| run | offered/s | good/s | shed/s | good: p50 · p99 · max ms | shed: p50 · p99 · max ms | other errors | load busy |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let runs = [
        ("maximum", &result.maximum),
        ("overload", &result.overload),
        ("recovery", &result.recovery),
    ];
    for (name, report) in runs {
        let good: u64 = report.timeline.iter().map(|step| step.good).sum();
        let shed: u64 = report.timeline.iter().map(|step| step.shed).sum();
        let (latency, told) = (&report.latency, &report.shed);
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.2} · {:.2} · {:.1} | {:.2} · {:.2} · {:.1} | {} | {:.2} |",
            report.rate.unwrap_or(report.throughput_per_s),
            good as f64 / report.window_s,
            shed as f64 / report.window_s,
            latency.p50_us / 1e3,
            latency.p99_us / 1e3,
            latency.max_us / 1e3,
            told.p50_us / 1e3,
            told.p99_us / 1e3,
            told.max_us / 1e3,
            report.errors.total() - report.shed_count.min(report.errors.status_5xx),
            report.busy,
        );
    }
    let good = |report: &LoadReport| -> f64 {
        let good: u64 = report.timeline.iter().map(|step| step.good).sum();
        good as f64 / report.window_s
    };
    println!(
        "\ngoodput under overload: {:.1} % of the maximum",
        1e2 * good(&result.overload) / good(&result.maximum)
    );
    match recovered_after(&result.recovery.timeline) {
        Some(seconds) => println!("recovered: nothing was shed later than {seconds:.1} s after"),
        None => println!("not recovered: requests were shed to the end"),
    }
}

/// From when on nothing was shed any more, in seconds; none if something was, in the last step.
fn recovered_after(timeline: &[Step]) -> Option<f64> {
    let last_shed = timeline.iter().rposition(|step| step.shed > 0);
    let first_calm = last_shed.map_or(0, |last| last + 1);
    (first_calm < timeline.len()).then(|| first_calm as f64 * STEP_NS as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_begins_where_nothing_is_shed_any_more() {
        let step = |shed| Step { good: 1, shed };
        assert_eq!(recovered_after(&[step(0), step(0)]), Some(0.0));
        assert_eq!(
            recovered_after(&[step(9), step(0), step(1), step(0)]),
            Some(0.3)
        );
        assert_eq!(recovered_after(&[step(0), step(1)]), None);
        assert_eq!(recovered_after(&[]), None);
    }
}
