//! When micro-batches begin, and when epochs end.

use std::time::Duration;

/// When a query's micro-batches begin, and when its epochs end. See [`Continuous`] and
/// [`ProcessingTime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// Requests are answered as they come, a micro-batch begins when the last one has ended; an
    /// epoch ends at each interval.
    Continuous(Duration),
    /// A micro-batch begins at each interval, if the last one has ended; so does an epoch end.
    ProcessingTime(Duration),
}

/// What the trigger of a query is when none is given, and how far apart its epochs are when the
/// trigger does not say.
const EPOCH: Duration = Duration::from_secs(1);

impl Default for Trigger {
    fn default() -> Self {
        Continuous { interval: EPOCH }.into()
    }
}

impl Trigger {
    /// How far apart the ends of epochs are.
    #[must_use]
    pub fn epoch_interval(self) -> Duration {
        match self {
            Trigger::Continuous(interval) => interval,
            Trigger::ProcessingTime(Duration::ZERO) => EPOCH,
            Trigger::ProcessingTime(interval) => interval,
        }
    }

    /// How far apart the beginnings of micro-batches are at least.
    pub(crate) fn batch_interval(self) -> Duration {
        match self {
            Trigger::Continuous(_) => Duration::ZERO,
            Trigger::ProcessingTime(interval) => interval,
        }
    }
}

/// Answers requests as they come, and checkpoints at an interval, which no request waits for:
/// Spark's `.trigger(continuous="1 second")`.
///
/// ```
/// use std::time::Duration;
/// use snapback::{Continuous, Trigger};
///
/// assert_eq!(Trigger::from(Continuous::secs(1)), Trigger::Continuous(Duration::from_secs(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuous {
    interval: Duration,
}

impl Continuous {
    /// An epoch every so many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Continuous {
            interval: Duration::from_secs(seconds),
        }
    }

    /// An epoch every so many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Continuous {
            interval: Duration::from_millis(milliseconds),
        }
    }
}

impl From<Continuous> for Trigger {
    fn from(continuous: Continuous) -> Self {
        Trigger::Continuous(continuous.interval)
    }
}

/// Gathers requests into micro-batches that begin at an interval: Spark's
/// `.trigger(processingTime="1 second")`. An interval of zero begins each as soon as the last has
/// ended.
///
/// It is for `server()` and `distributed_server()` with columns. Whatever else answers requests as
/// they come goes on to do so, and only ends its epochs at the interval (each second when it is
/// zero).
///
/// ```
/// use std::time::Duration;
/// use snapback::{ProcessingTime, Trigger};
///
/// let trigger = Trigger::from(ProcessingTime::millis(500));
/// assert_eq!(trigger, Trigger::ProcessingTime(Duration::from_millis(500)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessingTime {
    interval: Duration,
}

impl ProcessingTime {
    /// A micro-batch every so many seconds.
    pub const fn secs(seconds: u64) -> Self {
        ProcessingTime {
            interval: Duration::from_secs(seconds),
        }
    }

    /// A micro-batch every so many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        ProcessingTime {
            interval: Duration::from_millis(milliseconds),
        }
    }
}

impl From<ProcessingTime> for Trigger {
    fn from(processing_time: ProcessingTime) -> Self {
        Trigger::ProcessingTime(processing_time.interval)
    }
}
