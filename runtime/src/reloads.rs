//! Files that are read again while a query serves: told to the log by one name, and counted.

use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the files that a query watches.
#[derive(Debug)]
pub(crate) struct Reloads {
    query: String,
    keys: Counts,
    certificates: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

/// How often files of one kind were read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReloadsSeen {
    /// What is in them.
    pub(crate) what: &'static str,
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

impl Reloads {
    pub(crate) fn of(query: &str) -> Self {
        Reloads {
            query: query.to_owned(),
            keys: Counts::default(),
            certificates: Counts::default(),
        }
    }

    /// The keys were exchanged, and there are so many; or they cannot be used.
    pub(crate) fn keys(&self, read: Result<usize, &dyn Display>) {
        self.keys.count(read.is_ok());
        let query = &self.query;
        match read {
            Ok(keys) => tracing::info!(query, keys, "the keys were exchanged"),
            Err(error) => {
                tracing::error!(query, %error, "the keys that were read before stay in use");
            }
        }
    }

    /// The certificates were exchanged, or cannot be used.
    pub(crate) fn certificates(&self, read: Result<&dyn Debug, &dyn Display>) {
        self.certificates.count(read.is_ok());
        let query = &self.query;
        match read {
            Ok(certificates) => {
                tracing::info!(query, ?certificates, "the certificates were exchanged");
            }
            Err(error) => tracing::error!(
                query,
                %error,
                "the new certificates cannot be used; new connections still get the old ones"
            ),
        }
    }

    pub(crate) fn read(&self) -> [ReloadsSeen; 2] {
        [
            self.keys.read("keys"),
            self.certificates.read("certificates"),
        ]
    }
}

impl Counts {
    fn count(&self, is_done: bool) {
        let count = if is_done { &self.done } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self, what: &'static str) -> ReloadsSeen {
        ReloadsSeen {
            what,
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
