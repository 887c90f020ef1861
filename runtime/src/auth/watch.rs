//! Reads the file of keys again when it was changed.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::{Auth, AuthKeysError, Keys, read};

/// How often the file is read. It is small, and its text is compared as it is: no change is too
/// quick, or too like the last one, to be seen.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches `path`, whose `text` is in use, on a thread of its own, until the keys are dropped. The
/// thread logs in the span of whoever calls this, which names the query.
pub(super) fn spawn(
    auth: Weak<Auth>,
    from_env: Keys,
    path: PathBuf,
    text: String,
    dropped: Receiver<()>,
) -> Result<(), AuthKeysError> {
    let mut watched = Watched {
        from_env,
        path,
        text,
        is_unreadable: false,
    };
    let span = tracing::Span::current();
    let watch = move || {
        let _span = span.entered();
        while let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(INTERVAL) {
            let Some(auth) = auth.upgrade() else {
                return;
            };
            watched.look(&auth);
        }
    };
    let thread = thread::Builder::new().name("snapback-keys".to_owned());
    thread.spawn(watch).map_err(|source| AuthKeysError::Watch {
        source: Arc::new(source),
    })?;
    Ok(())
}

struct Watched {
    /// The keys that are not in the file.
    from_env: Keys,
    path: PathBuf,
    /// What was read last, good or bad: each is judged once.
    text: String,
    is_unreadable: bool,
}

impl Watched {
    /// Exchanges the keys if the file has others. What cannot be used leaves them as they are.
    fn look(&mut self, auth: &Auth) {
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if !std::mem::replace(&mut self.is_unreadable, true) {
                    tracing::error!(%error, "the keys that were read before stay in use");
                }
                return;
            }
        };
        self.is_unreadable = false;
        if text == self.text {
            return;
        }
        self.text = text;
        let keys = self.from_env.with_file(&self.path, &self.text);
        match keys.and_then(Keys::sealed) {
            Ok(keys) => {
                tracing::info!(path = ?self.path, keys = keys.len(), "the keys were exchanged");
                auth.set(keys);
            }
            Err(error) => {
                tracing::error!(%error, "the keys that were read before stay in use");
            }
        }
    }
}
