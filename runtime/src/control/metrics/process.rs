//! What the kernel says of this process.

use std::fs;

use crate::io::usage::ticks_per_second;

/// Each value, if the kernel tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) start_time_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) virtual_bytes: Option<f64>,
    pub(super) threads: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
}

impl Process {
    /// Reads `/proc` (proc(5)).
    pub(super) fn read() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        let (system, limits) = (read("/proc/stat"), read("/proc/self/limits"));
        let ticks = |field| Some(stat_field(&stat, field)? / ticks_per_second());
        let line = |text: &str, name: &str, word: usize| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(word)?.parse::<f64>().ok()
        };
        let bytes = |name| Some(line(&status, name, 0)? * 1024.0);
        let add = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        Process {
            cpu_seconds: add(ticks(14), ticks(15)),
            start_time_seconds: add(line(&system, "btime ", 0), ticks(22)),
            resident_bytes: bytes("VmRSS:"),
            virtual_bytes: bytes("VmSize:"),
            threads: line(&status, "Threads:", 0),
            // The directory that is read is open as well.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|descriptors| descriptors.count().saturating_sub(1) as f64),
            max_fds: line(&limits, "Max open files", 0),
        }
    }
}

/// A field of `/proc/self/stat`, numbered as proc(5) does, from 1. The second is the name of the
/// program in parentheses, and may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let field = behind_name.split_whitespace().nth(number - 3)?;
    field.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_everything() {
        let process = Process::read();
        let Process {
            cpu_seconds: Some(cpu),
            start_time_seconds: Some(start),
            resident_bytes: Some(resident),
            virtual_bytes: Some(virtual_bytes),
            threads: Some(threads),
            open_fds: Some(open),
            max_fds: Some(max),
        } = process
        else {
            panic!("{process:?}");
        };
        assert!((0.0..1e6).contains(&cpu));
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        // It has run for less than a day.
        assert!(
            (0.0..86_400.0).contains(&(now.as_secs_f64() - start)),
            "{start}"
        );
        assert!(resident > 1e6 && virtual_bytes >= resident);
        assert!(threads >= 1.0 && open >= 3.0 && max > open);
    }

    #[test]
    fn a_name_with_parentheses_is_no_field() {
        let stat = "12 (a) b) S 1 2 3";
        assert_eq!(stat_field(stat, 4), Some(1.0));
        assert_eq!(stat_field(stat, 6), Some(3.0));
        assert_eq!(stat_field(stat, 7), None);
    }
}
