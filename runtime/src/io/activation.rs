//! Listening sockets that the service manager made for this process (sd_listen_fds(3)).
//!
//! `LISTEN_PID` says for whom they are, `LISTEN_FDS` how many there are, from descriptor 3 on, and
//! `LISTEN_FDNAMES` their names. Nothing of that is believed unchecked.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use super::listen::{AdoptError, Listener, SocketOwner};
use crate::service_info::Scheme;

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: i32 = 3;
/// More sockets than this are taken for a mistake.
const MAX_SOCKETS: usize = 1024;

/// Why the sockets of the service manager cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// A variable says something that cannot be.
    #[error(
        "the service manager says {variable}={value:?}, which {reason}; start the program by its \
         socket unit, or give the option listenFds `off`"
    )]
    Variable {
        /// The name of the variable.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with that.
        reason: String,
    },
    /// A descriptor that was passed is no listening socket.
    #[error(
        "descriptor {descriptor} (`{name}`) that the service manager passed cannot be used: \
         {source}; correct the socket unit, or give the option listenFds `off`"
    )]
    Socket {
        /// The number of the descriptor.
        descriptor: i32,
        /// Its name, of `FileDescriptorName=`.
        name: String,
        /// What is wrong with it.
        source: AdoptError,
    },
    /// No socket has the name that the option `listenFds` gives.
    #[error(
        "the service manager passed no socket with the name `{wanted}`, which the option listenFds \
         gives; it passed {passed}"
    )]
    NoSuchName {
        /// The name.
        wanted: String,
        /// The names that there are.
        passed: String,
    },
    /// With a port per partition, some have a socket and some have not.
    #[error(
        "the service manager passed {passed} sockets for {partitions} partitions; give a \
         `ListenStream=` for each, or another numPartitions"
    )]
    TooFew {
        /// How many of the partitions have one.
        passed: usize,
        /// The option `numPartitions`.
        partitions: usize,
    },
    /// The socket serves another query of this process.
    #[error("the socket `{name}` of the service manager serves another query of this process")]
    InUse {
        /// Its name.
        name: String,
    },
}

/// What was passed to this process, in order.
#[derive(Debug)]
pub(crate) struct Activated {
    sockets: Vec<Passed>,
}

#[derive(Debug)]
struct Passed {
    name: String,
    descriptor: i32,
    /// Stays open, so that a query of this process can be started again.
    fd: OwnedFd,
    used: Mutex<Weak<Listener>>,
}

/// The sockets that the service manager passed; empty when it did not start this process.
pub(crate) fn activated() -> Result<&'static Activated, ActivationError> {
    static ACTIVATED: OnceLock<Activated> = OnceLock::new();
    static TAKING: Mutex<()> = Mutex::new(());
    let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = ACTIVATED.get() {
        return Ok(known);
    }
    let variable = |name| std::env::var(name).ok();
    let names = names(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )?;
    let sockets = (FIRST..)
        .zip(names)
        .map(|(descriptor, name)| take(descriptor, name));
    let sockets = sockets.collect::<Result<_, _>>()?;
    Ok(ACTIVATED.get_or_init(|| Activated { sockets }))
}

/// The names of the descriptors that are passed to the process `pid`.
fn names(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    listen_fdnames: Option<&str>,
    pid: u32,
) -> Result<Vec<String>, ActivationError> {
    let wrong = |variable, value: &str, reason: String| ActivationError::Variable {
        variable,
        value: value.to_owned(),
        reason,
    };
    // Another process's variables are inherited by those that it starts.
    let (Some(listen_pid), Some(listen_fds)) = (listen_pid, listen_fds) else {
        return Ok(Vec::new());
    };
    let listen_pid: u32 = listen_pid
        .parse()
        .map_err(|_| wrong("LISTEN_PID", listen_pid, "is no process".to_owned()))?;
    if listen_pid != pid {
        return Ok(Vec::new());
    }
    let count = listen_fds
        .parse()
        .ok()
        .filter(|count| *count <= MAX_SOCKETS);
    let count = count.ok_or_else(|| {
        let reason = format!("is no number of sockets up to {MAX_SOCKETS}");
        wrong("LISTEN_FDS", listen_fds, reason)
    })?;
    // The variable is empty both for no socket and for one without a name.
    let Some(listen_fdnames) = listen_fdnames.filter(|_| count > 0) else {
        return Ok(vec!["unknown".to_owned(); count]);
    };
    let names: Vec<_> = listen_fdnames.split(':').map(str::to_owned).collect();
    if names.len() != count {
        let reason = format!("has {} names for {count} sockets", names.len());
        return Err(wrong("LISTEN_FDNAMES", listen_fdnames, reason));
    }
    Ok(names)
}

