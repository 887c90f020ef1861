//! Whether anything is lost while a server drains, or hands over to a new process.
//!
//! Real processes under load from keep-alive clients that retry nothing: busy ones, and ones with
//! pauses that span the close of their connections.
//!
//! **Lost** is a request whose sending was complete before the end of the connection could be seen,
//! and which got no reply. The client looks for the end of its connection before it sends and again
//! when the sending is complete. Saw it none both times, the request must be answered. When the end
//! came in between, while the request was being sent, the two have **crossed**: that race is a part
//! of HTTP/1.1's persistent connections (RFC 9112, section 9.5), and is counted by itself. In a
//! hand-off a **refused** connection is as bad as a lost request.

mod client;
mod server;

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use client::{Client, Pace};
use server::{Server, ServerOptions};

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Drains and hands over servers under load, and fails when a request is lost.
#[derive(Args, Clone, Debug)]
pub struct LosslessArguments {
    /// The program whose `serve` is run; this one by default.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// How many servers are drained, one after the other.
    #[arg(long, default_value_t = 300)]
    pub drains: usize,
    /// How many times a server hands over to a new one.
    #[arg(long, default_value_t = 100)]
    pub handoffs: usize,
    /// Clients that send all the time.
    #[arg(long, default_value_t = 4)]
    pub busy: usize,
    /// Clients that pause up to twice the `shutdownTimeout` between their requests.
    #[arg(long, default_value_t = 12)]
    pub pausing: usize,
    /// The partitions of each server.
    #[arg(long, default_value_t = 2)]
    pub partitions: usize,
    /// For how long a server is under load before it ends, in milliseconds.
    #[arg(long, default_value_t = 100)]
    pub serve_ms: u64,
    /// The `shutdownTimeout` of the servers, in milliseconds.
    #[arg(long, default_value_t = 300)]
    pub shutdown_ms: u64,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests with a whole reply.
    pub answered: u64,
    /// Requests without one, though their sending was complete before an end could be seen.
    pub lost: u64,
    /// Requests whose sending the end of their connection met.
    pub crossed: u64,
    /// Connections that were refused though a server should have listened.
    pub refused: u64,
    /// Replies whose request id another reply had.
    pub repeated_ids: u64,
    /// Connections whose last reply said that it was.
    pub told: u64,
    /// Connections that were closed while they were silent.
    pub closed_silent: u64,
}

impl Outcome {
    fn add(&mut self, other: &Outcome) {
        let Outcome {
            answered,
            lost,
            crossed,
            refused,
            repeated_ids,
            told,
            closed_silent,
        } = other;
        self.answered += answered;
        self.lost += lost;
        self.crossed += crossed;
        self.refused += refused;
        self.repeated_ids += repeated_ids;
        self.told += told;
        self.closed_silent += closed_silent;
    }

    /// Whether nothing is lost, refused or named twice.
    pub fn is_lossless(&self) -> bool {
        (self.lost, self.refused, self.repeated_ids) == (0, 0, 0)
    }
}

