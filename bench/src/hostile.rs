//! Honest requests beside clients that mean harm.
//!
//! A round measures the same honest load twice, back to back: alone, and beside hostile clients.
//! Which comes first turns around from round to round, so that a drift of the machine favours
//! neither. What counts is the median of the ratios within the rounds, beside the same ratio with
//! nobody hostile: a difference inside that one's spread is none.
//!
//! The honest clients hold their connections and send at a low rate, open loop; others come anew for
//! each request. They share the load's core with the hostile client, which has the lowest priority
//! and a bounded share of it: what it takes from them is not the server's doing.

mod ammunition;
mod attack;
mod client;
mod hostility;
mod newcomers;
mod report;
mod source;
mod swarm;
mod window;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::address::Target;
use crate::compare::{Contender, Server, command_line, machine};
use crate::footprint::{Footprint, peak_rss_bytes, reset_peak};
use crate::load::parse_duration;
use crate::output;
use crate::process::{pin, raise_file_limit};
pub(crate) use attack::Attack;
pub use attack::{AttackArguments, main as attack_main};
pub use client::Tally;
pub use hostility::{Assault, AttackOptions, Hostility};
pub use newcomers::Newcomers;
pub use report::{Round, Verdict};
pub use swarm::{AttackReport, KindReport};
use window::Honest;
pub use window::{ServerSide, Window};

/// Whom to molest, and how.
#[derive(Args, Clone, Debug)]
pub struct HostileArguments {
    /// The server, as NAME=COMMAND; see `compare`. `{progress}` is a file to which it may append its
    /// progress records, whose longest turns are then part of the report.
    #[arg(
        long,
        default_value = "snapback={self} serve large --listen 127.0.0.1:0 --cores {core} \
                         --trigger-ms 200 --progress {progress}"
    )]
    server: Contender,
    /// Further options of the server's query, as `key=value`; may be repeated.
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Who is hostile, one after the other: `nobody` (for the noise), a kind of the command `attack`,
    /// or `all` but `poison`.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nobody,slowloris,half-bodies,slow-readers,churn,garbage,gzip-bombs,all"
    )]
    assaults: Vec<Assault>,
    #[command(flatten)]
    attack: AttackOptions,
    /// Honest requests per second over connections that stay.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// How many connections those are.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Honest requests per second that each come over a new connection; 0 is none.
    #[arg(long, default_value_t = 10.0)]
    newcomers: f64,
    /// How often each pair is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement takes.
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    duration: Duration,
    /// How long the honest load runs before it.
    #[arg(long, value_parser = parse_duration, default_value = "500ms")]
    warmup: Duration,
    /// By how much the honest p99 may grow.
    #[arg(long, default_value_t = 2.0)]
    limit: f64,
    /// What the server's memory may reach, in MiB; by default what it had before, what its options
    /// allow each hostile client to make it hold, and 64.
    #[arg(long, value_name = "MIB")]
    memory_bound: Option<u64>,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the honest and the hostile clients.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write every measurement here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a run of the command gives.
#[derive(Serialize)]
struct HostileReport {
    machine: [String; 2],
    command: Vec<String>,
    server: String,
    limits: report::Limits,
    verdicts: Vec<Verdict>,
    rounds: Vec<Round>,
}

/// Memory that grows for other reasons: the allocator's, the honest clients'.
const SLACK_BYTES: u64 = 64 << 20;

