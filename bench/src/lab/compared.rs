//! Servers in pairs: ours against the floor and the rivals, and ours over other ways.

use std::error::Error;
use std::time::Duration;

use super::ahead::who_is_ahead;
use super::plot::{Bar, bars, percentile_spectrum};
use super::servers::{Ours, floor, rivals};
use super::summary::Claim;
use super::{AGAIN, Extent, Lab};
use crate::alternate::{AlternateArguments, alternate};
use crate::compare::{
    CompareArguments, Comparison, Contender, Entrant, Measurement, Scenario, Spread, compare,
};

/// Both ways to wait, each against the floor that waits in the same way; the rivals sleep.
pub(super) fn poll_modes(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    let checkpoints = ["blocking", "adaptive", "spin"].map(|mode| lab.scratch.path().join(mode));
    let [blocking, adaptive, spin] = &checkpoints;
    let mut sleeping = Vec::new();
    let mut others = Vec::new();
    for (mode, checkpoint) in [("blocking", blocking), ("spin", spin)] {
        let mut against = vec![
            Ours::hello("snapback", mode)
                .checkpoint(checkpoint)
                .contender(),
        ];
        if mode == "blocking" {
            let ours = Ours::hello("snapback-adaptive", "adaptive");
            against.push(ours.checkpoint(adaptive).contender());
            let rivals = rivals();
            others.extend(rivals.iter().map(|rival| rival.name().to_owned()));
            against.extend(rivals);
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
            scenarios: vec![Scenario::Single, Scenario::C64, Scenario::Pipeline16],
            ..planned(lab, floor(mode), against.clone(), lab.extent.rounds)
        };
        lab.begin(&format!(
            "1 and 64 connections, and 16 requests in flight on each, {mode}"
        ));
        let first = compare(&arguments)?;
        show(lab, mode, &first)?;
        // Other numbers of connections, in fewer rounds.
        let arguments = CompareArguments {
            scenarios: vec![Scenario::C16, Scenario::C256],
            ..planned(
                lab,
                floor(mode),
                against.clone(),
                lab.extent.rounds.min(FEW),
            )
        };
        lab.begin(&format!("16 and 256 connections, {mode}"));
        let more = compare(&arguments)?;
        show(lab, &format!("{mode}-more"), &more)?;
        // Who never sleeps cannot stay up beside others on one core.
        if mode == "blocking" {
            lab.begin("20,000 and 100,000 requests/s, in turns");
            let scenarios = [Scenario::Open, Scenario::Busy];
            let open = in_turns(lab, &scenarios, &floor(mode), &against)?;
            show(lab, "blocking-in-turns", &open)?;
            sleeping.extend([first, more, open]);
        }
    }
    lab.ahead = who_is_ahead(&sleeping, "snapback", &others).map(|table| {
        let whom = match others.as_slice() {
            [only] => format!(
                "{only}, the only rival in this run (`--features rivals` brings hyper, axum, actix-web and may_minihttp)"
            ),
            _ => "the rival that is best in each line".to_owned(),
        };
        format!(
            "Snapback with `pollMode` `blocking` and a checkpoint each second, beside {whom}; all servers have one worker, \
             which sleeps while nothing is there. nginx, where it takes part, computes nothing: its reply stands in its \
             configuration.\n\n{table}"
        )
    });
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
        scenarios: vec![Scenario::Single, Scenario::C64],
        ..planned(lab, base.clone(), against.clone(), rounds)
    };
    lab.begin("a checkpoint, a Unix socket, TLS");
    let comparison = compare(&arguments)?;
    show(lab, "ways", &comparison)?;
    lab.begin("the same at 20,000 requests/s, in turns");
    let open = in_turns(lab, &[Scenario::Open], &base, &against)?;
    show(lab, "ways-in-turns", &open)
}

/// The open loop over servers that all stay up and sleep but when it is their turn: a fresh process for
/// each would need windows so long that most of them hold a stall of the machine, and then p99 is that
/// of the stalls.
fn in_turns(
    lab: &mut Lab,
    scenarios: &[Scenario],
    base: &Contender,
    against: &[Contender],
) -> Result<Comparison, Box<dyn Error>> {
    let started = |contender: &Contender| Entrant::Started(contender.clone());
    let window = WINDOW.min(lab.extent.duration);
    let mut all: Option<Comparison> = None;
    for &scenario in scenarios {
        let (connections, rate) = match scenario {
            Scenario::Busy => (64, 100_000.0),
            _ => (32, 20_000.0),
        };
        let against = against.iter().map(started).collect();
        let outcome = alternate(&AlternateArguments {
            windows: lab.extent.windows,
            window,
            connections,
            rate,
            server_core: lab.server_core,
            load_core: lab.load_core,
            ..AlternateArguments::new(started(base), against)
        })?;
        let comparison = outcome.comparison(scenario);
        match &mut all {
            None => all = Some(comparison),
            Some(all) => {
                all.pairs.extend(comparison.pairs);
                all.histograms.extend(comparison.histograms);
            }
        }
    }
    lab.report.text(format!(
        "The open loops that follow are measured in turns: the servers all stay up, and each is loaded for {} ms at a time, \
         which is so short that most such windows hold no stall of the machine. Ratios are to the base's window of the \
         same round; in brackets the 95 % confidence interval of their median. With 20,000 requests a second a server \
         falls asleep before every second one, and that one waits for it to wake up; with more it is awake.",
        window.as_millis(),
    ));
    all.ok_or_else(|| "no scenario".into())
}

/// A scenario with the rate that it has here.
pub(super) fn in_words(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Open => "20,000 requests/s over 32 connections, open loop, Poisson arrivals",
        Scenario::Busy => "100,000 requests/s over 64 connections, open loop, Poisson arrivals",
        scenario => scenario.in_words(),
    }
}

