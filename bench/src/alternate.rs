//! Servers that all stay up, loaded in turns: for differences that drown in a fresh process's noise.
//!
//! `compare` starts a process for each measurement, so the layout of its memory and what the machine
//! does in those seconds go into the ratio. Here each server is started once, the base twice; all
//! sleep on the same core but the one whose window it is. Windows are short and many, so that a stall
//! of the machine spoils few of them, and the median of the ratios within the rounds forgets those.
//! Within a round the windows stand in an order by chance, and all have the same arrivals; the next
//! round has others. Beside each median stands its confidence interval, which needs no distribution.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::compare::{
    Comparison, Entered, Entrant, Measurement, Pair, Scenario, ServerHistogram, Spread,
    command_line, machine, observe,
};
use crate::load::{Arrivals, LoadOptions, Percentiles, parse_duration, recorded};
use crate::output;
use crate::process::pin;
use crate::random::SplitMix;
use crate::{HELLO_PATH, HELLO_REPLY};

/// What to load in turns, and how.
#[derive(Args, Clone, Debug)]
pub struct AlternateArguments {
    /// The server that the others are compared with, given as for `compare`. It is started twice; one that
    /// runs already is loaded twice.
    #[arg(long, value_name = "SERVER")]
    pub base: Entrant,
    /// Another server, which sleeps when nothing is asked of it; may be repeated.
    #[arg(long, value_name = "SERVER", required = true)]
    pub against: Vec<Entrant>,
    /// How many windows each server gets.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub windows: u32,
    /// How long a window is.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub window: Duration,
    /// How long the load runs before each window.
    #[arg(long, value_parser = parse_duration, default_value = "50ms")]
    pub warmup: Duration,
    /// Requests per second, open loop, Poisson arrivals.
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    /// Over how many connections.
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of the load generator.
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// Write every window and the raw histograms here, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl AlternateArguments {
    /// The defaults of the command line.
    pub fn new(base: Entrant, against: Vec<Entrant>) -> AlternateArguments {
        AlternateArguments {
            base,
            against,
            windows: 120,
            window: Duration::from_secs(1),
            warmup: Duration::from_millis(50),
            rate: 20_000.0,
            connections: 32,
            server_core: 0,
            load_core: 1,
            json: None,
        }
    }
}

/// What the windows gave.
#[derive(Debug, Serialize)]
pub struct Alternation {
    /// The names of the servers: the base, the base again, the others.
    pub servers: Vec<String>,
    /// Requests per second.
    pub rate: f64,
    /// How long a window was.
    pub window_s: f64,
    /// Of each round, in the order of the servers.
    pub windows: Vec<Vec<Measurement>>,
    /// All windows of each server together, as (ns, how often).
    pub histograms_ns: Vec<Vec<(u64, u64)>>,
    /// The same by percentile.
    pub percentiles: Vec<Percentiles>,
}

