//! The load generator: one thread on a core of its own, closed loop or open loop.
//!
//! - **Closed loop**: each connection sends its next request when a reply arrived. It tells how
//!   much a server can do, and the latency of a client that waits.
//! - **Open loop** (`--rate`): requests are due at times fixed beforehand. Latency counts from when
//!   a request was due, also when every connection was busy then; so a stall of the server is seen
//!   by every request that a real client would have sent meanwhile (coordinated omission).
//!
//! ```no_run
//! use snapback_bench::load::{LoadOptions, run};
//!
//! let target = "http://127.0.0.1:8888/my_api".parse()?;
//! let report = run(&LoadOptions { connections: 64, ..LoadOptions::new(target) })?;
//! println!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunks;
mod connection;
mod generator;
mod heat;
mod options;
mod phase;
mod progress;
mod record;
mod reply;
mod report;
mod run;
mod schedule;
mod secure;
mod stalls;
mod timeline;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::output;
pub use heat::HeatMap;
pub use options::{Body, LoadOptions, parse_duration};
pub(crate) use phase::recorded;
pub use phase::{PhaseReport, RateStep};
pub use progress::ShowProgress;
pub use record::ErrorCounts;
pub use reply::{MalformedReply, Reply, ReplyParser};
pub use report::{LoadReport, Percentiles};
pub use run::{Edge, LoadError, run, run_observed, run_shown};
pub use schedule::{Arrivals, Schedule};
pub use secure::TrustError;
pub use stalls::{Stall, Stalls};
pub use timeline::{STEP_NS, Step};

/// What to load, how, and where to write what was seen.
#[derive(Args, Clone, Debug)]
pub struct LoadArguments {
    #[command(flatten)]
    options: LoadOptions,
    /// Whether to show on standard error how far it is.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    progress: ShowProgress,
    /// Write the report with its raw histogram here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the percentile distribution here, in µs, in HdrHistogram's text format.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

/// Runs the load and prints the report.
///
/// # Errors
/// There is nobody to load, or a file cannot be written.
pub fn main(arguments: &LoadArguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let report = run_shown(&arguments.options, arguments.progress)?;
    output::say(format_args!("{report}\n"))?;
    output::write_json(arguments.json.as_deref(), &report)?;
    if let Some(path) = &arguments.hgrm {
        let text = report.hgrm();
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(if report.errors.total() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
