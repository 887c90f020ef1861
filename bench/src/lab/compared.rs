//! Servers in pairs: ours against the floor and the rivals, and ours over other ways.

use std::error::Error;

use super::plot::{Bar, bars, percentile_spectrum};
use super::servers::{Ours, floor, rivals};
use super::{AGAIN, Extent, Lab};
use crate::compare::{CompareArguments, Comparison, Contender, Entrant, Scenario, Spread, compare};

/// Both ways to wait, each against the floor that waits in the same way; the rivals sleep.
pub(super) fn poll_modes(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    let checkpoint = lab.scratch.path().join("checkpoint");
    for mode in ["blocking", "spin"] {
        let mut against = vec![
            Ours::hello("snapback", mode)
                .checkpoint(&checkpoint)
                .contender(),
        ];
        if mode == "blocking" {
            let adaptive = Ours::hello("snapback-adaptive", "adaptive");
            against.push(adaptive.checkpoint(&checkpoint).contender());
            against.extend(rivals());
        }
        lab.report.text(match mode {
            "blocking" => {
                "## Servers that sleep while nothing is there\n\nOne worker each, ours with a checkpoint each \
                 second. `snapback-adaptive` is our default: it looks for the next request without sleeping \
                 for 50 µs after the last one."
            }
            _ => {
                "## Servers that never sleep\n\n`pollMode` `spin` against a floor that spins: a whole core, for a \
                 latency without wake-ups."
            }
        });
        let arguments = CompareArguments {
            scenarios: vec![
                Scenario::Single,
                Scenario::C64,
                Scenario::Pipeline16,
                Scenario::Open,
            ],
            ..planned(lab, floor(mode), against.clone(), lab.extent.rounds)
        };
        let comparison = compare(&arguments)?;
        show(lab, mode, &comparison)?;
        // Other numbers of connections, in fewer rounds.
        let arguments = CompareArguments {
            scenarios: vec![Scenario::C16, Scenario::C256],
            ..planned(lab, floor(mode), against, lab.extent.rounds.min(FEW))
        };
        let comparison = compare(&arguments)?;
        show(lab, &format!("{mode}-more"), &comparison)?;
    }
    Ok(())
}

/// Ours over other ways than plain TCP, and with a checkpoint.
pub(super) fn paths(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    let checkpoint = lab.scratch.path().join("checkpoint-of-paths");
    let socket = lab.scratch.path().join("socket");
    let base = Ours::hello("plain TCP", "blocking").contender();
    let against = vec![
        Ours::hello("with a checkpoint", "blocking")
            .checkpoint(&checkpoint)
            .contender(),
        Ours::hello("Unix socket", "blocking")
            .unix(&socket)
            .contender(),
        Ours::hello("TLS 1.3", "blocking")
            .with("--tls --tls-cert-out {certificate}")
            .contender(),
    ];
    lab.report.text(
        "## Other ways to the same service\n\nOurs, blocking, without a checkpoint, over plain TCP is the base: \
         what a checkpoint each second, a Unix socket and TLS change.",
    );
    let rounds = match lab.extent.growth {
        true => lab.extent.rounds,
        false => lab.extent.rounds.min(FEW),
    };
    let arguments = CompareArguments {
        scenarios: vec![Scenario::Single, Scenario::C64, Scenario::Open],
        ..planned(lab, base, against, rounds)
    };
    let comparison = compare(&arguments)?;
    show(lab, "ways", &comparison)
}

/// A comparison as the extent has it.
fn planned(lab: &Lab, base: Contender, against: Vec<Contender>, rounds: u32) -> CompareArguments {
    let Extent {
        duration, warmup, ..
    } = lab.extent;
    CompareArguments {
        against: against.into_iter().map(Entrant::Started).collect(),
        rounds,
        duration,
        warmup,
        server_core: lab.server_core,
        load_core: lab.load_core,
        ..CompareArguments::new(Entrant::Started(base))
    }
}

/// How often is enough where no bound is to be shown.
const FEW: u32 = 3;

/// Tables, pictures and raw data of a comparison.
fn show(lab: &mut Lab, name: &str, comparison: &Comparison) -> Result<(), Box<dyn Error>> {
    let failed: u64 = comparison.errors();
    if failed > 0 {
        return Err(format!("{failed} requests failed; {name}.json would hide it").into());
    }
    lab.keep(name, comparison)?;
    for scenario in comparison.scenarios() {
        let title = comparison.title(scenario);
        lab.report
            .text(format!("### {title}\n\n{}", comparison.table(scenario)));
        let histograms = comparison.histograms.iter();
        let histograms = histograms.filter(|histogram| histogram.scenario == scenario);
        let place = format!("{name}-{}", scenario.name());
        let series: Vec<_> = histograms
            .filter(|histogram| histogram.server != comparison.base || histogram.is_base)
            .map(|histogram| (histogram.server.as_str(), histogram.histogram_ns.as_slice()))
            .collect();
        let caption = format!(
            "{}: latency by percentile, of all rounds.",
            scenario.title()
        );
        lab.report
            .picture(&place, &caption, percentile_spectrum(&series)?);
        if scenario == Scenario::C64 {
            let caption = "Requests per second: medians, with the quartiles of the rounds.";
            let svg = bars("requests per second", &throughputs(comparison, scenario))?;
            lab.report
                .picture(&format!("{place}-throughput"), caption, svg);
        }
    }
    keep_figures(lab, name, comparison);
    Ok(())
}

/// The throughput of each server, the base first.
fn throughputs(comparison: &Comparison, scenario: Scenario) -> Vec<Bar> {
    let bar = |name: &str, values: Vec<f64>| {
        let spread = Spread::of(values);
        Bar {
            name: name.to_owned(),
            value: spread.median,
            quartiles: (spread.first_quartile, spread.third_quartile),
        }
    };
    let pairs = || {
        comparison
            .pairs
            .iter()
            .filter(|pair| pair.scenario == scenario)
    };
    let base = pairs().map(|pair| pair.base.throughput_per_s).collect();
    let mut bars = vec![bar(&comparison.base, base)];
    for server in comparison.servers() {
        if server != comparison.base {
            let of_server = pairs().filter(|pair| pair.server == server);
            let values = of_server.map(|pair| pair.other.throughput_per_s).collect();
            bars.push(bar(server, values));
        }
    }
    bars
}

/// What the index of all runs shows of this.
fn keep_figures(lab: &mut Lab, name: &str, comparison: &Comparison) {
    let base = &comparison.base;
    for (server, scenario, figure, of) in [
        ("snapback", Scenario::Single, "p50", 0),
        ("snapback", Scenario::C64, "requests/s", 1),
        ("snapback", Scenario::Pipeline16, "requests/s", 1),
    ] {
        let pairs = comparison
            .pairs
            .iter()
            .filter(|pair| pair.scenario == scenario);
        let ratios = |server: &str| {
            let of_server = pairs.clone().filter(|pair| pair.server == server);
            let ratio = of_server.map(|pair| match of {
                0 => pair.other.p50_us / pair.base.p50_us,
                _ => pair.other.throughput_per_s / pair.base.throughput_per_s,
            });
            Spread::of(ratio).median
        };
        let (ours, again) = (ratios(server), ratios(base));
        if ours.is_finite() {
            let what = format!("{figure} × floor, {}, {name}", scenario.name());
            lab.figure(what.clone(), ours);
            lab.figure(format!("{what}{AGAIN}"), again);
        }
    }
}