/// How long a server is loaded before it is the next one's turn.
const WINDOW: Duration = Duration::from_millis(100);

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
        let title = title.replace(scenario.in_words(), in_words(scenario));
        lab.report
            .text(format!("### {title}\n\n{}", comparison.table(scenario)));
        let histograms = comparison.histograms.iter();
        let histograms = histograms.filter(|histogram| histogram.scenario == scenario);
        let place = format!("{name}-{}", scenario.name());
        // In the order of the table, so that a server has the same colour in all pictures.
        let place_of = |server: &str| comparison.servers().iter().position(|it| *it == server);
        let mut series: Vec<_> = histograms
            .map(|histogram| {
                let order = (!histogram.is_base, place_of(&histogram.server));
                let name = match !histogram.is_base && histogram.server == comparison.base {
                    true => format!("{} again (A/A)", comparison.base),
                    false => histogram.server.clone(),
                };
                (order, name, histogram.histogram_ns.as_slice())
            })
            .collect();
        series.sort_by_key(|(order, _, _)| *order);
        let series: Vec<_> = series
            .iter()
            .map(|(_, name, counts)| (name.as_str(), *counts))
            .collect();
        let caption = format!(
            "{}: latency by percentile, of all rounds together and so with the machine's stalls; the table has the \
             medians of the rounds, which leave them out.",
            scenario.name()
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
            quartiles: (spread.low, spread.high),
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
        let of_server = pairs().filter(|pair| pair.server == server);
        let values = of_server.map(|pair| pair.other.throughput_per_s).collect();
        match server == comparison.base {
            true => bars.push(bar("A/A", values)),
            false => bars.push(bar(server, values)),
        }
    }
    bars
}

/// What the top of the report says of this, and the index of all runs.
fn keep_figures(lab: &mut Lab, name: &str, comparison: &Comparison) {
    struct Told {
        scenario: Scenario,
        figure: &'static str,
        of: fn(&Measurement) -> f64,
        in_words: &'static str,
        more_is_better: bool,
    }
    let p50 = |measured: &Measurement| measured.p50_us;
    let throughput = |measured: &Measurement| measured.throughput_per_s;
    let told = [
        Told {
            scenario: Scenario::Single,
            figure: "p50",
            of: p50,
            in_words: "latency of one connection, p50 µs",
            more_is_better: false,
        },
        Told {
            scenario: Scenario::C64,
            figure: "requests/s",
            of: throughput,
            in_words: "requests/s over 64 connections",
            more_is_better: true,
        },
        Told {
            scenario: Scenario::Pipeline16,
            figure: "requests/s",
            of: throughput,
            in_words: "requests/s, 16 in flight on each of 16 connections",
            more_is_better: true,
        },
        Told {
            scenario: Scenario::Open,
            figure: "p50",
            of: p50,
            in_words: "latency at 20,000 requests/s, p50 µs",
            more_is_better: false,
        },
        Told {
            scenario: Scenario::Open,
            figure: "p99",
            of: |measured: &Measurement| measured.p99_us,
            in_words: "latency at 20,000 requests/s, p99 µs",
            more_is_better: false,
        },
        Told {
            scenario: Scenario::Busy,
            figure: "p99",
            of: |measured: &Measurement| measured.p99_us,
            in_words: "latency at 100,000 requests/s, p99 µs",
            more_is_better: false,
        },
    ];
    let base = &comparison.base;
    let poll_mode = name.split('-').next().unwrap_or(name);
    let checkpoint = "with a checkpoint";
    let judged = [
        ("snapback", format!("`{poll_mode}`")),
        ("snapback-adaptive", "`adaptive`, the default".to_owned()),
        (checkpoint, "with a checkpoint each second".to_owned()),
    ];
    for Told {
        scenario,
        figure,
        of,
        in_words,
        more_is_better,
    } in told
    {
        let pairs = |server: &'_ str| {
            let server = server.to_owned();
            let pairs = comparison.pairs.iter();
            pairs.filter(move |pair| pair.scenario == scenario && pair.server == server)
        };
        let ratio = |server: &str| {
            comparison.spread(pairs(server).map(|pair| of(&pair.other) / of(&pair.base)))
        };
        let value = |values: Vec<f64>| match Spread::of(values).median {
            value if value >= 1_000.0 => format!("{value:.0}"),
            value => format!("{value:.1}"),
        };
        let again = ratio(base);
        for (server, way) in &judged {
            let ours = ratio(server);
            // Of what a checkpoint costs, the tail is asked for.
            if !ours.median.is_finite()
                || *server == checkpoint && (scenario, figure) != (Scenario::Open, "p99")
            {
                continue;
            }
            let other = value(pairs(server).map(|pair| of(&pair.base)).collect());
            let beside = match *server == checkpoint {
                true => "without",
                false => "the floor",
            };
            let what = match (*server, *server == checkpoint) {
                ("snapback-adaptive", _) => {
                    format!("{figure} × floor, {}, adaptive", scenario.name())
                }
                (_, true) => format!("{figure} with a checkpoint × without, {}", scenario.name()),
                _ => format!("{figure} × floor, {}, {name}", scenario.name()),
            };
            lab.figure(what.clone(), ours.median);
            lab.figure(format!("{what}{AGAIN}"), again.median);
            lab.claims.push(Claim {
                what: format!("{in_words}, {way}"),
                ours: value(pairs(server).map(|pair| of(&pair.other)).collect()),
                other: Some((beside.to_owned(), other)),
                ratio: Some((ours, Some(again))),
                more_is_better,
            });
        }
    }
}
