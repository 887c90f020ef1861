//! The loads that servers are compared under.

use clap::ValueEnum;
use serde::Serialize;

use crate::address::Target;
use crate::load::{Arrivals, LoadOptions};

/// A load that servers are compared under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// One connection, closed loop: the latency of a client that is alone.
    Single,
    /// 16 connections, closed loop.
    C16,
    /// 64 connections, closed loop: the throughput.
    C64,
    /// 256 connections, closed loop.
    C256,
    /// 16 connections with 16 requests in flight each, closed loop.
    Pipeline16,
    /// 32 connections, open loop, Poisson arrivals at `--rate`.
    Open,
    /// 64 connections, open loop, Poisson arrivals at five times `--rate`.
    Busy,
}

impl Scenario {
    /// The load of this scenario; how long and on which core is the caller's to say.
    pub fn load(self, target: Target, rate_per_s: f64) -> LoadOptions {
        let options = LoadOptions::new(target);
        match self {
            Scenario::Single => options,
            Scenario::C16 | Scenario::C64 | Scenario::C256 => LoadOptions {
                connections: match self {
                    Scenario::C16 => 16,
                    Scenario::C64 => 64,
                    _ => 256,
                },
                ..options
            },
            Scenario::Pipeline16 => LoadOptions {
                connections: 16,
                pipeline: 16,
                ..options
            },
            Scenario::Open => LoadOptions {
                connections: 32,
                rate: Some(rate_per_s),
                arrivals: Arrivals::Poisson,
                ..options
            },
            Scenario::Busy => LoadOptions {
                connections: 64,
                rate: Some(5.0 * rate_per_s),
                arrivals: Arrivals::Poisson,
                ..options
            },
        }
    }

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        let title = self.title();
        title.split_once(':').map_or(title, |(name, _)| name)
    }

    /// What it is, for people who do not know its name.
    pub fn in_words(self) -> &'static str {
        let title = self.title();
        title.split_once(": ").map_or(title, |(_, words)| words)
    }

    /// One line for people.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::Single => "single: 1 connection, closed loop",
            Scenario::C16 => "c16: 16 connections, closed loop",
            Scenario::C64 => "c64: 64 connections, closed loop",
            Scenario::C256 => "c256: 256 connections, closed loop",
            Scenario::Pipeline16 => "pipeline16: 16 connections, 16 requests in flight each",
            Scenario::Open => "open: 32 connections, open loop, Poisson arrivals",
            Scenario::Busy => {
                "busy: 64 connections, open loop, Poisson arrivals, five times as many"
            }
        }
    }
}
