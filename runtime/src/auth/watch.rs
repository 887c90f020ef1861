//! Reads the file of keys again when it was changed.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::{Auth, AuthKeysError, Keys, read};
use crate::reloads::{ReloadKind, Reloads};

/// How often the file is read. It is small, and its text is compared as it is: no change is too
/// quick, or too like the last one, to be seen.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the file on a thread of its own, until the keys are dropped. The thread logs in the span of
/// whoever calls this, which names the query.
pub(super) fn spawn(
    auth: Weak<Auth>,
    mut watched: Watched,
    dropped: Receiver<()>,
) -> Result<(), AuthKeysError> {
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

pub(super) struct Watched {
    /// The keys that are not in the file.
    from_env: Keys,
    path: PathBuf,
    /// What was read last, good or bad: each is judged once.
    text: String,
    is_unreadable: bool,
    reloads: Arc<Reloads>,
}

impl Watched {
    /// Of the file at `path`, whose `text` is in use.
    pub(super) fn new(from_env: Keys, path: PathBuf, text: String, reloads: Arc<Reloads>) -> Self {
        Watched {
            from_env,
            path,
            text,
            is_unreadable: false,
            reloads,
        }
    }

    /// Exchanges the keys if the file has others. What cannot be used leaves them as they are.
    fn look(&mut self, auth: &Auth) {
        let was_unreadable = self.is_unreadable;
        let read = read(&self.path);
        self.is_unreadable = read.is_err();
        let keys = match read {
            Err(_) if was_unreadable => return,
            Err(error) => Err(error),
            // What can be read again is judged again, so that nobody takes it for what still fails.
            Ok(text) if text == self.text && !was_unreadable => return,
            Ok(text) => {
                self.text = text;
                let keys = self.from_env.with_file(&self.path, &self.text);
                keys.and_then(Keys::sealed)
            }
        };
        let exchanged = keys.map(|keys| {
            tracing::info!(path = ?self.path, keys = keys.len(), "the keys were exchanged");
            auth.set(keys);
        });
        if let Err(error) = &exchanged {
            tracing::error!(%error, "the keys that were read before stay in use");
        }
        self.reloads.note(ReloadKind::Keys, &exchanged);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arc_swap::ArcSwap;

    use super::*;

    #[test]
    fn each_text_of_the_file_is_judged_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let write = |text: &str| fs::write(&path, text).expect("it is writable");
        let of = |name: &str| format!("{name}:sha256:{}\n", "1".repeat(64));
        let keys = |text: &str| Keys::default().with_file(&path, text).expect("good keys");
        let auth = Auth {
            keys: ArcSwap::from_pointee(keys(&of("a")).sealed().expect("a key")),
            api_key_header: None,
            realm: "".into(),
            _watch: None,
        };
        let reloads = Arc::new(Reloads::default());
        write(&of("a"));
        let mut watched =
            Watched::new(Keys::default(), path.clone(), of("a"), Arc::clone(&reloads));
        let mut looks = |succeeded, failed, is_last_good| {
            for _ in 0..2 {
                watched.look(&auth);
                let seen = reloads.read()[ReloadKind::Keys as usize];
                assert_eq!((seen.succeeded, seen.failed), (succeeded, failed));
                assert_eq!(seen.is_last_good, is_last_good);
            }
        };
        looks(0, 0, true);
        write(&of("b"));
        looks(1, 0, true);
        write("spoilt");
        looks(1, 1, false);
        fs::remove_file(&path).expect("it is there");
        looks(1, 2, false);
        write("spoilt");
        looks(1, 3, false);
        fs::remove_file(&path).expect("it is there");
        looks(1, 4, false);
        write(&of("b"));
        looks(2, 4, true);
        fs::remove_file(&path).expect("it is there");
        looks(2, 5, false);
        // The same as before: in use all the time, and whole again.
        write(&of("b"));
        looks(3, 5, true);
    }
}
