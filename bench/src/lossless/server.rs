//! A server in a process of its own.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{LosslessArguments, PATIENCE};

/// How servers are started.
#[derive(Clone, Debug)]
pub(super) struct ServerOptions {
    program: PathBuf,
    arguments: Vec<String>,
}

impl ServerOptions {
    pub(super) fn of(arguments: &LosslessArguments, listen: &str) -> ServerOptions {
        let program = arguments.program.clone();
        let (partitions, shutdown_ms) = (arguments.partitions, arguments.shutdown_ms);
        let line = format!(
            "serve id --listen {listen} --cores off --partitions {partitions} --trigger-ms 50 \
             --option shutdownTimeout={shutdown_ms}ms"
        );
        ServerOptions {
            program: program.unwrap_or_else(|| "/proc/self/exe".into()),
            arguments: line.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// With a socket for hand-offs and a checkpoint in this directory.
    pub(super) fn that_hands_over(mut self, directory: &Path) -> ServerOptions {
        let socket = directory.join("handoff.sock");
        let handoff = format!("handoffSocket={}", socket.display());
        let checkpoint = directory.join("checkpoint").display().to_string();
        let more = ["--option", &handoff, "--checkpoint", &checkpoint];
        self.arguments.extend(more.map(str::to_owned));
        self
    }
}

/// A server that listens.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Open until the end: the server could not print otherwise.
    _stdout: BufReader<ChildStdout>,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn start(options: &ServerOptions) -> Result<Server, Box<dyn Error>> {
        let mut child = Command::new(&options.program)
            .args(&options.arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let Some(port) = line.trim().rsplit_once(':').map(|(_, port)| port.parse()) else {
            let _ = child.kill();
            let status = child.wait()?;
            return Err(format!("the server did not start: {status}").into());
        };
        Ok(Server {
            child,
            _stdout: stdout,
            port: port?,
        })
    }

    /// Asks it to drain.
    pub(super) fn terminate(&self) -> Result<(), Box<dyn Error>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("no process")?, Signal::TERM)?)
    }

    /// Waits until it has exited with 0.
    pub(super) fn ended(mut self) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the server ended with {status}").into()),
                None if begun.elapsed() > PATIENCE => return Err("the server does not end".into()),
                None => std::thread::park_timeout(std::time::Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
