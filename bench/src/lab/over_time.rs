//! One server over time: what epochs and the machine's stalls do to each tenth of a second.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Lab;
use super::plot::{Marks, heat_map, percentile_spectrum};
use super::servers::Ours;
use crate::HELLO_REPLY;
use crate::address::Target;
use crate::compare::Server;
use crate::load::{Arrivals, LoadOptions, LoadReport, run};
use crate::process::pin;

/// Requests per second of the loads that are shown over time.
const RATE_PER_S: f64 = 20_000.0;

/// What a server of ours says of an epoch; the rest of its record is not needed here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Epoch {
    /// When it was cut.
    pub(super) timestamp_ms: u64,
    pub(super) partitions: Vec<Partition>,
}

/// A partition in an epoch.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Partition {
    pub(super) longest_turn_us: f64,
    pub(super) longest_end_of_turn_us: f64,
}

/// The poll modes with a checkpoint under Poisson arrivals, without a checkpoint, and under constant
/// arrivals.
pub(super) fn open_loops(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    lab.report.text(format!(
        "## Over time\n\n{RATE_PER_S} requests per second over 32 connections, open loop, one run each: they show when things happen, and are no \
         comparison of tails. The stronger the colour, the more replies arrived in that tenth of a second with that latency. \
         In the margin above stand the moments when the load generator's core stood still: what they hit is not the \
         server's. An epoch is cut each second; without a checkpoint nothing is written then.",
    ));
    let checkpoint = lab.scratch.path().join("checkpoint-over-time");
    let with = |mode| Ours::hello("snapback", mode).checkpoint(&checkpoint);
    let runs = [
        (
            "blocking, a checkpoint each second",
            with("blocking"),
            Arrivals::Poisson,
        ),
        (
            "blocking, no checkpoint",
            Ours::hello("snapback", "blocking"),
            Arrivals::Poisson,
        ),
        (
            "adaptive, a checkpoint each second",
            with("adaptive"),
            Arrivals::Poisson,
        ),
        (
            "spin, a checkpoint each second",
            with("spin"),
            Arrivals::Poisson,
        ),
        ("spin, constant arrivals", with("spin"), Arrivals::Constant),
    ];
    lab.begin("five servers over time");
    let mut rows = Vec::new();
    let mut reports = Vec::new();
    for (name, ours, arrivals) in runs {
        let (report, epochs) = open_loop(lab, &ours, arrivals)?;
        let longest = |of: fn(&Partition) -> f64| {
            let partitions = epochs.iter().flat_map(|epoch| &epoch.partitions);
            partitions.map(of).fold(0.0, f64::max)
        };
        let latency = report.latency;
        rows.push(vec![
            name.to_owned(),
            format!("{:.1}", latency.p50_us),
            format!("{:.1}", latency.p99_us),
            format!("{:.1}", latency.p99_9_us),
            format!("{:.0}", latency.max_us),
            format!("{:.0}", longest(|partition| partition.longest_turn_us)),
            format!(
                "{:.1}",
                longest(|partition| partition.longest_end_of_turn_us)
            ),
            report.stalls.count.to_string(),
        ]);
        reports.push((name, report, epochs));
    }
    lab.report.table(
        &[
            "",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            "longest turn µs",
            "longest end of turn at an epoch µs",
            "times that the load's core stood still",
        ],
        rows.into_iter(),
    );
    for (name, report, epochs) in &reports {
        let marks = marks(report, epochs);
        let file = name.replace(", ", "-").replace(' ', "-");
        lab.report.picture(
            &format!("heat-{file}"),
            name,
            heat_map(&report.heat, &marks)?,
        );
        lab.keep(&format!("open-{file}"), report)?;
        let hgrm = lab.folder.join(format!("open-{file}.hgrm"));
        fs::write(&hgrm, report.hgrm()).map_err(|error| format!("{}: {error}", hgrm.display()))?;
    }
    let series: Vec<_> = reports
        .iter()
        .map(|(name, report, _)| (*name, report.histogram_ns.as_slice()))
        .collect();
    let caption = "The same by percentile.";
    lab.report
        .picture("open-spectrum", caption, percentile_spectrum(&series)?);
    Ok(())
}

/// The load over 32 connections against a fresh server, and what that says of its epochs.
fn open_loop(
    lab: &Lab,
    ours: &Ours<'_>,
    arrivals: Arrivals,
) -> Result<(LoadReport, Vec<Epoch>), Box<dyn Error>> {
    let contender = ours.clone().with("--progress {progress}").contender();
    pin(lab.server_core)?;
    let server = Server::start(&contender, lab.server_core)?;
    let target = Target::hello(server.address().clone());
    let report = run(&LoadOptions {
        connections: 32,
        rate: Some(RATE_PER_S),
        arrivals,
        duration: lab.extent.over_time,
        warmup: lab.extent.warmup,
        core: Some(lab.load_core),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(target)
    })?;
    if report.errors.total() > 0 {
        return Err(format!("{}: {:?}", contender.name(), report.errors).into());
    }
    let epochs = server.progress().map(epochs).transpose()?;
    Ok((report, epochs.unwrap_or_default()))
}

/// The progress records in a file, one a line; the last one may still be on its way.
pub(super) fn epochs(path: &Path) -> Result<Vec<Epoch>, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let epochs = whole.lines().map(serde_json::from_str);
    Ok(epochs.collect::<Result<_, _>>()?)
}

fn marks(report: &LoadReport, epochs: &[Epoch]) -> Marks {
    let begin_s = report.begin_unix_ns as f64 / 1e9;
    let cuts = epochs
        .iter()
        .map(|epoch| epoch.timestamp_ms as f64 / 1e3 - begin_s);
    let stalls = report.stalls.kept.iter();
    Marks {
        cuts_s: cuts.collect(),
        stalls_s: stalls
            .map(|stall| (stall.at_ns as f64 / 1e9, stall.length_ns as f64 / 1e9))
            .collect(),
    }
}
