//! Panics of a user's operators: where they happened, without what they said.
//!
//! The default hook prints each panic with its message, which may hold a payload, and a storm of
//! poisoned requests would fill the disk. While a thread runs operators, ours only remembers the
//! place. A panic of a partition itself is a fault of this crate: the log gets its backtrace. All
//! other panics go to the hook that was there before.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, Location};
use std::sync::Once;
use std::thread;

/// The name of the threads that run nothing but the futures of operators.
pub(crate) const TASK_THREAD: &str = "snapback-tasks";

thread_local! {
    static IN_OPERATORS: Cell<bool> = const { Cell::new(false) };
    static IS_PARTITION: Cell<bool> = const { Cell::new(false) };
    static LAST: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Where a panic happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: String,
    line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Installs the hook, once in a process.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IN_OPERATORS.get() || thread::current().name() == Some(TASK_THREAD) {
                LAST.set(info.location().map(place));
            } else if IS_PARTITION.get() {
                let backtrace = Backtrace::force_capture();
                tracing::error!(%info, %backtrace, "a partition panicked; please report this");
            } else {
                before(info);
            }
        }));
    });
}

fn place(location: &Location<'_>) -> Place {
    Place {
        file: location.file().to_owned(),
        line: location.line(),
    }
}

/// From now on this thread is a partition's.
pub(crate) fn thread_is_partition() {
    IS_PARTITION.set(true);
}

/// Runs operators, whose panics `work` catches.
#[inline]
pub(crate) fn in_operators<T>(work: impl FnOnce() -> T) -> T {
    IN_OPERATORS.set(true);
    let result = work();
    IN_OPERATORS.set(false);
    result
}

/// From now on panics of this thread are the hook's again: one came through [`in_operators`].
pub(crate) fn leave_operators() {
    IN_OPERATORS.set(false);
}

/// Where the last panic of this thread's operators happened, once.
pub(crate) fn take_place() -> Option<Place> {
    LAST.take()
}
