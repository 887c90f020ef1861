//! What others see of a tee.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pipe::Pipe;
use crate::io::clock::now_ns;
use crate::options::TeeOverflow;

/// A tee, for those who look at it.
#[derive(Debug)]
pub(crate) struct Tee {
    pipes: Vec<Arc<Pipe>>,
    limit_bytes: usize,
    overflow: TeeOverflow,
    rows: AtomicU64,
    failures: AtomicU64,
    /// Since when there are rows that a cut did not get into the sink; 0 when there are none.
    behind_since_ns: AtomicU64,
    failure: Mutex<Option<String>>,
}

/// A reading of a tee.
#[derive(Clone, Debug)]
pub(crate) struct TeeSeen {
    pub(crate) rows: u64,
    pub(crate) dropped: u64,
    pub(crate) pending_bytes: u64,
    pub(crate) lag: Duration,
    pub(crate) failures: u64,
    pub(crate) failure: Option<String>,
}

impl Tee {
    pub(crate) fn new(pipes: Vec<Arc<Pipe>>, limit_bytes: usize, overflow: TeeOverflow) -> Self {
        Tee {
            pipes,
            limit_bytes,
            overflow,
            rows: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            behind_since_ns: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn read(&self) -> TeeSeen {
        let since_ns = self.behind_since_ns.load(Ordering::Relaxed);
        let lag_ns = match since_ns {
            0 => 0,
            since_ns => now_ns().saturating_sub(since_ns),
        };
        TeeSeen {
            rows: self.rows.load(Ordering::Relaxed),
            dropped: self.pipes.iter().map(|pipe| pipe.dropped()).sum(),
            pending_bytes: self.pipes.iter().map(|pipe| pipe.held_bytes() as u64).sum(),
            lag: Duration::from_nanos(lag_ns),
            failures: self.failures.load(Ordering::Relaxed),
            failure: self
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// The first partition that refuses requests, since its rows do not get into the sink, and how
    /// many bytes of rows wait there.
    pub(crate) fn refusing(&self) -> Option<(usize, usize)> {
        let held = self.pipes.iter().map(|pipe| pipe.held_bytes()).enumerate();
        let mut full = held.filter(|(_, bytes)| *bytes >= self.limit_bytes);
        full.next().filter(|_| self.overflow == TeeOverflow::Shed)
    }

    /// A cut begins.
    pub(super) fn begin(&self) {
        let now_ns = now_ns().max(1);
        // It may be one that is tried again.
        let relaxed = Ordering::Relaxed;
        let _ = self
            .behind_since_ns
            .compare_exchange(0, now_ns, relaxed, relaxed);
    }

    /// So many rows are in the sink: all there were.
    pub(super) fn wrote(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.behind_since_ns.store(0, Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn failed(&self, why: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(why.to_owned());
    }
}
