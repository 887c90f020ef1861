//! What a process holds: memory and descriptors, as `/proc` tells.

use std::fs;
use std::io;

use serde::Serialize;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Resident memory. The kernel counts it in batches, so some hundred KiB may be missing.
    pub rss_bytes: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

impl Footprint {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// It is gone, or belongs to somebody else.
    pub fn of(pid: u32) -> io::Result<Footprint> {
        Ok(Footprint {
            rss_bytes: status_bytes(pid, "VmRSS:")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
        })
    }
}

/// The resident memory of a process, page by page, which takes longer than [`Footprint::of`] and
/// misses nothing.
///
/// # Errors
/// The process is gone, or belongs to somebody else.
pub fn exact_rss_bytes(pid: u32) -> io::Result<u64> {
    field_bytes(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// Forgets the peak of a process' memory, so that [`peak_rss_bytes`] is that from here on.
///
/// # Errors
/// The process is gone, or the kernel does not offer it; the peak is then that of its whole life.
pub fn reset_peak(pid: u32) -> io::Result<()> {
    // 5: "reset the peak resident set size ("high water mark")", proc(5).
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The peak of a process' resident memory since the last [`reset_peak`].
///
/// # Errors
/// The process is gone.
pub fn peak_rss_bytes(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> io::Result<u64> {
    field_bytes(&format!("/proc/{pid}/status"), field)
}

/// A field in kB.
fn field_bytes(path: &str, field: &str) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other(format!("{path} has no field {field}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_descriptors_of_a_process_are_seen() {
        let pid = std::process::id();
        let before = Footprint::of(pid).expect("this process runs");
        assert!(
            before.rss_bytes > 64 << 10 && before.descriptors >= 3,
            "{before:?}"
        );
        let block = vec![1_u8; 64 << 20];
        let held: Vec<_> = (0..100)
            .map(|_| fs::File::open("/proc/self/status").expect("it is there"))
            .collect();
        let during = Footprint::of(pid).expect("this process runs");
        assert!(
            during.rss_bytes >= before.rss_bytes + (32 << 20),
            "{before:?} {during:?}"
        );
        assert!(during.descriptors >= 100, "{during:?}");
        let peak = peak_rss_bytes(pid).expect("this process runs");
        assert!(peak >= during.rss_bytes - (8 << 20), "{peak} {during:?}");
        let exact = exact_rss_bytes(pid).expect("this process runs");
        assert!(exact > 64 << 20, "{exact}");
        drop((block, held));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Beyond what the kernel ever gives to a process.
        assert!(Footprint::of(u32::MAX).is_err());
    }
}
