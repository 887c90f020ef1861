//! Looks whether the files of a certificate were exchanged.

use std::io;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::Certificates;
use crate::io::file::Stamp;

/// How often the files are looked at: three `stat` calls.
const INTERVAL: Duration = Duration::from_millis(500);

/// What the files were at a look.
type Stamps = [Option<Stamp>; 3];

/// Watches the files on a thread of its own, until the certificates are dropped. The thread logs in
/// the span of whoever calls this, which names the query.
pub(super) fn spawn(
    certificates: Weak<Certificates>,
    loaded: Stamps,
    dropped: Receiver<()>,
) -> io::Result<()> {
    let span = tracing::Span::current();
    let watch = move || {
        let _span = span.entered();
        let mut watched = Watched::new(loaded);
        while let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(INTERVAL) {
            let Some(certificates) = certificates.upgrade() else {
                return;
            };
            if watched.is_exchanged(certificates.stamps()) {
                reload(&certificates);
            }
        }
    };
    let thread = thread::Builder::new().name("snapback-certs".to_owned());
    thread.spawn(watch).map(|_| ())
}

fn reload(certificates: &Certificates) {
    match certificates.reload() {
        Ok(()) => tracing::info!(?certificates, "the certificates were exchanged"),
        Err(error) => tracing::error!(
            %error,
            "the new certificates cannot be used; new connections still get the old ones"
        ),
    }
}

/// Tells when files were exchanged, and are whole again. A certificate and its key are two files:
/// between their writings they do not fit, so they are read only when two looks have found the same.
struct Watched {
    read: Stamps,
    seen: Stamps,
}

impl Watched {
    fn new(read: Stamps) -> Self {
        Watched { read, seen: read }
    }

    fn is_exchanged(&mut self, now: Stamps) -> bool {
        let rests = now == self.seen;
        self.seen = now;
        let is_exchanged = rests && now != self.read;
        if is_exchanged {
            self.read = now;
        }
        is_exchanged
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_once_they_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cert.pem");
        let stamps = || [Stamp::of(&path), None, None];
        fs::write(&path, "one").unwrap();
        let mut watched = Watched::new(stamps());
        assert!(!watched.is_exchanged(stamps()));

        fs::write(&path, "longer").unwrap();
        assert!(!watched.is_exchanged(stamps()), "it may still be written");
        assert!(watched.is_exchanged(stamps()));
        assert!(!watched.is_exchanged(stamps()));

        fs::remove_file(&path).unwrap();
        assert!(!watched.is_exchanged(stamps()));
        fs::write(&path, "back again").unwrap();
        assert!(!watched.is_exchanged(stamps()));
        assert!(watched.is_exchanged(stamps()));
    }

    #[test]
    fn a_link_that_is_turned_elsewhere_is_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("a"), "x").unwrap();
        fs::write(at("b"), "y").unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let before = Stamp::of(&at("link"));
        fs::remove_file(at("link")).unwrap();
        std::os::unix::fs::symlink(at("b"), at("link")).unwrap();
        assert_ne!(Stamp::of(&at("link")), before);
    }
}