/// Runs all that was asked for, and prints what became of it.
///
/// # Errors
///
/// A server that does not start, or does not end as it should.
pub fn main(arguments: &LosslessArguments) -> Result<ExitCode, Box<dyn Error>> {
    let mut lossless = true;
    for (what, times, run) in [
        ("drains", arguments.drains, drains as fn(&_) -> _),
        ("hand-offs", arguments.handoffs, handoffs as fn(&_) -> _),
    ] {
        if times == 0 {
            continue;
        }
        let begun = Instant::now();
        let outcome: Outcome = run(arguments)?;
        lossless &= outcome.is_lossless();
        let elapsed = begun.elapsed();
        println!(
            "{times} {what} in {:.1} s: {outcome:?}",
            elapsed.as_secs_f64()
        );
    }
    Ok(match lossless {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Starts servers one after the other, and ends each by SIGTERM while clients send.
///
/// # Errors
///
/// A server that does not start, or does not exit with 0.
pub fn drains(arguments: &LosslessArguments) -> Result<Outcome, Box<dyn Error>> {
    let mut total = Outcome::default();
    for round in 0..arguments.drains {
        let server = Server::start(&ServerOptions::of(arguments, "127.0.0.1:0"))?;
        let load = Load::default();
        let outcome = thread::scope(|scope| {
            let clients = load.begin(scope, arguments, server.port, round);
            load.wait_for(arguments)?;
            load.may_end.store(true, Ordering::Release);
            server.terminate()?;
            server.ended()?;
            Ok::<_, Box<dyn Error>>(collect(clients))
        })?;
        total.add(&outcome);
    }
    Ok(total)
}

/// Starts one server, then new ones that take over from one another while clients send.
///
/// # Errors
///
/// A server that does not start, or does not exit with 0; a checkpoint that does not count each
/// answered request once.
pub fn handoffs(arguments: &LosslessArguments) -> Result<Outcome, Box<dyn Error>> {
    let directory = Scratch::new()?;
    let options = ServerOptions::of(arguments, "127.0.0.1:0").that_hands_over(&directory.0);
    let mut server = Server::start(&options)?;
    let load = Load::default();
    let outcome = thread::scope(|scope| {
        let clients = load.begin(scope, arguments, server.port, 0);
        let ended = (0..arguments.handoffs).try_for_each(|_| {
            load.wait_for(arguments)?;
            let new = Server::start(&options)?;
            let old = std::mem::replace(&mut server, new);
            old.ended()
        });
        load.is_over.store(true, Ordering::Release);
        let outcome = collect(clients);
        ended.map(|()| outcome)
    })?;
    server.terminate()?;
    server.ended()?;
    let counted = counted(&directory.0)?;
    // What crossed may have been handed out, too.
    let most = outcome.answered + outcome.lost + outcome.crossed;
    if !(outcome.answered..=most).contains(&counted) {
        let answered = outcome.answered;
        return Err(format!(
            "the checkpoint counts {counted} requests, but {answered} were answered"
        )
        .into());
    }
    Ok(outcome)
}

/// How many requests the checkpoint of a server counts.
fn counted(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let location = directory.join("checkpoint");
    let epochs = snapback::checkpoint::read_committed(&location.to_string_lossy())?;
    let newest = epochs.last().ok_or("nothing was committed")?;
    Ok(newest.partitions.values().map(|marks| marks.next).sum())
}

/// What the clients of a server share.
#[derive(Debug, Default)]
struct Load {
    answered: AtomicU64,
    /// The server is about to end: a refused connection is the end of its client.
    may_end: AtomicBool,
    /// Clients are to end when they have their reply.
    is_over: AtomicBool,
}

type Running<'s> = thread::ScopedJoinHandle<'s, (Outcome, Vec<String>)>;

impl Load {
    fn begin<'s>(
        &'s self,
        scope: &'s thread::Scope<'s, '_>,
        arguments: &LosslessArguments,
        port: u16,
        round: usize,
    ) -> Vec<Running<'s>> {
        let longest = Duration::from_millis(arguments.shutdown_ms * 2);
        let paces = (0..arguments.busy).map(|_| Pace::Busy);
        let paces = paces.chain((0..arguments.pausing).map(|_| Pace::Pausing { longest }));
        let client = |(index, pace)| {
            let seed = (round * 1000 + index) as u64;
            scope.spawn(move || Client::new(port, pace, seed, self).run())
        };
        paces.enumerate().map(client).collect()
    }

    /// Lets the clients send for a while, and some requests at least.
    fn wait_for(&self, arguments: &LosslessArguments) -> Result<(), Box<dyn Error>> {
        let (begun, before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        let enough = before + 50 * arguments.busy as u64;
        while begun.elapsed() < Duration::from_millis(arguments.serve_ms)
            || self.answered.load(Ordering::Relaxed) < enough
        {
            if begun.elapsed() > PATIENCE {
                return Err("the clients are not answered".into());
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn collect(clients: Vec<Running<'_>>) -> Outcome {
    let (mut total, mut ids) = (Outcome::default(), HashSet::new());
    for client in clients {
        let (outcome, answered) = client.join().expect("a client does not panic");
        total.add(&outcome);
        for id in answered {
            total.repeated_ids += u64::from(!ids.insert(id));
        }
    }
    total
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("snapback-lossless-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
