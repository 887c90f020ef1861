//! The clocks, through libc: it reads them without a system call, also where the program runs
//! under valgrind (rustix looks for the kernel's page by itself, and does not find it there).

/// Nanoseconds of the monotonic clock, precise (22 to 28 ns to read).
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Seconds since 1970, as exact as the kernel's tick (about 3 ns to read).
#[inline]
pub(crate) fn unix_seconds() -> u64 {
    read(libc::CLOCK_REALTIME_COARSE).tv_sec as u64
}

/// Nanoseconds since 1970, precise.
pub(crate) fn unix_ns() -> u64 {
    let now = read(libc::CLOCK_REALTIME);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Whether the kernel lets programs read its clocks without a system call. Under valgrind it does not.
pub(super) fn is_read_without_a_call() -> bool {
    // SAFETY: it looks up a number in what the kernel gave the process at its start.
    unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) != 0 }
}

#[inline]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for a timespec. It fails only for a clock that the kernel
    // does not know, and then leaves the zeroes.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}
