//! The latency lab: everything that is claimed about latency, measured in one run, with its raw data and a
//! page that shows it.
//!
//! A run takes its own noise with it: an A/A pair in each interleaving, a clock reader on both cores
//! before and after, the stalls that the load generator sees on its own core, and the server's own
//! record of its turns. A figure that moves less than those did not move.

mod ahead;
mod compared;
mod cuts;
mod growth;
mod index;
mod machine;
mod over_time;
mod page;
mod plot;
mod report;
mod servers;
mod stall;
mod summary;
mod verdict;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;
use tempfile::TempDir;

use crate::compare::command_line;
use crate::output;
use index::{Figure, Summary};
use machine::Machine;
use report::Report;
use stall::{Probe, probe};
use summary::{Claim, summary};

/// What to measure, and where to leave it.
#[derive(Args, Clone, Debug)]
pub struct LabArguments {
    /// Measure everything: how the cost grows with connections, bodies and operators, and the mark of
    /// epochs on the tail in 20 rounds. Takes about 40 minutes instead of seven.
    #[arg(long)]
    full: bool,
    /// Go through everything once, as briefly as possible: the figures mean nothing.
    #[arg(long, conflicts_with = "full")]
    smoke: bool,
    /// The folder of all reports; this one gets a folder of its own in it.
    #[arg(long, default_value = "latency-reports")]
    reports: PathBuf,
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Only make the index of the reports that are there.
    #[arg(long)]
    index: bool,
}

/// How many parts a run has that looks neither at growth nor at epochs at length.
const PARTS: u32 = 9;

/// What the name of a figure ends with that was measured of the base itself.
const AGAIN: &str = ", A/A";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    name: &'static str,
    /// Of each comparison.
    rounds: u32,
    /// How often it is each server's turn where all stay up.
    windows: u32,
    /// Of each measurement in a round.
    duration: Duration,
    warmup: Duration,
    /// Of each run that is shown over time.
    over_time: Duration,
    /// Of each clock reader.
    probe: Duration,
    /// How many cuts of epochs are looked at; 0: none.
    cuts: u32,
    /// Rounds of the comparison with and without a checkpoint; 0: none.
    epoch_rounds: u32,
    /// Whether it is measured how the cost grows.
    growth: bool,
}

const SHORT: Extent = Extent {
    name: "short",
    rounds: 7,
    windows: 30,
    duration: Duration::from_millis(500),
    warmup: Duration::from_millis(200),
    over_time: Duration::from_secs(8),
    probe: Duration::from_secs(3),
    cuts: 1_000,
    epoch_rounds: 0,
    growth: false,
};
const FULL: Extent = Extent {
    name: "full",
    rounds: 7,
    windows: 80,
    duration: Duration::from_millis(800),
    warmup: Duration::from_millis(300),
    over_time: Duration::from_secs(15),
    probe: Duration::from_secs(5),
    cuts: 10_000,
    epoch_rounds: 20,
    growth: true,
};
const SMOKE: Extent = Extent {
    name: "smoke",
    rounds: 1,
    windows: 1,
    duration: Duration::from_millis(40),
    warmup: Duration::from_millis(5),
    over_time: Duration::from_millis(300),
    probe: Duration::from_millis(5),
    cuts: 10,
    epoch_rounds: 1,
    growth: true,
};

/// A run of the lab.
struct Lab {
    extent: Extent,
    server_core: usize,
    load_core: usize,
    /// Checkpoints, sockets and certificates; gone at the end.
    scratch: TempDir,
    /// Where the raw data goes.
    folder: PathBuf,
    report: Report,
    figures: Vec<Figure>,
    claims: Vec<Claim>,
    /// How many parts of the run have begun.
    begun: u32,
    /// Ours beside the best of the rivals, where there are any.
    ahead: Option<String>,
}

