//! What a process may use and has used: cores, CPU time, file descriptors.

use std::fs;
use std::io;

use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A core that a thread could not be pinned to.
#[derive(Debug, thiserror::Error)]
#[error("core {core}: cannot run there; this process may use the cores {allowed:?}")]
pub struct PinError {
    core: usize,
    allowed: Vec<usize>,
}

/// Cores that a `cpu_set_t` has room for (`CPU_SETSIZE` of sched.h).
const CORE_SET_SIZE: usize = 1024;

/// Pins the calling thread, and the processes that it starts from here on, to `core`.
///
/// # Errors
/// The machine has no such core, or this process may not use it.
pub fn pin(core: usize) -> Result<(), PinError> {
    // Beyond the size of the kernel's set the crate aborts the process.
    if core < CORE_SET_SIZE && core_affinity::set_for_current(CoreId { id: core }) {
        return Ok(());
    }
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    Err(PinError {
        core,
        allowed: allowed.into_iter().map(|core| core.id).collect(),
    })
}

/// The CPU time of all threads of a process, user and system, in ns, from the scheduler's own
/// accounting (`/proc/PID/task/*/schedstat`; `stat` counts in ticks of 10 ms). It lags by up to
/// one tick of the scheduler for a thread that is on a core at the moment.
///
/// # Errors
/// The process is gone.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut total_ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ended since the listing takes its time with it.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        total_ns += text
            .split(' ')
            .next()
            .and_then(|ns| ns.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(total_ns)
}

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// As [`process_cpu_ns`].
    pub cpu_ns: u64,
    /// How often its threads gave up their core, or lost it to another.
    pub switches: u64,
}

impl Used {
    /// What all threads of the process have used.
    ///
    /// # Errors
    /// The process is gone.
    pub fn by(pid: u32) -> io::Result<Used> {
        let mut switches = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            let counts = status.lines().filter_map(|line| {
                let (name, count) = line.split_once(':')?;
                let count = || count.trim().parse::<u64>().ok();
                name.ends_with("ctxt_switches").then(count)?
            });
            switches += counts.sum::<u64>();
        }
        Ok(Used {
            cpu_ns: process_cpu_ns(pid)?,
            switches,
        })
    }
}

/// Raises the number of file descriptors to what the process may have, so that it can hold many
/// connections. Where that is refused the old limit stays, and opening the next socket says so.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_busy_process_grows() {
        let pid = std::process::id();
        let before = process_cpu_ns(pid).expect("this process runs");
        while process_cpu_ns(pid).expect("this process runs") == before {}
    }

    #[test]
    fn a_process_that_waits_switches() {
        let used = || Used::by(std::process::id()).expect("this process runs");
        let before = used();
        // Whoever waits for a child gives up the core.
        while used().switches == before.switches {
            let child = std::process::Command::new("true").status();
            assert!(child.is_ok_and(|status| status.success()));
        }
    }

    #[test]
    fn a_core_that_is_not_there_is_named() {
        for core in [1023, 100_000] {
            let error = pin(core).expect_err("no machine that runs tests has that many");
            let begin = format!("core {core}: cannot run there");
            assert!(error.to_string().starts_with(&begin), "{error}");
        }
    }
}
