//! The wheel of a partition's timers.

use std::fmt;

use crate::partition::{TimerId, Timers};

/// The timers of a partition. Times are in nanoseconds, and begin at 0.
pub struct Wheel(Timers);

/// Names a timer that has not fired.
#[derive(Clone, Copy, Debug)]
pub struct WheelTimer(TimerId);

impl Default for Wheel {
    fn default() -> Self {
        Wheel(Timers::new(0))
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wheel(next at {} ns)", self.0.next_ns())
    }
}

impl Wheel {
    /// Sets a timer.
    #[inline]
    pub fn arm(&mut self, deadline_ns: u64, token: u64) -> WheelTimer {
        WheelTimer(self.0.insert(deadline_ns, token))
    }

    /// Takes a timer back that has not fired.
    #[inline]
    pub fn cancel(&mut self, timer: WheelTimer) {
        self.0.cancel(timer.0);
    }

    /// Goes on to this time; how many timers fired.
    #[inline]
    pub fn advance(&mut self, now_ns: u64) -> usize {
        let mut fired = 0;
        self.0.expire(now_ns, |_| fired += 1);
        fired
    }
}
