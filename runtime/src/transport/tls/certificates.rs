//! The certificates that a service shows, which may be exchanged while it runs.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use arc_swap::ArcSwap;
use rustls::server::UnbufferedServerConnection;

use super::files::Loaded;
use super::{CertificateError, TlsFiles, watch};
use crate::io::file::Stamp;
use crate::reloads::{ReloadKind, Reloads};

/// What new connections are served with. Partitions read it without a lock; the thread that watches
/// the files, or whoever asks for it, puts something newer there.
pub(crate) struct Certificates {
    files: TlsFiles,
    loaded: ArcSwap<Loaded>,
    reloads: Arc<Reloads>,
    /// Dropped with the certificates, which ends the thread that watches.
    _watch: Sender<()>,
}

impl Certificates {
    /// Reads the files, and watches them as long as a partition uses what was read.
    /// What became of each later reading is noted in `reloads`.
    pub(crate) fn load(
        files: TlsFiles,
        reloads: Arc<Reloads>,
    ) -> Result<Arc<Self>, CertificateError> {
        let stamps = files.stamps();
        let loaded = files.load(None)?;
        let (sender, dropped) = mpsc::channel();
        let certificates = Arc::new(Certificates {
            files,
            loaded: ArcSwap::from_pointee(loaded),
            reloads,
            _watch: sender,
        });
        watch::spawn(Arc::downgrade(&certificates), stamps, dropped).map_err(|error| {
            CertificateError::Setup {
                reason: format!("no thread can be started that watches the files: {error}"),
            }
        })?;
        Ok(certificates)
    }

    /// Reads the files again. New connections get what they say now; when that cannot be used, they
    /// get what they got before.
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        let before = self.loaded.load();
        let loaded = self.files.load(Some(&before));
        let reloaded = loaded.map(|loaded| self.loaded.store(Arc::new(loaded)));
        self.reloads.note(ReloadKind::Certificates, &reloaded);
        reloaded
    }

    /// What the files are now.
    pub(super) fn stamps(&self) -> [Option<Stamp>; 3] {
        self.files.stamps()
    }

    /// A session for a new connection.
    pub(super) fn session(&self) -> Result<UnbufferedServerConnection, rustls::Error> {
        UnbufferedServerConnection::new(Arc::clone(&self.loaded.load().config))
    }
}

/// Names the files alone: nothing of a key is shown.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Certificates");
        shown.field("files", &self.files).finish_non_exhaustive()
    }
}
