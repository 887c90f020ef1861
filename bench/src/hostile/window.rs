//! One measurement: honest clients, and what the server was doing meanwhile.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::newcomers::{self, Newcomers};
use crate::HELLO_REPLY;
use crate::address::{Address, Target};
use crate::compare::Server;
use crate::footprint::Footprint;
use crate::load::{Edge, LoadOptions, LoadReport, run_observed};
use crate::poller::PollMode;
use crate::process::process_cpu_ns;

/// What honest clients saw, and what the server was doing meanwhile.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Of the clients that hold their connections.
    pub honest: LoadReport,
    /// Of those that come anew; none if none were asked for.
    pub newcomers: Option<Newcomers>,
    /// The server.
    pub server: ServerSide,
    /// The part of the load's core that the hostile client used; none without one.
    pub attack_busy: Option<f64>,
}

/// The server in a window.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServerSide {
    /// Cores' worth of CPU time that it used.
    pub busy: f64,
    /// What it held at the end of the window.
    pub at_end: Footprint,
    /// The longest turn of its partitions by its own record, if it writes one.
    pub longest_turn_us: Option<f64>,
    /// Between which times that record counts, in ms since 1970.
    #[serde(skip)]
    span_ms: (u64, u64),
}

/// The honest load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Honest {
    pub(super) rate: f64,
    pub(super) newcomer_rate: f64,
    pub(super) connections: usize,
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    pub(super) load_core: Option<usize>,
}

impl Window {
    /// All honest requests that failed.
    pub fn failed(&self) -> u64 {
        let newcomers = self
            .newcomers
            .as_ref()
            .map_or(0, |newcomers| newcomers.failed);
        self.honest.errors.total() + newcomers
    }
}

/// Measures one window, beside the attack of process `attacker` if there is one.
pub(super) fn measure(
    server: &Server,
    honest: Honest,
    attacker: Option<u32>,
) -> Result<Window, Box<dyn Error>> {
    let options = options(server.address(), honest);
    let mut observed = Observed::new(server.pid(), attacker);
    let (report, newcomers) = thread::scope(|scope| {
        let newcomers = match server.address() {
            Address::Tcp(address) if honest.newcomer_rate > 0.0 => Some(scope.spawn(|| {
                let Honest {
                    warmup, duration, ..
                } = honest;
                newcomers::run(*address, honest.newcomer_rate, warmup, duration)
            })),
            _ => None,
        };
        let report = run_observed(&options, |edge| observed.at(edge));
        let newcomers = newcomers.map(|thread| thread.join().expect("it does not panic"));
        (report, newcomers)
    });
    let report = report?;
    let (server, attack_busy) = observed.into_server_side(report.window_s)?;
    Ok(Window {
        honest: report,
        newcomers,
        server,
        attack_busy,
    })
}

fn options(address: &Address, honest: Honest) -> LoadOptions {
    let target = Target::hello(address.clone());
    LoadOptions {
        connections: honest.connections,
        rate: Some(honest.rate),
        duration: honest.duration,
        warmup: honest.warmup,
        core: honest.load_core,
        // One that spins would leave the hostile client nothing of their core.
        poll_mode: PollMode::Blocking,
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(target)
    }
}

/// What is read at the edges of a window.
struct Observed {
    server: u32,
    attacker: Option<u32>,
    cpu_ns: [[u64; 2]; 2],
    span_ms: [u64; 2],
    at_end: Footprint,
}

impl Observed {
    fn new(server: u32, attacker: Option<u32>) -> Observed {
        Observed {
            server,
            attacker,
            cpu_ns: [[0; 2]; 2],
            span_ms: [0; 2],
            at_end: Footprint::default(),
        }
    }

    /// A process that died shows as failures of the honest clients, and has no figures here.
    fn at(&mut self, edge: Edge) {
        let index = usize::from(edge == Edge::End);
        let attacker = self.attacker.map(process_cpu_ns);
        self.cpu_ns[index] = [
            process_cpu_ns(self.server).unwrap_or(0),
            attacker.and_then(Result::ok).unwrap_or(0),
        ];
        self.span_ms[index] = now_ms();
        if edge == Edge::End {
            self.at_end = Footprint::of(self.server).unwrap_or_default();
        }
    }

