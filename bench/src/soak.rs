//! Millions of requests of every kind, and a memory that must not grow.
//!
//! The requests come in laps. In each lap several closed loops run at a time: plain requests, ones
//! whose replies come later, ones that are refused, and ones that panic; each of them must be
//! answered, and as it should be. Meanwhile other clients go away amid their requests. After each
//! lap the server's memory is read; a line through the last two thirds of these points tells
//! whether it grows.

mod slope;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::address::Target;
use crate::compare::{Contender, Server, command_line, machine};
use crate::footprint::{Footprint, exact_rss_bytes};
use crate::hostile::{Attack, AttackOptions, AttackReport, Hostility};
use crate::load::{LoadError, LoadOptions, LoadReport, parse_duration, run};
use crate::output;
use crate::poller::PollMode;
use crate::process::{pin, raise_file_limit};
pub use slope::Line;

/// How much to send, and to whom.
#[derive(Args, Clone, Debug)]
pub struct SoakArguments {
    /// The server, as NAME=COMMAND; see `compare`. It must answer as `serve mixed` does.
    #[arg(
        long,
        default_value = "mixed={self} serve mixed --listen 127.0.0.1:0 --cores {core}"
    )]
    server: Contender,
    /// Further options of the server's query, as `key=value`; may be repeated.
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// How many requests, such as 500k or 20M; those that are aborted come on top.
    #[arg(long, value_parser = parse_count, default_value = "20M")]
    requests: u64,
    /// In how many laps.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(6..))]
    laps: u32,
    /// How many connections each kind of requests has.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// How many requests one connection has in flight.
    #[arg(long, default_value_t = 8)]
    pipeline: usize,
    /// How many clients go away amid their requests, as a factor of some hundred each second.
    #[arg(long, default_value_t = 1.0)]
    aborts: f64,
    /// By how much the server's memory may grow over the last two thirds, in KiB.
    #[arg(long, default_value_t = 1024, value_name = "KIB")]
    growth_limit: u64,
    /// How long it may take.
    #[arg(long, value_parser = parse_duration, default_value = "60m")]
    longest: Duration,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the clients.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write every lap here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A kind of requests, and what must become of each.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    body: &'static str,
    /// Its part of all requests, of a hundred.
    percent: u64,
    answer: Answer,
}

/// How a request must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// With its own body.
    Echo,
    /// With a status from 400 to 499.
    Refusal,
    /// With a status of 500 or more.
    Failure,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "plain",
        body: "plain: answered in its turn",
        percent: 66,
        answer: Answer::Echo,
    },
    Kind {
        name: "deferred",
        body: "defer: answered later",
        percent: 25,
        answer: Answer::Echo,
    },
    Kind {
        name: "refused",
        body: "refuse",
        percent: 8,
        answer: Answer::Refusal,
    },
    Kind {
        name: "panicking",
        body: "panic",
        percent: 1,
        answer: Answer::Failure,
    },
];

/// The server after a lap.
#[derive(Clone, Copy, Debug, Serialize)]
struct Lap {
    /// Requests up to here.
    requests: u64,
    /// Of those in this lap, how many were not answered as they should.
    failed: u64,
    seconds: f64,
    rss_bytes: u64,
    descriptors: u64,
}

#[derive(Serialize)]
struct SoakReport {
    machine: [String; 2],
    command: Vec<String>,
    laps: Vec<Lap>,
    /// What those did who went away.
    aborts: AttackReport,
    /// Bytes by requests.
    line: Line,
    growth_limit_bytes: u64,
    /// What was not as it must be.
    faults: Vec<String>,
}