/// Runs the lab and names the page it made.
///
/// # Errors
/// A server does not start, a request fails, or a file cannot be written.
pub fn main(arguments: &LabArguments) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.index {
        let index = index::write(&arguments.reports)?;
        output::say(format_args!("index: {}\n", index.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let extent = match (arguments.full, arguments.smoke) {
        (true, _) => FULL,
        (_, true) => SMOKE,
        _ => SHORT,
    };
    let started_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let commit = commit();
    let folder = arguments.reports.join(format!("{started_unix_s}-{commit}"));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut lab = Lab {
        extent,
        server_core: arguments.server_core,
        load_core: arguments.load_core,
        scratch: tempfile::tempdir()?,
        folder: folder.clone(),
        report: Report::default(),
        figures: Vec::new(),
        claims: Vec::new(),
        begun: 0,
        ahead: None,
    };
    let machine = Machine::this();
    lab.introduction(&commit, started_unix_s, &machine)?;
    let before = lab.probes()?;
    compared::poll_modes(&mut lab)?;
    compared::paths(&mut lab)?;
    over_time::open_loops(&mut lab)?;
    cuts::ends_of_turns(&mut lab)?;
    if extent.epoch_rounds > 0 {
        cuts::with_and_without(&mut lab)?;
    }
    if extent.growth {
        growth::all(&mut lab)?;
    }
    let after = lab.probes()?;
    lab.noise(&before, &after)?;
    lab.summarize();
    let title = format!("Latency at {commit}");
    lab.report.write(&folder, &title)?;
    let summary = Summary {
        started_unix_s,
        commit,
        extent: extent.name.to_owned(),
        cpu: machine.cpu.clone(),
        kernel: machine.kernel.clone(),
        figures: lab.figures,
    };
    write_json(&folder.join("summary.json"), &summary)?;
    write_json(
        &folder.join("machine.json"),
        &Facts {
            machine: &machine,
            command: command_line(),
            commit: &summary.commit,
            started_unix_s,
            probes_before: &before,
            probes_after: &after,
        },
    )?;
    let index = index::write(&arguments.reports)?;
    let page = folder.join("report.html");
    output::say(format_args!(
        "report: {}\nall runs: {}\nBoth are files of this checkout, and new to git: keep them or not.\n",
        page.display(),
        index.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What stands beside the figures.
#[derive(Serialize)]
struct Facts<'a> {
    machine: &'a Machine,
    command: Vec<String>,
    commit: &'a str,
    started_unix_s: u64,
    probes_before: &'a [Probe],
    probes_after: &'a [Probe],
}

impl Lab {
    fn introduction(
        &mut self,
        commit: &str,
        started_unix_s: u64,
        machine: &Machine,
    ) -> Result<(), Box<dyn Error>> {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(started_unix_s));
        let extent = match self.extent.name {
            "smoke" => "smoke (so brief that its figures mean nothing)",
            name => name,
        };
        let (server_core, load_core) = (self.server_core, self.load_core);
        self.report.introduce(&format!(
            "# Latency at {commit}\n\n{date}, a {extent} run. The workload: `POST /my_api` with \
             `{{\"foo\":\"hello world\",\"bar\":42}}` is answered with `{{\"fooLength\":11}}`. Servers on core \
             {server_core}, the load on core {load_core}, each in a process of its own, over loopback.\n\n\
             ## How to read this\n\n\
             - *The floor* is a raw epoll loop written for this one request, with no limits, time-outs or \
             records: no server that speaks TCP and waits in the same way is much faster. A ratio *× floor* says what being \
             a real server costs.\n\
             - `pollMode` is how ours waits: `blocking` sleeps while no request is there, `spin` never does and burns a \
             core, `adaptive`, the default, looks for the next one without sleeping for 50 µs, then sleeps.\n\
             - *p50* is the latency of the request in the middle, *p99* that which one of a hundred exceeds.\n\
             - *Closed loop*: each connection sends its next request when it has its reply; it tells the \
             throughput. *Open loop*: requests are due at times fixed beforehand, and latency counts from \
             then, so that a server that stands still cannot hide it.\n\
             - Servers are measured in pairs, back to back, or all in turns. Ratios are the median of those within \
             the pairs, not of the medians beside them, with their quartiles in brackets, or, in turns, the 95 % confidence \
             interval of that median. *A/A* is the base against itself: where the two ranges have something in common, or \
             1 lies in the first, nothing is told apart.\n\
             - *CPU* is the server's time in user space and kernel, as the kernel accounts it; *busy* the part of a core that \
             server and load used, *switches* how often a thread of the server gave up its core, *RSS* its memory.\n\
             - Once a second ours ends an *epoch*, and notes on disk how far it has come: a *checkpoint*. What a partition \
             does for that, it does at the end of a *turn*, one pass over its ready connections. A *tee* also hands over all \
             requests and replies of the epoch.\n\
             - Machines like these, virtual ones above all, stand still for milliseconds now and then, under every server \
             alike: the longest latencies are theirs.\n\n\
             ## The machine\n\n{}",
            machine.markdown()
        ));
        Ok(())
    }

    /// The clock reader on both cores.
    fn probes(&self) -> Result<Vec<Probe>, Box<dyn Error>> {
        let mut probes = Vec::new();
        for core in [self.server_core, self.load_core] {
            probes.push(probe(core, self.extent.probe)?);
        }
        Ok(probes)
    }

    fn noise(&mut self, before: &[Probe], after: &[Probe]) -> Result<(), Box<dyn Error>> {
        let rows = before.iter().map(|probe| ("before", probe));
        let rows = rows.chain(after.iter().map(|probe| ("after", probe)));
        let rows = rows.map(|(when, probe)| {
            let long = probe.gaps_ns.iter().filter(|(ns, _)| *ns >= 1_000_000);
            let long: u64 = long.map(|(_, count)| count).sum();
            let all: u64 = probe.gaps_ns.iter().map(|(_, count)| count).sum();
            let per_second = |count: u64| count as f64 / (probe.looked_ms / 1e3);
            vec![
                format!("{when}, core {}", probe.core),
                format!("{:.0}", per_second(all)),
                format!("{:.1}", per_second(long)),
                format!("{:.0}", probe.longest_us),
                format!("{:.3} %", 100.0 * probe.stolen),
            ]
        });
        self.report.text(
            "## The machine's own noise\n\nA thread that does nothing but read the clock, on the same cores, \
             when nothing else ran: how often it was stopped, and for how long. It never sleeps: what a core takes \
             to wake up, and what the host does meanwhile, comes on top for servers that do.\n",
        );
        self.report.table(
            &[
                "",
                "stops of 10 µs or more, per s",
                "of 1 ms or more",
                "longest µs",
                "time lost",
            ],
            rows,
        );
        Ok(())
    }

    /// What most readers came for.
    fn summarize(&mut self) {
        let mut text = format!("## In short\n\n{}", summary(&self.claims));
        if let Some(ahead) = &self.ahead {
            text.push_str(&format!("\n## Who is ahead\n\n{ahead}"));
        }
        self.report.summarize(&text);
    }

    /// Tells people what is measured now.
    fn begin(&mut self, what: &str) {
        self.begun += 1;
        let growth = 4;
        let parts = match self.extent.growth {
            true => PARTS + 2 + growth,
            false => PARTS,
        };
        eprintln!("part {} of {parts}: {what}", self.begun);
    }

    /// Keeps a figure for the index of all runs.
    fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push(Figure {
            name: name.into(),
            value,
        });
    }

    /// Keeps raw data.
    fn keep(&self, name: &str, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
        write_json(&self.folder.join(format!("{name}.json")), value)
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    // Not pretty: most of it is histograms.
    let json = serde_json::to_vec(value)?;
    fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The commit that is measured, as far as git tells.
fn commit() -> String {
    let git = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit.unwrap_or_else(|| "unknown".to_owned())
}