    fn into_server_side(self, window_s: f64) -> Result<(ServerSide, Option<f64>), String> {
        if self.at_end.rss_bytes == 0 {
            return Err(format!("the server, process {}, has ended", self.server));
        }
        let [begin, end] = self.cpu_ns;
        let busy = |index: usize| end[index].saturating_sub(begin[index]) as f64 / 1e9 / window_s;
        let side = ServerSide {
            busy: busy(0),
            at_end: self.at_end,
            longest_turn_us: None,
            span_ms: (self.span_ms[0], self.span_ms[1]),
        };
        Ok((side, self.attacker.map(|_| busy(1))))
    }
}

/// How long the server may take to write the record of an interval.
const RECORD_TIMEOUT: Duration = Duration::from_secs(3);

/// How often something is looked at that takes time.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl ServerSide {
    /// Reads the longest turn of the window from the server's progress records, as soon as they
    /// reach to its end.
    pub(super) fn read_turns(&mut self, progress: &Path) {
        let begin = Instant::now();
        let (begin_ms, end_ms) = self.span_ms;
        while begin.elapsed() < RECORD_TIMEOUT {
            let text = fs::read_to_string(progress).unwrap_or_default();
            let records: Vec<_> = text.lines().filter_map(Turns::parse).collect();
            let is_whole = records.iter().any(|turns| turns.timestamp_ms >= end_ms);
            let within = |turns: &&Turns| (begin_ms..=end_ms).contains(&turns.timestamp_ms);
            let longest = records.iter().filter(within).map(|turns| turns.longest_us);
            self.longest_turn_us = longest.fold(None, |a, b| Some(a.map_or(b, |a: f64| a.max(b))));
            if is_whole {
                return;
            }
            thread::park_timeout(LOOK_INTERVAL);
        }
    }
}

/// What a progress record says of turns.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Turns {
    timestamp_ms: u64,
    longest_us: f64,
}

impl Turns {
    /// Of one line; a line that is being written is none.
    fn parse(line: &str) -> Option<Turns> {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        let longest = record["partitions"]
            .as_array()?
            .iter()
            .filter_map(|partition| partition["longestTurnUs"].as_f64());
        Some(Turns {
            timestamp_ms: record["timestampMs"].as_u64()?,
            longest_us: longest.fold(0.0, f64::max),
        })
    }
}

/// How long a server may take to let go of connections whose clients are gone.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Waits until the server holds no more descriptors than it did; gives how long that took, and
/// what it holds then.
pub(super) fn settle(server: &Server, before: Footprint) -> Result<(Duration, Footprint), String> {
    let begin = Instant::now();
    loop {
        let now = Footprint::of(server.pid()).map_err(|error| format!("the server: {error}"))?;
        if now.descriptors <= before.descriptors || begin.elapsed() > SETTLE_TIMEOUT {
            return Ok((begin.elapsed(), now));
        }
        thread::park_timeout(LOOK_INTERVAL);
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_that_of_the_records_in_the_window() {
        let line = |ms: u64, us: f64| {
            format!(
                "{{\"timestampMs\":{ms},\"partitions\":[{{\"longestTurnUs\":{us}}},\
                 {{\"longestTurnUs\":0.5}}]}}\n"
            )
        };
        let file = tempfile::NamedTempFile::new().expect("a file");
        let lines = [
            line(99, 900.0),
            line(100, 7.0),
            line(150, 8.0),
            line(201, 950.0),
        ];
        fs::write(file.path(), lines.concat() + "{\"timestampMs\":3").expect("it is writable");
        let mut side = ServerSide {
            span_ms: (100, 200),
            ..ServerSide::default()
        };
        side.read_turns(file.path());
        assert_eq!(side.longest_turn_us, Some(8.0));
    }
}
