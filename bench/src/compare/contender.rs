//! Servers to compare: how to start one, to learn where it listens, and to stop it.

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::{NamedTempFile, TempPath};

use crate::address::{Address, AddressError};
use crate::{HELLO_PATH, HELLO_REPLY};

/// A server that can be started: its name, and the command line with its placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    name: String,
    command: Vec<String>,
}

/// Why a server cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ContenderError {
    /// The text is no server.
    #[error("server `{0}`: expected floor, floor-spin, nginx or NAME=COMMAND")]
    Unknown(String),
    /// A server that runs already cannot be found.
    #[error("server {name}: {source}")]
    Url {
        /// The name of the server.
        name: String,
        /// What is wrong with its URL.
        source: AddressError,
    },
    /// What should be the number of its process is none.
    #[error("server {name}: pid `{pid}`: expected the number of a process")]
    Pid {
        /// The name of the server.
        name: String,
        /// What was given.
        pid: String,
    },
    /// The process whose CPU time should be read cannot be looked at.
    #[error(
        "server {name}: process {pid}: {source}; leave the pid away to measure without CPU time"
    )]
    NoProcess {
        /// The name of the server.
        name: String,
        /// The number of the process.
        pid: u32,
        /// What the system says.
        source: io::Error,
    },
    /// Its program cannot be run.
    #[error("server {name}: cannot run `{program}`: {source}")]
    Run {
        /// The name of the server.
        name: String,
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It did not begin to listen.
    #[error("server {name}: {what} before it listened; run its command by hand to see why")]
    NotListening {
        /// The name of the server.
        name: String,
        /// What happened instead.
        what: &'static str,
    },
}

/// The nginx of the system, answering the workload from its configuration.
const NGINX: &str = "nginx";

impl Contender {
    /// What it is called in the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same server with more arguments.
    pub fn with(mut self, arguments: impl IntoIterator<Item = String>) -> Contender {
        self.command.extend(arguments);
        self
    }
}

impl FromStr for Contender {
    type Err = ContenderError;

    /// Reads a built-in name or `NAME=COMMAND`; the words of a command are separated by spaces.
    fn from_str(text: &str) -> Result<Contender, ContenderError> {
        let (name, command) = match text {
            "floor" => (text, "{self} floor --listen 127.0.0.1:0 --core {core}"),
            "floor-spin" => (
                text,
                "{self} floor --listen 127.0.0.1:0 --core {core} --poll-mode spin",
            ),
            NGINX => (text, "nginx -c {nginx}"),
            _ => text
                .split_once('=')
                .ok_or_else(|| ContenderError::Unknown(text.into()))?,
        };
        let command: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || command.is_empty() {
            return Err(ContenderError::Unknown(text.into()));
        }
        Ok(Contender {
            name: name.into(),
            command,
        })
    }
}

/// A server that runs, and is stopped when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: Address,
    /// Kept open, so that the server can go on printing.
    _stdout: ChildStdout,
    /// Files that were written for it.
    folder: Option<PathBuf>,
    /// Where it writes what it did, if its command has a place for that.
    progress: Option<TempPath>,
    /// Where it writes the certificate that its clients are to trust, likewise.
    certificate: Option<TempPath>,
}

/// How long a server may take until it listens: a JVM with Spark in it takes six seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a server that does not say when it listens is tried.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