/// Runs all windows and prints the ratios; fails when any request did.
///
/// # Errors
/// A server does not start or cannot be connected to, or a file cannot be written.
pub fn main(arguments: &AlternateArguments) -> Result<ExitCode, Box<dyn Error>> {
    let alternation = alternate(arguments)?;
    output::say(alternation.tables())?;
    output::write_json(arguments.json.as_deref(), &alternation)?;
    let errors = alternation.errors();
    if errors > 0 {
        eprintln!("error: {errors} requests failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs all windows.
///
/// # Errors
/// A server does not start or cannot be connected to.
pub fn alternate(arguments: &AlternateArguments) -> Result<Alternation, Box<dyn Error>> {
    pin(arguments.server_core)?;
    let base = &arguments.base;
    let entrants: Vec<&Entrant> = [base, base].into_iter().chain(&arguments.against).collect();
    for (index, entrant) in entrants.iter().enumerate().skip(2) {
        let name = entrant.name();
        if entrants[..index].iter().any(|other| other.name() == name) {
            return Err(
                format!("two servers are named `{name}`; call one of them otherwise").into(),
            );
        }
    }
    let servers = entrants
        .iter()
        .map(|entrant| entrant.enter(arguments.server_core, HELLO_PATH))
        .collect::<Result<Vec<_>, _>>()?;
    let mut windows = Vec::new();
    let mut merged: Vec<Option<Histogram<u64>>> = servers.iter().map(|_| None).collect();
    for round in 0..arguments.windows {
        let mut measured: Vec<_> = servers.iter().map(|_| None).collect();
        let seed = u64::from(round) + 1;
        for index in shuffled(servers.len(), seed) {
            let (measurement, histogram) = window(arguments, &servers[index], seed)?;
            measured[index] = Some(measurement);
            match &mut merged[index] {
                Some(all) => all.add(&histogram)?,
                none => *none = Some(histogram),
            }
        }
        windows.push(measured.into_iter().flatten().collect());
        if (round + 1) % 10 == 0 {
            eprintln!("{} of {} windows done", round + 1, arguments.windows);
        }
    }
    let merged: Vec<_> = merged.into_iter().flatten().collect();
    let mut names: Vec<_> = entrants.iter().map(|it| it.name().to_owned()).collect();
    names[1] = format!("{} again (A/A)", names[0]);
    Ok(Alternation {
        servers: names,
        rate: arguments.rate,
        window_s: arguments.window.as_secs_f64(),
        windows,
        percentiles: merged.iter().map(Percentiles::of).collect(),
        histograms_ns: merged.iter().map(recorded).collect(),
    })
}

/// The numbers below `count`, in an order by chance: who comes behind whom is another one each time.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut random = SplitMix::new(seed);
    let mut order: Vec<_> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

fn window(
    arguments: &AlternateArguments,
    server: &Entered,
    seed: u64,
) -> Result<(Measurement, Histogram<u64>), Box<dyn Error>> {
    let options = LoadOptions {
        connections: arguments.connections,
        rate: Some(arguments.rate),
        arrivals: Arrivals::Poisson,
        seed,
        duration: arguments.window,
        warmup: arguments.warmup,
        core: Some(arguments.load_core),
        expect_body: Some(HELLO_REPLY.as_bytes().into()),
        ..LoadOptions::new(server.target().clone())
    };
    observe(server, options)
}

impl Alternation {
    /// Requests that failed.
    pub fn errors(&self) -> u64 {
        let all = self.windows.iter().flatten();
        all.map(|measurement| measurement.errors).sum()
    }

    /// What a figure of each server is of the base's, window by window: the base again comes first.
    pub fn ratios(&self, figure: fn(&Measurement) -> f64) -> Vec<Vec<f64>> {
        let of = |index: usize| {
            let windows = self.windows.iter();
            windows.map(move |window| figure(&window[index]) / figure(&window[0]))
        };
        (1..self.servers.len())
            .map(|index| of(index).collect())
            .collect()
    }

    /// The windows as pairs, each server's beside the base's of the same round.
    pub fn comparison(&self, scenario: Scenario) -> Comparison {
        let (base, again) = (&self.servers[0], 1);
        let name = |index: usize| match index {
            index if index == again => base.clone(),
            index => self.servers[index].clone(),
        };
        let windows = (0..).zip(&self.windows);
        let pairs = windows.flat_map(|(round, window)| {
            (1..window.len()).map(move |index| Pair {
                scenario,
                server: name(index),
                round,
                base: window[0].clone(),
                other: window[index].clone(),
            })
        });
        let histograms = self.histograms_ns.iter().enumerate();
        Comparison {
            machine: machine(),
            command: command_line(),
            base: base.clone(),
            is_in_turns: true,
            pairs: pairs.collect(),
            histograms: histograms
                .map(|(index, histogram_ns)| ServerHistogram {
                    scenario,
                    server: name(index),
                    is_base: index == 0,
                    histogram_ns: histogram_ns.clone(),
                })
                .collect(),
        }
    }

    /// The percentiles of each server, and the ratios to the base, in Markdown.
    pub fn tables(&self) -> String {
        let mut text =
            "| server | p50 µs | p99 µs | p99.9 µs | max µs | CPU µs/req |\n|---|---|---|---|---|---|\n".to_owned();
        for (index, (name, percentiles)) in self.servers.iter().zip(&self.percentiles).enumerate() {
            let Percentiles {
                p50_us,
                p99_us,
                p99_9_us,
                max_us,
                ..
            } = percentiles;
            let windows = self.windows.iter();
            let cpu_us = windows.filter_map(|window| window[index].cpu_us_per_request);
            let cpu_us = match Spread::of(cpu_us).median {
                cpu_us if cpu_us.is_finite() => format!("{cpu_us:.2}"),
                _ => "–".to_owned(),
            };
            text += &format!(
                "| {name} | {p50_us:.1} | {p99_us:.1} | {p99_9_us:.1} | {max_us:.0} | {cpu_us} |\n"
            );
        }
        text += &format!(
            "\nMedian of {} ratios to the base's window of the same round, and its 95 % confidence interval:\n\n\
             | server | p50 | p99 | p99.9 |\n|---|---|---|---|\n",
            self.windows.len()
        );
        let [p50, p99, p99_9] = [
            self.ratios(|m| m.p50_us),
            self.ratios(|m| m.p99_us),
            self.ratios(|m| m.p99_9_us),
        ];
        for (index, name) in self.servers.iter().skip(1).enumerate() {
            let [p50, p99, p99_9] =
                [&p50, &p99, &p99_9].map(|ratios| Spread::of_median(ratios[index].iter().copied()));
            text += &format!("| {name} | {p50} | {p99} | {p99_9} |\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_by_chance_has_everybody_once_and_differs() {
        let orders: Vec<_> = (1..=50).map(|seed| shuffled(4, seed)).collect();
        for order in &orders {
            let mut all = order.clone();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3]);
        }
        for place in 0..4 {
            let first = orders.iter().filter(|order| order[place] == 0).count();
            assert!((4..=24).contains(&first), "place {place}: {first} of 50");
        }
    }

    #[test]
    fn two_servers_of_one_name_are_refused() {
        let server = |text: &str| text.parse::<Entrant>().expect("a server");
        let against = vec![server("a=true"), server("floor=true")];
        let arguments = AlternateArguments::new(server("floor"), against);
        let error = alternate(&arguments).expect_err("one is called like the base");
        assert!(error.to_string().contains("`floor`"), "{error}");
    }
}
