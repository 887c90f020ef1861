//! A server that is asked for more than it can do.
//!
//! First a closed loop finds the maximum of good replies per second. Then one open loop, which never
//! stops, asks for half of that, for a multiple of it, and for half of it again. A server without a
//! plan serves everybody late; one with a plan serves as many as it can in time, tells the others at
//! once, and is itself again when the crowd is gone.

mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::HELLO_REPLY;
use crate::address::Target;
use crate::compare::{Contender, Server, command_line, machine};
use crate::load::{Arrivals, LoadOptions, LoadReport, RateStep, parse_duration, run};
use crate::output;
use crate::process::{pin, raise_file_limit};
use report::{Limits, OverloadReport, Plan};

/// Whom to overload, and by how much.
#[derive(Args, Clone, Debug)]
pub struct OverloadArguments {
    /// The server, as NAME=COMMAND; see `compare`. It must answer hello, slowly.
    #[arg(
        long,
        default_value = "busy={self} serve busy --listen 127.0.0.1:0 --cores {core}"
    )]
    server: Contender,
    /// Further options of the server's query, as `key=value`; may be repeated.
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// The overload, in multiples of the maximum.
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// How long the maximum is measured.
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    maximum: Duration,
    /// How long half of the maximum is asked for before and after.
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    around: Duration,
    /// How long the overload takes.
    #[arg(long, value_parser = parse_duration, default_value = "30s")]
    duration: Duration,
    /// Over how many connections the maximum is measured.
    #[arg(long, default_value_t = 16)]
    closed_connections: usize,
    /// Over how many connections the open loop asks, each with one request at a time.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// How long a request waits for a connection before it is given up.
    #[arg(long, value_parser = parse_duration, default_value = "10ms")]
    patience: Duration,
    #[command(flatten)]
    limits: Limits,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write everything here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs both loads and prints what came of them; fails when the server did not stand it.
///
/// # Errors
/// The server does not start or cannot be connected to, or a file cannot be written.
pub fn main(arguments: &OverloadArguments) -> Result<ExitCode, Box<dyn Error>> {
    let options = arguments.options.iter();
    let more = options.flat_map(|option| ["--option".to_owned(), option.clone()]);
    pin(arguments.server_core)?;
    raise_file_limit();
    let server = Server::start(&arguments.server.clone().with(more), arguments.server_core)?;
    let base = LoadOptions {
        core: Some(arguments.load_core),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(Target::hello(server.address().clone()))
    };
    eprintln!("the maximum, {:?} …", arguments.maximum);
    let maximum = run(&LoadOptions {
        connections: arguments.closed_connections,
        duration: arguments.maximum,
        warmup: Duration::from_millis(500).min(arguments.maximum),
        ..base.clone()
    })?;
    let plan = Plan {
        maximum_per_s: good_per_s(&maximum),
        times: arguments.times,
        around: arguments.around,
        duration: arguments.duration,
    };
    if plan.maximum_per_s == 0.0 {
        return Err(format!("the server answered nothing as wished: {maximum}").into());
    }
    eprintln!(
        "{:.0} good replies/s at most; half of it, {:?}, {} times as much, {:?}, and half again …",
        plan.maximum_per_s, plan.around, plan.times, plan.duration
    );
    let open = run(&LoadOptions {
        connections: arguments.connections,
        steps: plan.steps(),
        arrivals: Arrivals::Poisson,
        patience: Some(arguments.patience),
        warmup: Duration::ZERO,
        ..base
    })?;
    let report = OverloadReport::new(
        machine(),
        command_line(),
        plan,
        maximum,
        open,
        arguments.limits,
    );
    output::say(&report)?;
    output::write_json(arguments.json.as_deref(), &report)?;
    Ok(match report.stands() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn good_per_s(report: &LoadReport) -> f64 {
    let good: u64 = report.timeline.iter().map(|step| step.good).sum();
    good as f64 / report.window_s.max(f64::MIN_POSITIVE)
}

impl Plan {
    /// Half, a multiple, and half of the maximum.
    fn steps(&self) -> Vec<RateStep> {
        let step = |times: f64, duration| RateStep {
            rate_per_s: self.maximum_per_s * times,
            duration,
        };
        vec![
            step(0.5, self.around),
            step(self.times, self.duration),
            step(0.5, self.around),
        ]
    }
}
