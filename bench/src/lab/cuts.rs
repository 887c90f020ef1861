//! The mark of epochs: how long the turn takes that cuts one, and what a checkpoint each second does to
//! the tail.

use std::error::Error;
use std::time::Duration;

use super::over_time::{Epoch, epochs};
use super::servers::Ours;
use super::summary::Claim;
use super::{AGAIN, Lab};
use crate::HELLO_REPLY;
use crate::address::Target;
use crate::alternate::{AlternateArguments, alternate};
use crate::compare::{Server, Spread};
use crate::load::{Arrivals, LoadOptions, run};
use crate::process::pin;

/// How far apart the epochs are whose cuts are looked at.
const TRIGGER_MS: u32 = 10;

/// Requests per second meanwhile.
const RATE_PER_S: f64 = 20_000.0;

/// The ends of turns at which epochs were cut, alone and with a tee that takes a hundredth of a second's
/// requests over.
pub(super) fn ends_of_turns(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    lab.begin("turns that end epochs");
    let cuts = lab.extent.cuts;
    let checkpoint = lab.scratch.path().join("checkpoint-of-cuts");
    let mut rows = Vec::new();
    // A sink's commit lasts longer than such an epoch, so that of two only one is cut: with a tee, twice
    // the time has as many cuts.
    let kinds = [
        ("a checkpoint", "", 1),
        ("a checkpoint and a tee", " --tee", 2),
    ];
    for (name, more, times) in kinds {
        let ours = Ours::hello("snapback", "blocking").checkpoint(&checkpoint);
        let trigger = format!("--trigger-ms {TRIGGER_MS} --progress {{progress}}{more}");
        let epochs = cut_under_load(lab, &ours.with(&trigger), times)?;
        let ends_us = epochs.iter().flat_map(|epoch| &epoch.partitions);
        // A record between two cuts has none.
        let ends_us = ends_us.map(|partition| partition.longest_end_of_turn_us);
        let ends_us = ends_us.filter(|&end_us| end_us > 0.0);
        let mut ends_us: Vec<_> = ends_us.take(cuts as usize).collect();
        ends_us.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let last = ends_us.len().saturating_sub(1) as f64;
            ends_us
                .get((part * last).round() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        rows.push(vec![
            name.to_owned(),
            ends_us.len().to_string(),
            format!("{:.1}", at(0.5)),
            format!("{:.1}", at(0.9)),
            format!("{:.1}", at(0.99)),
            format!("{:.1}", at(1.0)),
        ]);
        lab.keep(&name.replace("a ", "").replace(' ', "-"), &ends_us)?;
        lab.figure(format!("end of turn at a cut, {name}, p99 µs"), at(0.99));
        lab.claims.push(Claim {
            what: format!("what an epoch adds to the turn that ends it, with {name}, p99 µs"),
            ours: format!("{:.1}", at(0.99)),
            other: None,
            ratio: None,
            more_is_better: false,
        });
    }
    lab.report.text(format!(
        "## The turn that cuts an epoch\n\nAn epoch each {TRIGGER_MS} ms under {RATE_PER_S} requests per second, \
         blocking: how long a partition's end of turn took in which it handed an epoch over, by its own clock. \
         The tee also hands over every request and reply of the epoch.",
    ));
    let header = ["with", "cuts", "p50 µs", "p90 µs", "p99 µs", "longest µs"];
    lab.report.table(&header, rows.into_iter());
    Ok(())
}

/// The epochs of a server under load, so many times as many as the extent says.
fn cut_under_load(lab: &Lab, ours: &Ours<'_>, times: u64) -> Result<Vec<Epoch>, Box<dyn Error>> {
    pin(lab.server_core)?;
    let contender = ours.contender();
    let server = Server::start(&contender, lab.server_core)?;
    let target = Target::hello(server.address().clone());
    // Some more than needed: records of the last epochs are yet to be written when the load ends.
    let cuts = u64::from(lab.extent.cuts) * times * 11 / 10 + 20;
    let report = run(&LoadOptions {
        connections: 32,
        rate: Some(RATE_PER_S),
        arrivals: Arrivals::Poisson,
        duration: Duration::from_millis(cuts * u64::from(TRIGGER_MS)),
        warmup: lab.extent.warmup,
        core: Some(lab.load_core),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(target)
    })?;
    if report.errors.total() > 0 {
        return Err(format!("{}: {:?}", contender.name(), report.errors).into());
    }
    epochs(
        server
            .progress()
            .ok_or("the server was asked for its progress")?,
    )
}

/// A checkpoint each second against none, and ten times as many, in windows that take turns.
pub(super) fn with_and_without(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    let rounds = lab.extent.epoch_rounds;
    lab.report.text(format!(
        "## A checkpoint each second against none\n\n{RATE_PER_S} requests per second, open loop, blocking. All three \
         servers stay up on one core and are loaded in turns, so that each ratio is within a round; \
         in brackets the 95 % confidence interval of the median.",
    ));
    // Two epochs a window.
    against_none(lab, "alternate", 1_000, rounds, Duration::from_secs(2))?;
    lab.report.text(
        "Such windows are so long that most hold stalls of the machine. In short ones with *ten epochs a \
         second*, most hold none, but each holds an epoch; an epoch a second \
         touches a tenth as many requests.",
    );
    let window = Duration::from_millis(100);
    against_none(lab, "alternate-tenfold", 100, rounds * 20, window)
}

fn against_none(
    lab: &mut Lab,
    file: &str,
    trigger_ms: u32,
    windows: u32,
    window: Duration,
) -> Result<(), Box<dyn Error>> {
    lab.begin(&format!("an epoch each {trigger_ms} ms against none"));
    let checkpoint = lab.scratch.path().join(format!("checkpoint-{file}"));
    let trigger = format!("--trigger-ms {trigger_ms}");
    let base = Ours::hello("none", "blocking").with(&trigger);
    let against = Ours::hello("checkpoint", "blocking")
        .checkpoint(&checkpoint)
        .with(&trigger);
    let window = match lab.extent.name {
        "smoke" => Duration::from_millis(100),
        _ => window,
    };
    let outcome = alternate(&AlternateArguments {
        windows,
        window,
        rate: RATE_PER_S,
        server_core: lab.server_core,
        load_core: lab.load_core,
        ..AlternateArguments::new(base.entrant(), vec![against.entrant()])
    })?;
    if outcome.errors() > 0 {
        return Err(format!("{} requests failed", outcome.errors()).into());
    }
    lab.report.text(format!(
        "### An epoch each {trigger_ms} ms, {windows} windows of {} ms each\n\n{}",
        window.as_millis(),
        outcome.tables()
    ));
    lab.keep(file, &outcome)?;
    let ratios = outcome.ratios(|measured| measured.p99_us);
    let ratio = |index: usize| Spread::of_median(ratios[index].iter().copied());
    let (again, with) = (ratio(0), ratio(1));
    let name = format!("p99 with a checkpoint × without, epoch {trigger_ms} ms");
    lab.figure(name.clone(), with.median);
    lab.figure(format!("{name}{AGAIN}"), again.median);
    let value = |index: usize| {
        let windows = outcome.windows.iter();
        let median = Spread::of(windows.map(|window| window[index].p99_us)).median;
        format!("{median:.1}")
    };
    lab.claims.push(Claim {
        what: format!(
            "latency of {RATE_PER_S} requests/s with an epoch each {trigger_ms} ms, p99 µs"
        ),
        ours: value(2),
        other: Some(("no checkpoint".to_owned(), value(0))),
        ratio: Some((with, Some(again))),
        more_is_better: false,
    });
    Ok(())
}
