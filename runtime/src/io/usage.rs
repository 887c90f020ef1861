//! What the kernel says of the calling thread.

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
