//! When epochs end.

use std::time::Duration;

/// When a query's epochs end. See [`Continuous`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// Requests are answered as they come; an epoch ends at each interval.
    Continuous(Duration),
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
