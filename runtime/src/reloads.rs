//! What became of the files that a query reads again while it serves.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

/// What a query reads again while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadKind {
    /// The files of `tlsCertFile`, `tlsKeyFile` and `tlsClientCaFile`.
    Certificates,
    /// The file of `authKeysFile`.
    Keys,
}

impl ReloadKind {
    pub(crate) const ALL: [ReloadKind; 2] = [ReloadKind::Certificates, ReloadKind::Keys];

    /// Its short name, as the API and the metrics give it.
    pub fn name(self) -> &'static str {
        match self {
            ReloadKind::Certificates => "certificates",
            ReloadKind::Keys => "keys",
        }
    }
}

/// Files that could not be used when they were read last. What was read before stays in use, so the
/// query stays ready; but certificates expire, and a key that was to be withdrawn still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedReload {
    /// What was read.
    pub kind: ReloadKind,
    /// What is wrong with it.
    pub error: String,
}

/// The reloads of a query. Who reads notes it here, others look; nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Reloads([Record; ReloadKind::ALL.len()]);

#[derive(Debug, Default)]
struct Record {
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// Why the last one failed; none when it did not.
    failure: ArcSwapOption<String>,
}

/// The reloads of a kind, since the query started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReloadsSeen {
    pub(crate) kind: ReloadKind,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) is_last_good: bool,
}

impl Reloads {
    /// Notes what became of a reload.
    pub(crate) fn note<T>(&self, kind: ReloadKind, result: &Result<T, impl Display>) {
        let record = &self.0[kind as usize];
        let (count, failure) = match result {
            Ok(_) => (&record.succeeded, None),
            Err(error) => (&record.failed, Some(Arc::new(error.to_string()))),
        };
        record.failure.store(failure);
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// What could not be used when it was read last.
    pub(crate) fn failed(&self) -> Vec<FailedReload> {
        let failures = ReloadKind::ALL.into_iter().filter_map(|kind| {
            let error = self.0[kind as usize].failure.load_full()?;
            Some(FailedReload {
                kind,
                error: error.to_string(),
            })
        });
        failures.collect()
    }

    pub(crate) fn read(&self) -> [ReloadsSeen; ReloadKind::ALL.len()] {
        ReloadKind::ALL.map(|kind| {
            let record = &self.0[kind as usize];
            ReloadsSeen {
                kind,
                succeeded: record.succeeded.load(Ordering::Relaxed),
                failed: record.failed.load(Ordering::Relaxed),
                is_last_good: record.failure.load().is_none(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reload_of_each_kind_decides() {
        let reloads = Reloads::default();
        let seen = |kind: ReloadKind| {
            let ReloadsSeen {
                succeeded,
                failed,
                is_last_good,
                ..
            } = reloads.read()[kind as usize];
            (succeeded, failed, is_last_good)
        };
        assert_eq!(seen(ReloadKind::Keys), (0, 0, true));
        for error in ["one", "two"] {
            reloads.note(ReloadKind::Keys, &Err::<(), _>(error));
        }
        reloads.note(ReloadKind::Certificates, &Ok::<_, &str>(()));
        assert_eq!(seen(ReloadKind::Keys), (0, 2, false));
        assert_eq!(seen(ReloadKind::Certificates), (1, 0, true));
        let failed = FailedReload {
            kind: ReloadKind::Keys,
            error: "two".to_owned(),
        };
        assert_eq!(reloads.failed(), [failed]);
        reloads.note(ReloadKind::Keys, &Ok::<_, &str>(()));
        assert_eq!(seen(ReloadKind::Keys), (1, 2, true));
        assert!(reloads.failed().is_empty());
    }
}