/// Runs all laps; fails when a request did, or the memory grew.
///
/// # Errors
/// The server does not start or ends, a file cannot be written, or there was no time for six laps.
pub fn main(arguments: &SoakArguments) -> Result<ExitCode, Box<dyn Error>> {
    let options = arguments.options.iter();
    let more = options.flat_map(|option| ["--option".to_owned(), option.clone()]);
    pin(arguments.server_core)?;
    raise_file_limit();
    let server = Server::start(&arguments.server.clone().with(more), arguments.server_core)?;
    pin(arguments.load_core)?;
    let target = Target::hello(server.address().clone());
    let abort_options = AttackOptions {
        scale: arguments.aborts,
        share: 0.3,
        ramp: Duration::ZERO,
        poison_rate: 1.0,
        seed: 1,
    };
    let kinds = [Hostility::Aborts, Hostility::Churn];
    let aborts = Attack::start(&target, &kinds, &abort_options, arguments.longest)?;
    let laps = run_laps(arguments, &server, &target)?;
    let aborts = aborts.finish()?;
    let line = grown(&laps)?;
    let report = SoakReport {
        machine: machine(),
        command: command_line(),
        faults: faults(&laps, line, arguments),
        laps,
        aborts,
        line,
        growth_limit_bytes: arguments.growth_limit << 10,
    };
    output::say(text(&report))?;
    output::write_json(arguments.json.as_deref(), &report)?;
    Ok(match report.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn run_laps(
    arguments: &SoakArguments,
    server: &Server,
    target: &Target,
) -> Result<Vec<Lap>, Box<dyn Error>> {
    let (begin, mut laps, mut requests) = (Instant::now(), Vec::new(), 0);
    let per_lap = arguments.requests / u64::from(arguments.laps);
    for index in 1..=arguments.laps {
        let lap_begin = Instant::now();
        let left = arguments.longest.saturating_sub(begin.elapsed());
        if left.is_zero() {
            eprintln!("no time left for lap {index} of {}", arguments.laps);
            break;
        }
        let (sent, failed) = run_lap(arguments, target, per_lap, left)?;
        requests += sent;
        let lap = Lap {
            requests,
            failed,
            seconds: lap_begin.elapsed().as_secs_f64(),
            rss_bytes: exact_rss_bytes(server.pid())?,
            descriptors: Footprint::of(server.pid())?.descriptors,
        };
        laps.push(lap);
        eprintln!(
            "lap {index} of {}: {requests} requests, {failed} failed, {} KiB",
            arguments.laps,
            lap.rss_bytes >> 10
        );
    }
    Ok(laps)
}

/// Runs all kinds at a time; gives how many requests there were, and how many failed.
fn run_lap(
    arguments: &SoakArguments,
    target: &Target,
    requests: u64,
    longest: Duration,
) -> Result<(u64, u64), LoadError> {
    thread::scope(|scope| {
        let threads = KINDS.map(|kind| {
            let count = (requests * kind.percent / 100).max(1);
            let options = LoadOptions {
                connections: arguments.connections,
                pipeline: arguments.pipeline,
                count: Some(count),
                duration: longest,
                timeout: Duration::from_secs(30),
                body: kind.body.as_bytes().into(),
                expect_body: (kind.answer == Answer::Echo).then(|| kind.body.as_bytes().into()),
                poll_mode: PollMode::Blocking,
                ..LoadOptions::new(target.clone())
            };
            scope.spawn(move || run(&options).map(|report| (count, kind.failed(&report, count))))
        });
        let (mut sent, mut failed) = (0, 0);
        for (thread, kind) in threads.into_iter().zip(KINDS) {
            let (count, wrong) = thread.join().expect("the load does not panic")?;
            if wrong > 0 {
                eprintln!(
                    "{}: {wrong} of {count} were not answered as they should",
                    kind.name
                );
            }
            sent += count;
            failed += wrong;
        }
        Ok((sent, failed))
    })
}

impl Kind {
    /// How many of `count` requests were not answered as they should.
    fn failed(self, report: &LoadReport, count: u64) -> u64 {
        let wished = match self.answer {
            Answer::Echo => return report.errors.total(),
            Answer::Refusal => report.errors.status_4xx,
            Answer::Failure => report.errors.status_5xx,
        };
        count
            .saturating_sub(wished)
            .max(report.errors.total() - wished)
    }
}

/// The line through the last two thirds of the laps.
fn grown(laps: &[Lap]) -> Result<Line, String> {
    let points = laps[laps.len() / 3..].iter();
    let points: Vec<_> = points
        .map(|lap| (lap.requests as f64, lap.rss_bytes as f64))
        .collect();
    Line::through(&points)
        .filter(|_| laps.len() >= 6)
        .ok_or_else(|| {
            format!(
                "only {} laps in the time: more --longest, or fewer --requests",
                laps.len()
            )
        })
}

fn faults(laps: &[Lap], line: Line, arguments: &SoakArguments) -> Vec<String> {
    let mut faults = Vec::new();
    let failed: u64 = laps.iter().map(|lap| lap.failed).sum();
    if failed > 0 {
        faults.push(format!(
            "{failed} requests were not answered as they should"
        ));
    }
    let rise_kib = line.rise / 1024.0;
    if rise_kib > arguments.growth_limit as f64 {
        let limit_kib = arguments.growth_limit;
        faults.push(format!(
            "the memory grew by {rise_kib:.0} KiB, more than {limit_kib} KiB"
        ));
    }
    if laps.len() < arguments.laps as usize {
        faults.push(format!(
            "only {} of {} laps were run",
            laps.len(),
            arguments.laps
        ));
    }
    faults
}

fn text(report: &SoakReport) -> String {
    let last = report.laps.last().map_or(0, |lap| lap.requests);
    let seconds: f64 = report.laps.iter().map(|lap| lap.seconds).sum();
    let gone: u64 = report
        .aborts
        .kinds
        .iter()
        .map(|kind| kind.tally.opened)
        .sum();
    let Line {
        slope,
        slope_error,
        rise,
    } = report.line;
    let mut text = format!(
        "{last} requests in {seconds:.0} s, beside {gone} connections that were given up\n\
         memory over the last two thirds: {:+.1} ± {:.1} KiB for each million requests, {:+.0} KiB in all (at most {})\n",
        slope * 1e6 / 1024.0,
        slope_error * 1e6 / 1024.0,
        rise / 1024.0,
        report.growth_limit_bytes >> 10,
    );
    for fault in &report.faults {
        text += &format!("fault: {fault}\n");
    }
    text
}

/// Reads `1000`, `500k`, `20M`.
fn parse_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let count: Option<u64> = digits.parse().ok();
    count
        .and_then(|count| count.checked_mul(unit))
        .filter(|&count| count > 0)
        .ok_or_else(|| format!("`{text}`: expected a count such as 1000, 500k or 20M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        assert_eq!(parse_count("1000"), Ok(1000));
        assert_eq!(parse_count("500k"), Ok(500_000));
        assert_eq!(parse_count("20M"), Ok(20_000_000));
        for bad in ["", "M", "0", "-1", "20G", "99999999999999999999M"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_third_of_the_laps_is_warm_up() {
        let lap = |index: u64, rss_bytes| Lap {
            requests: index * 1000,
            failed: 0,
            seconds: 1.0,
            rss_bytes,
            descriptors: 10,
        };
        let mut laps: Vec<_> = (0..3).map(|index| lap(index, index << 20)).collect();
        laps.extend((3..9).map(|index| lap(index, 4 << 20)));
        assert_eq!(grown(&laps).expect("nine laps").rise, 0.0);
        let grows: Vec<_> = (0..9).map(|index| lap(index, index << 20)).collect();
        let rise = grown(&grows).expect("nine laps").rise;
        assert!((rise - 5.0 * f64::from(1 << 20)).abs() < 1.0, "{rise}");
        assert!(grown(&grows[..5]).is_err());
    }
}