impl Server {
    /// Starts a server, on the core that the calling thread is pinned to, and waits until it
    /// listens.
    ///
    /// # Errors
    /// It cannot be run, it ends, or it does not listen in time.
    pub fn start(contender: &Contender, core: usize) -> Result<Server, ContenderError> {
        let port = free_port().map_err(|source| run_error(contender, source))?;
        let (mut folder, mut progress, mut certificate) = (None, None, None);
        let mut words = Vec::with_capacity(contender.command.len());
        for word in &contender.command {
            let mut word = word.replace("{core}", &core.to_string());
            if word.contains("{self}") {
                let program = std::env::current_exe().map_err(|e| run_error(contender, e))?;
                word = word.replace("{self}", &program.to_string_lossy());
            }
            if word.contains("{nginx}") {
                let written = write_nginx(port).map_err(|e| run_error(contender, e))?;
                word = word.replace("{nginx}", &written.join("nginx.conf").to_string_lossy());
                folder = Some(written);
            }
            for (place, file) in [
                ("{progress}", &mut progress),
                ("{certificate}", &mut certificate),
            ] {
                if word.contains(place) {
                    let empty = NamedTempFile::new().map_err(|e| run_error(contender, e))?;
                    word = word.replace(place, &empty.path().to_string_lossy());
                    *file = Some(empty.into_temp_path());
                }
            }
            words.push(word.replace("{port}", &port.to_string()));
        }
        let placed = contender
            .command
            .iter()
            .any(|w| w.contains("{port}") || w.contains("{nginx}"));
        let probe = placed.then_some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| run_error(contender, source))?;
        let ready = match child.stdout.take() {
            Some(mut stdout) => {
                listening(&mut child, &mut stdout, probe).map(|address| (address, stdout))
            }
            None => Err("its output was not piped"),
        };
        match ready {
            Ok((address, stdout)) => Ok(Server {
                child,
                address,
                _stdout: stdout,
                folder,
                progress,
                certificate,
            }),
            Err(what) => {
                stop(&mut child);
                Err(ContenderError::NotListening {
                    name: contender.name.clone(),
                    what,
                })
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that stands for `{certificate}` in its command: who has one speaks TLS.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// The file that stands for `{progress}` in its command.
    pub fn progress(&self) -> Option<&Path> {
        self.progress.as_deref()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child);
        if let Some(folder) = &self.folder {
            // What cannot be removed is a few kB in the system's folder for such files.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Waits until the server says where it listens, or until the port that it was told to use
/// accepts connections.
fn listening(
    child: &mut Child,
    stdout: &mut ChildStdout,
    probe: Option<SocketAddr>,
) -> Result<Address, &'static str> {
    let begin = Instant::now();
    let mut text = Vec::new();
    let mut open = true;
    while begin.elapsed() < START_TIMEOUT {
        if readable(stdout, open) {
            let mut bytes = [0; 4096];
            let count = stdout.read(&mut bytes).unwrap_or(0);
            open = count > 0;
            text.extend_from_slice(&bytes[..count]);
        }
        if probe.is_none()
            && let Some(address) = announced(&text)
        {
            return Ok(address);
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Err("it ended");
        }
        if let Some(port) = probe {
            let address = Address::Tcp(port);
            if address.connect(PROBE_INTERVAL).is_ok() {
                return Ok(address);
            }
        }
    }
    Err("30 s passed")
}

/// The address in a line `listening on ADDRESS`, once the line is complete.
fn announced(output: &[u8]) -> Option<Address> {
    let text = String::from_utf8_lossy(output);
    let (_, rest) = text.split_once("listening on ")?;
    let (line, _) = rest.split_once('\n')?;
    line.split_whitespace().next()?.parse().ok()
}

/// Waits for output, at most [`PROBE_INTERVAL`]; once the output is closed, just that long.
fn readable(stdout: &ChildStdout, open: bool) -> bool {
    let mut watched = [PollFd::new(stdout, PollFlags::IN)];
    let watched = if open { &mut watched[..] } else { &mut [] };
    let timeout = Timespec::try_from(PROBE_INTERVAL).ok();
    poll(watched, timeout.as_ref()).is_ok_and(|count| count > 0)
}

/// Asks a server to stop, and kills it when it does not.
fn stop(child: &mut Child) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // It may be gone already, and is then waited for all the same.
        let _ = kill_process(pid, Signal::TERM);
    }
    let begin = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begin.elapsed() > STOP_TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        let _ = poll(
            &mut [],
            Timespec::try_from(Duration::from_millis(1)).ok().as_ref(),
        );
    }
}

fn run_error(contender: &Contender, source: io::Error) -> ContenderError {
    let program = contender.command[0].clone();
    ContenderError::Run {
        name: contender.name.clone(),
        program,
        source,
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Writes the configuration of an nginx with one process and no logs, and gives its folder.
fn write_nginx(port: u16) -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("snapback-bench-nginx-{port}"));
    fs::create_dir_all(&folder)?;
    let place = folder.display();
    let mut temporary = String::new();
    for user in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        temporary.push_str(&format!("  {user}_temp_path {place}/{user};\n"));
    }
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 600;\n  keepalive_requests 1000000000;\n\
         {temporary}  server {{\n    listen 127.0.0.1:{port};\n    location {HELLO_PATH} {{\n      \
         default_type application/json;\n      return 200 '{HELLO_REPLY}';\n    }}\n  }}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), configuration)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_taken_when_its_line_is_complete() {
        let parsed = |output: &str| announced(output.as_bytes()).map(|address| address.to_string());
        assert_eq!(parsed("listening on 127.0.0.1:80"), None);
        assert_eq!(
            parsed("listening on 127.0.0.1:80\n"),
            Some("127.0.0.1:80".into())
        );
        assert_eq!(
            parsed("hi\nlistening on unix:/s (1)\n"),
            Some("unix:/s".into())
        );
    }

    #[test]
    fn contenders_are_built_in_or_commands() {
        let name = |text: &str| text.parse::<Contender>().map(|c| (c.name, c.command)).ok();
        assert_eq!(
            name("a=b c=d"),
            Some(("a".into(), vec!["b".into(), "c=d".into()]))
        );
        assert!(name("floor").is_some_and(|(name, _)| name == "floor"));
        for bad in ["apache", "a=", "=b", "a= "] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_server_that_ends_is_reported() {
        let contender = "true=true".parse().expect("a contender");
        let error = Server::start(&contender, 0).expect_err("it never listens");
        assert!(
            error.to_string().starts_with("server true: it ended"),
            "{error}"
        );
    }
}