fn take(descriptor: i32, name: String) -> Result<Passed, ActivationError> {
    // SAFETY: the borrow ends with the next statement, and a descriptor that is not open only makes
    // the call fail.
    let passed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if let Err(errno) = fcntl_setfd(passed, FdFlags::CLOEXEC) {
        let source = AdoptError::NotASocket(errno.into());
        return Err(ActivationError::Socket {
            descriptor,
            name,
            source,
        });
    }
    Ok(Passed {
        name,
        descriptor,
        // SAFETY: it is open, as the call above has shown, and was passed to this process by its
        // number: nobody else in it owns it. It is taken once, under the lock of `activated`.
        fd: unsafe { OwnedFd::from_raw_fd(descriptor) },
        used: Mutex::new(Weak::new()),
    })
}

impl Activated {
    /// The listeners with this name.
    pub(crate) fn named(
        &self,
        wanted: &str,
        scheme: Scheme,
    ) -> Result<Vec<Arc<Listener>>, ActivationError> {
        let found: Vec<_> = self.sockets.iter().filter(|it| it.name == wanted).collect();
        if found.is_empty() {
            let names: Vec<_> = self
                .sockets
                .iter()
                .map(|it| format!("`{}`", it.name))
                .collect();
            return Err(ActivationError::NoSuchName {
                wanted: wanted.to_owned(),
                passed: if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                },
            });
        }
        found.into_iter().map(|it| it.listener(scheme)).collect()
    }

    /// The listeners for which `matches` holds, and which serve no other query.
    pub(crate) fn matching(
        &self,
        scheme: Scheme,
        matches: impl Fn(&Listener) -> bool,
    ) -> Result<Vec<Arc<Listener>>, ActivationError> {
        let mut found = Vec::new();
        for socket in &self.sockets {
            // What is not a socket, or not a listening one, cannot be the one that is looked for.
            let Ok(listener) = socket.adopt(scheme) else {
                continue;
            };
            if matches(&listener) && !socket.is_used() {
                found.push(socket.listener(scheme)?);
            }
        }
        Ok(found)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

impl Passed {
    fn is_used(&self) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.strong_count() > 0
    }

    fn adopt(&self, scheme: Scheme) -> Result<Listener, AdoptError> {
        let fd = fcntl_dupfd_cloexec(self.fd.as_fd(), 0)
            .map_err(|errno| AdoptError::NotASocket(errno.into()))?;
        Listener::adopt(fd, scheme, SocketOwner::Giver)
    }

    fn listener(&self, scheme: Scheme) -> Result<Arc<Listener>, ActivationError> {
        let name = self.name.clone();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.strong_count() > 0 {
            return Err(ActivationError::InUse { name });
        }
        let listener = self
            .adopt(scheme)
            .map_err(|source| ActivationError::Socket {
                descriptor: self.descriptor,
                name,
                source,
            })?;
        let listener = Arc::new(listener);
        *used = Arc::downgrade(&listener);
        Ok(listener)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// What process 7 is passed.
    fn check(variables: [Option<&str>; 3], expect: Expect) {
        let [listen_pid, listen_fds, listen_fdnames] = variables;
        let said = match names(listen_pid, listen_fds, listen_fdnames, 7) {
            Ok(names) => format!("{names:?}"),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&said);
    }

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        check([None, None, None], expect!["[]"]);
        check([Some("7"), None, None], expect!["[]"]);
        check([None, Some("2"), None], expect!["[]"]);
        check([Some("8"), Some("2"), None], expect!["[]"]);
        check([Some("7"), Some("0"), None], expect!["[]"]);
        check([Some("7"), Some("0"), Some("")], expect!["[]"]);
        check(
            [Some("7"), Some("2"), None],
            expect![[r#"["unknown", "unknown"]"#]],
        );
        check(
            [Some("7"), Some("2"), Some("web:tls")],
            expect![[r#"["web", "tls"]"#]],
        );
        check([Some("7"), Some("2"), Some(":")], expect![[r#"["", ""]"#]]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        check(
            [Some("me"), Some("1"), None],
            expect![[
                r#"the service manager says LISTEN_PID="me", which is no process; start the program by its socket unit, or give the option listenFds `off`"#
            ]],
        );
        for count in ["-1", "1025", "x", ""] {
            let error = names(Some("7"), Some(count), None, 7)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("is no number of sockets up to 1024"),
                "{error}"
            );
        }
        check(
            [Some("7"), Some("2"), Some("web")],
            expect![[
                r#"the service manager says LISTEN_FDNAMES="web", which has 1 names for 2 sockets; start the program by its socket unit, or give the option listenFds `off`"#
            ]],
        );
    }
}