/// Measures all rounds of all assaults; fails when the server did not stand one of them.
///
/// # Errors
/// The server does not start or ends, or a file cannot be written.
pub fn main(arguments: &HostileArguments) -> Result<ExitCode, Box<dyn Error>> {
    attack::check(&arguments.attack)?;
    raise_file_limit();
    let limits = report::Limits {
        p99_ratio: arguments.limit,
        share: arguments.attack.share,
    };
    let (mut rounds, mut verdicts) = (Vec::new(), Vec::new());
    for &assault in &arguments.assaults {
        let begin = rounds.len();
        rounds.extend(measure(arguments, assault)?);
        let of_assault: Vec<_> = rounds[begin..].iter().collect();
        verdicts.push(Verdict::of(assault, &of_assault, &limits));
    }
    let report = HostileReport {
        machine: machine(),
        command: command_line(),
        server: arguments.server.name().to_owned(),
        limits,
        verdicts,
        rounds,
    };
    output::say(report::markdown(&report.verdicts))?;
    output::write_json(arguments.json.as_deref(), &report)?;
    let stands = report.verdicts.iter().all(|v| v.faults.is_empty());
    Ok(match stands {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// All rounds of one assault, against a fresh server.
fn measure(arguments: &HostileArguments, assault: Assault) -> Result<Vec<Round>, Box<dyn Error>> {
    let options = arguments.options.iter();
    let more = options.flat_map(|option| ["--option".to_owned(), option.clone()]);
    // The server inherits the core of the thread that starts it.
    pin(arguments.server_core)?;
    let server = Server::start(&arguments.server.clone().with(more), arguments.server_core)?;
    pin(arguments.load_core)?;
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds {
        let measured = measure_round(arguments, &server, assault, round)?;
        let ratio = measured.hostile.honest.latency.p99_us / measured.quiet.honest.latency.p99_us;
        eprintln!(
            "{assault}: round {} of {} done, honest p99 × {ratio:.2}",
            round + 1,
            arguments.rounds
        );
        rounds.push(measured);
    }
    Ok(rounds)
}

fn measure_round(
    arguments: &HostileArguments,
    server: &Server,
    assault: Assault,
    round: u32,
) -> Result<Round, Box<dyn Error>> {
    let honest = Honest {
        rate: arguments.rate,
        newcomer_rate: arguments.newcomers,
        connections: arguments.connections,
        warmup: arguments.warmup,
        duration: arguments.duration,
        load_core: Some(arguments.load_core),
    };
    let before = Footprint::of(server.pid())?;
    let quiet = || window::measure(server, honest, None);
    let hostile = || measure_hostile(arguments, server, assault, honest, before);
    let (mut quiet, (mut hostile, rest)) = match round % 2 {
        0 => (quiet()?, hostile()?),
        _ => {
            let hostile = hostile()?;
            (quiet()?, hostile)
        }
    };
    if let Some(progress) = server.progress() {
        quiet.server.read_turns(progress);
        hostile.server.read_turns(progress);
    }
    let bound = match arguments.memory_bound {
        Some(mib) => mib << 20,
        None => before.rss_bytes + assault.holds_bytes(&arguments.attack) + SLACK_BYTES,
    };
    Ok(Round {
        assault,
        round,
        quiet,
        hostile,
        attack: rest.attack,
        before,
        peak_rss_bytes: rest.peak_rss_bytes,
        after: rest.after,
        settle_s: rest.settled.as_secs_f64(),
        memory_bound_bytes: bound,
    })
}

/// What is known of an assault when it is over.
struct Aftermath {
    attack: Option<AttackReport>,
    peak_rss_bytes: u64,
    settled: Duration,
    after: Footprint,
}

fn measure_hostile(
    arguments: &HostileArguments,
    server: &Server,
    assault: Assault,
    honest: Honest,
    before: Footprint,
) -> Result<(Window, Aftermath), Box<dyn Error>> {
    let target = Target::hello(server.address().clone());
    // Twice what it should take, should this process hang.
    let AttackOptions { ramp, .. } = arguments.attack;
    let longest = 2 * (ramp + honest.warmup + honest.duration) + Duration::from_secs(10);
    // Where it is not offered, the peak is that since the server's start.
    let _ = reset_peak(server.pid());
    let attack = match assault.kinds() {
        [] => None,
        kinds => Some(Attack::start(&target, kinds, &arguments.attack, longest)?),
    };
    let window = window::measure(server, honest, attack.as_ref().map(Attack::pid))?;
    let attack = attack.map(Attack::finish).transpose()?;
    let (settled, after) = window::settle(server, before)?;
    Ok((
        window,
        Aftermath {
            attack,
            peak_rss_bytes: peak_rss_bytes(server.pid())?,
            settled,
            after,
        },
    ))
}
