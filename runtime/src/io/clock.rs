//! The clocks.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, precise (about 22 ns to read).
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Seconds since 1970, as exact as the kernel's tick (about 3 ns to read).
#[inline]
pub(crate) fn unix_seconds() -> u64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec as u64
}
