//! What the kernel says of the calling thread, and how it counts.

/// In how many parts the kernel divides a second where it counts the time of processes.
pub(crate) fn ticks_per_second() -> f64 {
    // SAFETY: sysconf reads no memory of ours; the kernel knows this name.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // What every Linux says, should it fail.
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// How often the thread was taken off its core although it wanted to run: another thread wants this
/// core, or the quota of the process is used up.
pub(crate) fn involuntary_switches() -> u64 {
    // SAFETY: `rusage` is plain integers, for which all zeroes is a value; getrusage writes one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    usage.ru_nivcsw as u64
}
