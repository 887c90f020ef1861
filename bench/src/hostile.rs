//! Honest requests, beside clients that mean harm.
//!
//! Rounds alternate: honest requests alone, then the same beside the hostile clients, at the same low
//! rate, open loop. What counts is the ratio within a round. The hostile thread shares the load
//! generator's core, and tells how much of it it used: what it takes from the honest client is not
//! the server's doing, so its share is kept small.

mod swarm;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::address::{Address, Target};
use crate::compare::{Contender, Server, Spread};
use crate::load::{LoadOptions, LoadReport, parse_duration, run};
use crate::poller::PollMode;
use crate::process::{pin, raise_file_limit};
use crate::{HELLO_BODY, HELLO_PATH};
use swarm::Swarm;
pub use swarm::{Hostility, SwarmReport};

/// Whom to molest, and how.
#[derive(Args, Clone, Debug)]
pub struct HostileArguments {
    /// The server, as NAME=COMMAND; see `compare`.
    #[arg(
        long,
        default_value = "snapback={self} serve hello --listen 127.0.0.1:{port} --cores {core}"
    )]
    server: Contender,
    /// The kinds of hostile clients, all at a time.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "slowloris,half-bodies,churn,garbage,gzip-bombs"
    )]
    kinds: Vec<Hostility>,
    /// A file of gzip to use as the bomb; without one, what `gzip` makes of 64 MiB of zeros.
    #[arg(long)]
    bomb: Option<PathBuf>,
    /// Honest requests per second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// How often with and without hostility.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement takes.
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    duration: Duration,
    /// How long the hostile clients have to come up before it.
    #[arg(long, value_parser = parse_duration, default_value = "3s")]
    warmup: Duration,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write everything here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Round {
    alone: LoadReport,
    beside: LoadReport,
    swarm: SwarmReport,
    /// The server's memory at the end of both.
    rss_kib: [u64; 2],
    /// Its descriptors.
    descriptors: [usize; 2],
}

/// Measures all rounds; fails when an honest request did.
///
/// # Errors
/// The server does not start or cannot be connected to, or a file cannot be written.
pub fn main(arguments: &HostileArguments) -> Result<ExitCode, Box<dyn Error>> {
    raise_file_limit();
    pin(arguments.server_core)?;
    let server = Server::start(&arguments.server, arguments.server_core)?;
    pin(arguments.load_core)?;
    let bomb = match &arguments.bomb {
        Some(path) => fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => gzip_of_zeros()?,
    };
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds {
        rounds.push(measure(arguments, &server, &bomb)?);
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let failed = print_rounds(&rounds);
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&rounds)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(
    arguments: &HostileArguments,
    server: &Server,
    bomb: &[u8],
) -> Result<Round, Box<dyn Error>> {
    let Address::Tcp(std::net::SocketAddr::V4(address)) = server.address() else {
        return Err(
            "hostile clients speak TCP over IPv4: let the server listen at 127.0.0.1".into(),
        );
    };
    let honest = LoadOptions {
        connections: 4,
        rate: Some(arguments.rate),
        duration: arguments.duration,
        warmup: arguments.warmup,
        // A generator that spins would leave the others nothing of their core.
        poll_mode: PollMode::Blocking,
        body: HELLO_BODY.as_bytes().into(),
        core: Some(arguments.load_core),
        ..LoadOptions::new(Target {
            address: server.address().clone(),
            host: "localhost".into(),
            path: HELLO_PATH.into(),
        })
    };
    let alone = run(&honest)?;
    let before = (rss_kib(server.pid()), descriptors(server.pid()));
    let stop = AtomicBool::new(false);
    let swarm = Swarm::new(*address, HELLO_PATH, &arguments.kinds, bomb.to_vec());
    let (beside, swarm, during) = thread::scope(|scope| {
        let swarm = scope.spawn(|| swarm.run(&stop));
        let beside = run(&honest);
        let during = (rss_kib(server.pid()), descriptors(server.pid()));
        stop.store(true, Ordering::Relaxed);
        (beside, swarm.join(), during)
    });
    Ok(Round {
        alone,
        beside: beside?,
        swarm: swarm.map_err(|_| "the hostile thread panicked")?,
        rss_kib: [before.0, during.0],
        descriptors: [before.1, during.1],
    })
}

/// Prints the table; how many honest requests failed.
fn print_rounds(rounds: &[Round]) -> u64 {
    println!(
        "| round | alone: p50 · p99 · max µs | beside: p50 · p99 · max µs | p99 × alone | failed | swarm busy | opened | closed by server | RSS KiB | descriptors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (index, round) in rounds.iter().enumerate() {
        let (alone, beside, swarm) = (&round.alone.latency, &round.beside.latency, &round.swarm);
        println!(
            "| {} | {:.0} · {:.0} · {:.0} | {:.0} · {:.0} · {:.0} | {:.2} | {} | {:.2} | {} | {} | {} → {} | {} → {} |",
            index + 1,
            alone.p50_us,
            alone.p99_us,
            alone.max_us,
            beside.p50_us,
            beside.p99_us,
            beside.max_us,
            beside.p99_us / alone.p99_us,
            round.alone.errors.total() + round.beside.errors.total(),
            swarm.busy,
            swarm.opened,
            swarm.closed_by_server,
            round.rss_kib[0],
            round.rss_kib[1],
            round.descriptors[0],
            round.descriptors[1],
        );
    }
    let ratios = Spread::of(
        rounds
            .iter()
            .map(|round| round.beside.latency.p99_us / round.alone.latency.p99_us),
    );
    let failed: u64 = rounds
        .iter()
        .map(|round| round.alone.errors.total() + round.beside.errors.total())
        .sum();
    println!("\nhonest p99 beside hostile clients: {ratios} of what it is alone; {failed} failed");
    failed
}

fn gzip_of_zeros() -> Result<Vec<u8>, Box<dyn Error>> {
    let script = "head -c 67108864 /dev/zero | gzip -9";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .output()?;
    if output.stdout.is_empty() {
        return Err("gzip made nothing; give a bomb by --bomb FILE".into());
    }
    Ok(output.stdout)
}

/// The memory of a process; 0 when it is gone.
fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
