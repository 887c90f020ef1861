//! Which core each partition runs on.

use crate::options::Pinning;

/// Why a partition cannot be pinned as the option `pinning` asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The list names a core that the process may not run on.
    #[error(
        "pinning to core {core} is not possible: this process may run on cores {allowed:?}; list \
         some of these, or set pinning to auto or off"
    )]
    CoreNotAllowed {
        /// The core that was asked for.
        core: usize,
        /// The cores of the process's affinity mask.
        allowed: Vec<usize>,
    },
    /// The kernel did not tell which cores the process may run on.
    #[error("cannot read which cores this process may run on: {source}; set pinning to off")]
    Unreadable {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel refused to pin the thread.
    #[error("cannot pin the thread to core {core}: {source}; set pinning to off")]
    Refused {
        /// The core that was asked for.
        core: usize,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// The core of each partition, `None` where the kernel is to place it.
///
/// Partitions beyond the cores start again at the first one.
pub(crate) fn place(pinning: &Pinning, partitions: usize) -> Result<Vec<Option<usize>>, PinError> {
    let cores = match pinning {
        Pinning::Off => return Ok(vec![None; partitions]),
        Pinning::Auto => allowed_cores()?,
        Pinning::Cores(cores) => {
            let allowed = allowed_cores()?;
            if let Some(&core) = cores.iter().find(|core| !allowed.contains(core)) {
                return Err(PinError::CoreNotAllowed { core, allowed });
            }
            cores.clone()
        }
    };
    Ok(cores
        .iter()
        .copied()
        .cycle()
        .map(Some)
        .take(partitions)
        .collect())
}

/// Pins the calling thread to `core`.
pub(crate) fn pin_this_thread(core: usize) -> Result<(), PinError> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    // `core_affinity` says only that it failed; the reason is still in errno.
    Err(PinError::Refused {
        core,
        source: std::io::Error::last_os_error(),
    })
}

/// The cores that the calling thread, and so the threads that it starts, may run on, ascending.
/// `taskset`, cpusets and containers narrow them.
fn allowed_cores() -> Result<Vec<usize>, PinError> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|errno| PinError::Unreadable {
        source: errno.into(),
    })?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// The default of `numPartitions`: a partition for each core that the process may run on, but no
/// more than a container's CPU quota can keep running.
pub(crate) fn default_partitions() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_own_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    #[test]
    fn auto_takes_the_allowed_cores_in_order_and_starts_over() {
        let cores = allowed_cores().unwrap();
        let placed = place(&Pinning::Auto, cores.len() * 2 + 1).unwrap();
        for (partition, core) in placed.iter().enumerate() {
            assert_eq!(*core, Some(cores[partition % cores.len()]));
        }
        assert_eq!(placed.len(), cores.len() * 2 + 1);
    }

    #[test]
    fn off_places_nobody() {
        assert_eq!(place(&Pinning::Off, 3).unwrap(), [None; 3]);
    }

    #[test]
    fn a_list_is_followed_and_starts_over() {
        let cores = allowed_cores().unwrap();
        let last = *cores.last().unwrap();
        let placed = place(&Pinning::Cores(vec![last, cores[0]]), 3).unwrap();
        assert_eq!(placed, [Some(last), Some(cores[0]), Some(last)]);
    }

    #[test]
    fn a_pinned_thread_runs_on_its_core_alone_and_its_mask_limits_what_it_starts() {
        let core = *allowed_cores().unwrap().last().unwrap();
        on_own_thread(|| {
            pin_this_thread(core).unwrap();
            assert_eq!(allowed_cores().unwrap(), [core]);
            assert_eq!(rustix::thread::sched_getcpu(), core);
            assert_eq!(place(&Pinning::Auto, 2).unwrap(), [Some(core), Some(core)]);
            assert_eq!(default_partitions(), 1);
        });
    }

    #[test]
    fn a_core_that_is_not_allowed_is_named_with_those_that_are() {
        let error = place(&Pinning::Cores(vec![1023]), 1).unwrap_err();
        let allowed = allowed_cores().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "pinning to core 1023 is not possible: this process may run on cores {allowed:?}; \
                 list some of these, or set pinning to auto or off"
            )
        );
        let refused = on_own_thread(|| pin_this_thread(1023)).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("cannot pin the thread to core 1023: Invalid")
        );
    }
}
