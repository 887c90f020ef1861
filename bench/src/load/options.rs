//! What to load and how.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::phase::RateStep;
use super::schedule::Arrivals;
use crate::HELLO_BODY;
use crate::address::Target;
use crate::poller::PollMode;

/// What to load and how. [`LoadOptions::new`] has the defaults.
#[derive(Args, Clone, Debug)]
pub struct LoadOptions {
    /// http://HOST:PORT/path, https://HOST:PORT/path or unix:/socket:/path.
    #[arg(value_name = "URL")]
    pub target: Target,
    /// How many connections to hold.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// How many requests one connection may have in flight.
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// Requests per second of an open loop; without it the loop is closed.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Rates one after the other, in place of `rate` and `duration`.
    #[arg(skip)]
    pub steps: Vec<RateStep>,
    /// How long a request of an open loop waits for a connection to become free before it is given
    /// up; by default as long as the run takes.
    #[arg(long, value_parser = parse_duration)]
    pub patience: Option<Duration>,
    /// How the requests of an open loop are spread over time.
    #[arg(long, value_enum, default_value = "constant")]
    pub arrivals: Arrivals,
    /// The seed of random arrivals: equal ones give equal arrivals.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long to measure: `5s`, `500ms`, `2m`.
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    pub duration: Duration,
    /// How long to run before measuring.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub warmup: Duration,
    /// Send exactly this many requests, without a warm-up; `--duration` is then the most that it
    /// may take.
    #[arg(long)]
    pub count: Option<u64>,
    /// How long a reply may take before it counts as lost.
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    pub timeout: Duration,
    /// The body to send, or @FILE to read it from; an empty one makes it a GET.
    #[arg(long, value_parser = parse_body, default_value = HELLO_BODY)]
    pub body: Body,
    /// The body that every reply must have, or @FILE.
    #[arg(long, value_parser = parse_body, value_name = "BODY")]
    pub expect_body: Option<Body>,
    /// Trust a server of https whose certificate one of these signed, or is one of these (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate of https. For measuring only: it may be anybody's.
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// The core to run on; anywhere by default.
    #[arg(long)]
    pub core: Option<usize>,
    /// What to do while no reply is there: the core is its own, so it may spin.
    #[arg(long, value_enum, default_value = "spin")]
    pub poll_mode: PollMode,
}

/// The bytes of a body, shared: clap clones what it parsed.
pub type Body = std::sync::Arc<[u8]>;

impl LoadOptions {
    /// The defaults of the command line: one connection, closed loop, five seconds.
    pub fn new(target: Target) -> LoadOptions {
        LoadOptions {
            target,
            connections: 1,
            pipeline: 1,
            rate: None,
            steps: Vec::new(),
            patience: None,
            arrivals: Arrivals::Constant,
            seed: 1,
            duration: Duration::from_secs(5),
            warmup: Duration::from_secs(1),
            count: None,
            timeout: Duration::from_secs(5),
            body: HELLO_BODY.as_bytes().into(),
            expect_body: None,
            ca: None,
            insecure: false,
            core: None,
            poll_mode: PollMode::Spin,
        }
    }

    /// Whether requests are due at times of their own.
    pub(super) fn is_open_loop(&self) -> bool {
        self.rate.is_some() || !self.steps.is_empty()
    }

    /// The rates one after the other: one alone, unless there are steps. That of a closed loop is 0.
    pub(super) fn phases(&self) -> Vec<RateStep> {
        if !self.steps.is_empty() {
            return self.steps.clone();
        }
        vec![RateStep {
            rate_per_s: self.rate.unwrap_or(0.0),
            duration: self.duration,
        }]
    }

    /// The bytes of one request.
    pub(super) fn request(&self) -> Vec<u8> {
        let Target { host, path, .. } = &self.target;
        let method = if self.body.is_empty() { "GET" } else { "POST" };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        if !self.body.is_empty() {
            let framing = format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                self.body.len()
            );
            request.extend_from_slice(framing.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&self.body);
        request
    }
}

/// Reads `5s`, `500ms`, `2m`, `0.5s`.
///
/// # Errors
/// The text is no number with one of these units; the message says so.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    units
        .iter()
        .find_map(|(unit, seconds)| {
            let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
            Duration::try_from_secs_f64(number * seconds).ok()
        })
        .ok_or_else(|| format!("`{text}`: expected a duration such as 5s, 500ms or 2m"))
}

fn parse_body(text: &str) -> io::Result<Body> {
    match text.strip_prefix('@') {
        Some(path) => fs::read(path)
            .map(Into::into)
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}"))),
        None => Ok(text.as_bytes().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["5", "-1s", "s", "5h", "infs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_name_their_host_and_their_length() {
        let target = "http://127.0.0.1:1/my_api".parse().expect("a target");
        let mut options = LoadOptions::new(target);
        options.body = b"{}".as_slice().into();
        assert_eq!(
            String::from_utf8_lossy(&options.request()),
            "POST /my_api HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        options.body = b"".as_slice().into();
        assert_eq!(
            String::from_utf8_lossy(&options.request()),
            "GET /my_api HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"
        );
    }
}
