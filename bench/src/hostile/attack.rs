//! The hostile clients as a program, and that program as seen by who measures.
//!
//! It is a process of its own, so that its CPU time is told apart, and of the lowest priority, so
//! that the honest client on the same core runs first when both could.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setpriority_process;

use super::hostility::{AttackOptions, Hostility};
use super::swarm::{AttackReport, Swarm, Watcher};
use crate::address::{Address, Target};
use crate::load::parse_duration;
use crate::output;
use crate::process::{pin, raise_file_limit};

/// Whom to attack, and how.
#[derive(Args, Clone, Debug)]
pub struct AttackArguments {
    /// http://HOST:PORT/path.
    #[arg(value_name = "URL")]
    target: Target,
    /// The kinds of hostile clients, all at a time.
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    kinds: Vec<Hostility>,
    #[command(flatten)]
    options: AttackOptions,
    /// How long, the time in which they come up included.
    #[arg(long, value_parser = parse_duration, default_value = "1m")]
    duration: Duration,
    /// The core to run on; anywhere by default.
    #[arg(long)]
    core: Option<usize>,
    /// End with standard input, too.
    #[arg(long)]
    until_stdin_ends: bool,
    /// Write the report here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// As little as a process can ask for.
const LOWEST_PRIORITY: i32 = 19;

/// Attacks, and prints `ready N` once every client has begun (N connections are then open), and a
/// report as one line of JSON at the end.
///
/// # Errors
/// The core is not there, the server is not at a TCP port, or the options make no sense.
pub fn main(arguments: &AttackArguments) -> Result<ExitCode, Box<dyn Error>> {
    check(&arguments.options)?;
    if let Some(core) = arguments.core {
        pin(core)?;
    }
    // Where it is refused, the honest client has to share its core as equals do.
    let _ = setpriority_process(None, LOWEST_PRIORITY);
    raise_file_limit();
    let target = &arguments.target;
    if target.is_secure {
        let host = &target.host;
        return Err(format!("https://{host}: hostile clients speak plain HTTP").into());
    }
    let server = tcp_address(&target.address)?;
    let swarm = Swarm::new(target, server, &arguments.kinds, &arguments.options)?;
    let mut terminal = Terminal {
        until_stdin_ends: arguments.until_stdin_ends,
    };
    let report = swarm.run(arguments.duration, &mut terminal)?;
    output::say(format_args!("{}\n", serde_json::to_string(&report)?))?;
    output::write_json(arguments.json.as_deref(), &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses options that no attack can be made of.
pub(super) fn check(options: &AttackOptions) -> Result<(), String> {
    let share = options.share;
    if !(share > 0.0 && share < 1.0) {
        return Err(format!(
            "--share {share}: must be between 0 and 1, both excluded"
        ));
    }
    for (name, value) in [
        ("scale", options.scale),
        ("poison-rate", options.poison_rate),
    ] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(format!("--{name} {value}: must be more than 0"));
        }
    }
    Ok(())
}

fn tcp_address(address: &Address) -> Result<SocketAddr, String> {
    match address {
        Address::Tcp(address) => Ok(*address),
        Address::Unix(_) => Err(format!(
            "{address}: hostile clients speak TCP; let the server listen at a port"
        )),
    }
}

/// Standard input and output.
struct Terminal {
    until_stdin_ends: bool,
}

impl Watcher for Terminal {
    fn ready(&mut self, open: usize) -> io::Result<()> {
        output::say(format_args!("ready {open}\n"))
    }

    fn pause(&mut self, time: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(time).map_err(io::Error::other)?;
        let stdin = io::stdin();
        let mut watched = [PollFd::new(&stdin, PollFlags::IN)];
        let watched = match self.until_stdin_ends {
            true => &mut watched[..],
            false => &mut [],
        };
        Ok(poll(watched, Some(&timeout))? == 0)
    }
}

/// An attack that runs in a process of its own, and ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Attack {
    child: Child,
    /// The attack ends when this is closed, so also when this process dies.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Attack {
    /// Starts an attack on the core of the calling thread, and waits until every client has begun.
    /// It ends after `longest` in any case.
    ///
    /// # Errors
    /// The program cannot be run, or ended before it was ready.
    pub(crate) fn start(
        target: &Target,
        kinds: &[Hostility],
        options: &AttackOptions,
        longest: Duration,
    ) -> Result<Attack, Box<dyn Error>> {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let ms = |time: Duration| format!("{}ms", time.as_millis());
        let mut child = Command::new(std::env::current_exe()?)
            .args(["attack", &url(target), "--until-stdin-ends"])
            .args(["--kinds", &names.join(",")])
            .args(["--scale", &options.scale.to_string()])
            .args(["--share", &options.share.to_string()])
            .args(["--ramp", &ms(options.ramp)])
            .args(["--poison-rate", &options.poison_rate.to_string()])
            .args(["--seed", &options.seed.to_string()])
            .args(["--duration", &ms(longest)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("its output was not piped")?;
        let mut attack = Attack {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        let mut line = String::new();
        attack.stdout.read_line(&mut line)?;
        if !line.starts_with("ready ") {
            return Err(format!("the attack ended before it was ready: {line:?}").into());
        }
        Ok(attack)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the attack, and gives what it was.
    ///
    /// # Errors
    /// It ended in disorder.
    pub(crate) fn finish(mut self) -> Result<AttackReport, Box<dyn Error>> {
        self.stdin = None;
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the attack failed: {status}").into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and is waited for all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(target: &Target) -> String {
    format!("http://{}{}", target.address, target.path)
}
