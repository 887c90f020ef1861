//! How a run begins, and why it may not.

use std::io;
use std::time::Instant;

use super::generator::Generator;
use super::options::LoadOptions;
use super::progress::{Feed, News, Progress, ShowProgress};
use super::report::LoadReport;
use super::secure::TrustError;
use crate::address::Address;
use crate::process::{PinError, pin, raise_file_limit};

/// Why a run did not take place. What goes wrong in a run is counted in its report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody listens, or not for so many.
    #[error("cannot open connection {index} to {address}: {source}")]
    Connect {
        /// Which of the connections it was, from 0.
        index: usize,
        /// Where it was to go.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// An option is out of its range.
    #[error("{option} = {value}: must be more than 0")]
    Option {
        /// Its name on the command line.
        option: &'static str,
        /// What was given.
        value: String,
    },
    /// A target of https, and no word or a wrong one about whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The core is not there.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// epoll failed.
    #[error("cannot poll: {0}")]
    Poll(#[from] io::Error),
    /// The system has no thread left to show how far it is.
    #[error("cannot show progress: {0}")]
    Progress(io::Error),
}

/// An end of the window in which a run measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The warm-up is over.
    Begin,
    /// The duration is over, or the last request was answered.
    End,
}

/// Runs a load to its end: the warm-up, the duration, and at most [`LoadOptions::timeout`] for the
/// replies that are still to come.
///
/// # Errors
/// The run could not begin; what went wrong later is in the report.
pub fn run(options: &LoadOptions) -> Result<LoadReport, LoadError> {
    run_observed(options, |_| {})
}

/// Like [`run`], and calls `observe` at both edges of the window, for example to read the CPU time
/// of the server. The time that it takes is not part of the window.
///
/// # Errors
/// As [`run`].
pub fn run_observed(
    options: &LoadOptions,
    observe: impl FnMut(Edge),
) -> Result<LoadReport, LoadError> {
    run_fed(options, observe, None)
}

/// Like [`run`], and shows how far it is on standard error.
///
/// # Errors
/// As [`run`].
pub fn run_shown(options: &LoadOptions, show: ShowProgress) -> Result<LoadReport, LoadError> {
    let Some(progress) = Progress::start(options, show).map_err(LoadError::Progress)? else {
        return run(options);
    };
    let feed = progress.feed();
    let observe = |edge| {
        if edge == Edge::Begin {
            feed.tell(News::Began(Instant::now()));
        }
    };
    run_fed(options, observe, Some(progress.feed()))
}

fn run_fed(
    options: &LoadOptions,
    observe: impl FnMut(Edge),
    feed: Option<Feed>,
) -> Result<LoadReport, LoadError> {
    check(options)?;
    if let Some(core) = options.core {
        pin(core)?;
    }
    raise_file_limit();
    let mut generator = Generator::new(options, feed)?;
    let tls = generator.tls();
    generator.run(observe)?;
    let (record, window) = generator.into_record();
    Ok(LoadReport::new(options, tls, record, window))
}

/// Refuses what no load can be made of.
fn check(options: &LoadOptions) -> Result<(), LoadError> {
    let rates = options.steps.iter().map(|step| ("rate", step.rate_per_s));
    let positive = [
        ("connections", options.connections as f64),
        ("pipeline", options.pipeline as f64),
        ("rate", options.rate.unwrap_or(1.0)),
    ];
    for (option, value) in positive.into_iter().chain(rates) {
        // Written so that NaN is refused, too.
        if !(value > 0.0 && value.is_finite()) {
            return Err(LoadError::Option {
                option,
                value: value.to_string(),
            });
        }
    }
    Ok(())
}
