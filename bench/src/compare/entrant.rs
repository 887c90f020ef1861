//! Who takes part in a comparison: servers that are started for it, and servers that run already.

use std::path::Path;
use std::str::FromStr;

use super::contender::{Contender, ContenderError, Server};
use crate::address::Target;
use crate::process::process_cpu_ns;

/// A server to compare, in whichever way it comes to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrant {
    /// Started for a measurement, and stopped after it.
    Started(Contender),
    /// Runs elsewhere, and is neither started nor stopped here.
    Running(Outsider),
}

/// A server that somebody else runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outsider {
    name: String,
    target: Target,
    /// Whose CPU time counts as the server's, if that is known.
    pid: Option<u32>,
}

/// How the CPU time of an outsider is given, behind its URL.
const PID: &str = ",pid=";

impl Entrant {
    /// What it is called in the table.
    pub fn name(&self) -> &str {
        match self {
            Entrant::Started(contender) => contender.name(),
            Entrant::Running(outsider) => &outsider.name,
        }
    }

    /// Makes sure that it runs, on the core that the calling thread is pinned to if it has to be
    /// started. A server that is started is asked for `path`, an outsider for what its URL says.
    ///
    /// # Errors
    /// It does not start, or the process that was named as its own is not there.
    pub fn enter(&self, core: usize, path: &str) -> Result<Entered, ContenderError> {
        match self {
            Entrant::Started(contender) => {
                let server = Server::start(contender, core)?;
                Ok(Entered {
                    target: Target {
                        path: path.into(),
                        is_secure: server.certificate().is_some(),
                        ..Target::hello(server.address().clone())
                    },
                    pid: Some(server.pid()),
                    server: Some(server),
                })
            }
            Entrant::Running(Outsider { name, target, pid }) => {
                if let Some(pid) = *pid {
                    process_cpu_ns(pid).map_err(|source| ContenderError::NoProcess {
                        name: name.clone(),
                        pid,
                        source,
                    })?;
                }
                Ok(Entered {
                    target: target.clone(),
                    pid: *pid,
                    server: None,
                })
            }
        }
    }
}

impl FromStr for Entrant {
    type Err = ContenderError;

    /// Reads `NAME=URL` or `NAME=URL,pid=PID` as an outsider, and all else as a [`Contender`].
    fn from_str(text: &str) -> Result<Entrant, ContenderError> {
        let is_url = |place: &str| place.starts_with("unix:") || place.contains("://");
        let Some((name, place)) = text.split_once('=').filter(|(name, place)| {
            let word = place.split_whitespace().next();
            !name.is_empty() && word.is_some_and(|word| word == *place && is_url(word))
        }) else {
            return text.parse().map(Entrant::Started);
        };
        let (url, pid) = match place.split_once(PID) {
            None => (place, None),
            Some((url, pid)) => {
                let is_none = |_| ContenderError::Pid {
                    name: name.into(),
                    pid: pid.into(),
                };
                (url, Some(pid.parse().map_err(is_none)?))
            }
        };
        let target = url.parse().map_err(|source| ContenderError::Url {
            name: name.into(),
            source,
        })?;
        Ok(Entrant::Running(Outsider {
            name: name.into(),
            target,
            pid,
        }))
    }
}

/// A server that can be measured; one that was started stops when this is dropped.
#[derive(Debug)]
pub struct Entered {
    target: Target,
    pid: Option<u32>,
    server: Option<Server>,
}

impl Entered {
    /// What to ask.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The certificate that it is to be trusted by, where it speaks TLS and was started.
    pub fn ca(&self) -> Option<&Path> {
        self.server.as_ref().and_then(Server::certificate)
    }

    /// Its process; `None` when it is unknown.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outsider(text: &str) -> (String, String, String, Option<u32>) {
        match text.parse() {
            Ok(Entrant::Running(Outsider { name, target, pid })) => {
                (name, target.address.to_string(), target.path, pid)
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_address_is_an_outsider_and_a_command_is_not() {
        let found = |name: &str, address: &str, path: &str, pid| {
            (name.into(), address.into(), path.into(), pid)
        };
        assert_eq!(
            outsider("a=http://127.0.0.1:80/my_api"),
            found("a", "127.0.0.1:80", "/my_api", None)
        );
        assert_eq!(
            outsider("a=http://127.0.0.1:80/b?c=d,e,pid=1234"),
            found("a", "127.0.0.1:80", "/b?c=d,e", Some(1234))
        );
        assert_eq!(
            outsider("a=unix:/run/s:/my_api,pid=1"),
            found("a", "unix:/run/s", "/my_api", Some(1))
        );
        for command in ["floor", "nginx", "a=b", "a=serve --at http://127.0.0.1:80/"] {
            let entrant: Entrant = command.parse().expect("it can be started");
            assert!(matches!(entrant, Entrant::Started(_)), "{command}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_outsider_is_said() {
        let said = |text: &str| text.parse::<Entrant>().expect_err(text).to_string();
        assert_eq!(
            said("a=http://127.0.0.1:80/,pid=x"),
            "server a: pid `x`: expected the number of a process"
        );
        let error = said("a=ftp://127.0.0.1:80/");
        assert!(error.starts_with("server a: URL `ftp:"), "{error}");
        // No system gives a process so high a number: pid_max is at most 2^22.
        let absent: Entrant = "a=http://127.0.0.1:80/,pid=4294967295"
            .parse()
            .expect("it is well-formed");
        let error = absent.enter(0, "/").expect_err("it is not there");
        let begin = "server a: process 4294967295: ";
        assert!(error.to_string().starts_with(begin), "{error}");
    }

    #[test]
    fn an_outsider_is_asked_what_its_url_says_and_has_the_time_of_its_process() {
        let enter = |text: &str| {
            let entrant: Entrant = text.parse().expect("an outsider");
            entrant.enter(0, "/another").expect("nothing is started")
        };
        let unknown = enter("a=http://127.0.0.1:80/asked");
        assert_eq!(unknown.target().path, "/asked");
        assert_eq!(unknown.pid(), None);
        let url = format!("a=http://127.0.0.1:80/,pid={}", std::process::id());
        assert_eq!(enter(&url).pid(), Some(std::process::id()));
    }
}
