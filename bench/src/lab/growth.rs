//! How the cost grows with the work: connections, bodies, operators, partitions.

use std::error::Error;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Lab;
use super::plot::{Line, Scale, lines};
use super::servers::Ours;
use crate::address::Target;
use crate::compare::{Contender, Server, Spread};
use crate::footprint::Footprint;
use crate::load::{Arrivals, Body, Edge, LoadOptions, Percentiles, run_observed};
use crate::process::{pin, process_cpu_ns};

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
struct Point {
    latency: Percentiles,
    throughput_per_s: f64,
    cpu_us_per_request: f64,
    rss_mib: f64,
}

/// What was measured at the places of one kind of growth, in each round.
#[derive(Serialize)]
struct Growth {
    what: String,
    places: Vec<String>,
    rounds: Vec<Vec<Point>>,
}

impl Growth {
    /// The median over the rounds of a figure at each place.
    fn medians(&self, figure: impl Fn(&Point) -> f64) -> Vec<f64> {
        (0..self.places.len())
            .map(|place| Spread::of(self.rounds.iter().map(|round| figure(&round[place]))).median)
            .collect()
    }

    /// What a figure at each place is of that at the first one, within the rounds.
    fn ratios(&self, figure: impl Fn(&Point) -> f64) -> Vec<Spread> {
        let ratio = |round: &Vec<Point>, place: usize| figure(&round[place]) / figure(&round[0]);
        (0..self.places.len())
            .map(|place| Spread::of(self.rounds.iter().map(|round| ratio(round, place))))
            .collect()
    }
}

/// One place: the server, and the load on it.
struct Place {
    name: String,
    server: Contender,
    connections: usize,
    rate: Option<f64>,
    body: Body,
}

/// Rounds over all places of one kind, so that a drift of the machine is shared by all.
const ROUNDS: u32 = 5;

/// The same where something is claimed of the ratio between places.
const ROUNDS_OF_CLAIMS: u32 = 15;

/// All kinds of growth.
pub(super) fn all(lab: &mut Lab) -> Result<(), Box<dyn Error>> {
    let smoke = lab.extent.name == "smoke";
    lab.report.text("## As the work grows");
    let hello = || Ours::hello("snapback", "blocking");
    let body = |bytes: usize| -> Body {
        let text = "x".repeat(bytes.saturating_sub(19));
        Arc::from(format!("{{\"foo\":\"{text}\",\"bar\":42}}").into_bytes())
    };
    let place = |name: String, server: Contender| Place {
        name,
        server,
        connections: 32,
        rate: Some(10_000.0),
        body: body(30),
    };

    let counts: &[usize] = match smoke {
        true => &[1, 100],
        false => &[1, 10, 100, 1_000, 10_000],
    };
    let places = counts.iter().map(|&connections| Place {
        connections,
        ..place(connections.to_string(), hello().contender())
    });
    let mut places: Vec<_> = places.collect();
    places.push(place_again(&places[0]));
    grow(
        lab,
        "connections",
        "10,000 requests per second, open loop, Poisson arrivals, over so many connections. Over one \
         connection a request also waits for the one before it.",
        places,
        ROUNDS_OF_CLAIMS,
    )?;

    let sizes: &[(&str, usize, f64)] = &[
        ("30 B", 30, 1_000.0),
        ("1 KiB", 1 << 10, 1_000.0),
        ("16 KiB", 1 << 14, 1_000.0),
        ("128 KiB", 1 << 17, 500.0),
        ("1 MiB", 1 << 20, 100.0),
    ];
    let places = sizes.iter().map(|&(name, bytes, rate)| Place {
        connections: 8,
        rate: Some(rate),
        body: body(bytes),
        ..place(name.to_owned(), hello().contender())
    });
    grow(
        lab,
        "body",
        "The text in the body grows; 1,000 requests per second, 500 at 128 KiB and 100 at 1 MiB, over 8 connections.",
        places.collect(),
        ROUNDS,
    )?;

    let places = [1, 5, 20].map(|operators| Place {
        connections: 64,
        rate: None,
        ..place(
            operators.to_string(),
            hello()
                .with(&format!("--operators {operators}"))
                .contender(),
        )
    });
    grow(
        lab,
        "operators",
        "So many `map`s in the chain; 64 connections, closed loop.",
        places.into(),
        ROUNDS,
    )?;

    let places = [1, 2].map(|partitions| Place {
        connections: 64,
        rate: None,
        ..place(
            partitions.to_string(),
            hello()
                .with(&format!("--partitions {partitions}"))
                .contender(),
        )
    });
    let mut places = Vec::from(places);
    places.push(place_again(&places[0]));
    grow(
        lab,
        "partitions",
        "So many partitions, all on the server's core, since the load has the other one; 64 connections, closed loop. \
         It tells what partitions cost each other, not what a second core gives.",
        places,
        ROUNDS_OF_CLAIMS,
    )
}

/// The same place under another name: how far a ratio between places is the machine's.
fn place_again(first: &Place) -> Place {
    Place {
        name: format!("{} again (A/A)", first.name),
        server: first.server.clone(),
        body: first.body.clone(),
        ..*first
    }
}

/// A column: its name, its value, and the digits it is written with.
type Figure = (&'static str, fn(&Point) -> f64, usize);

/// Measures all places in each round, forwards and backwards in turns.
fn grow(
    lab: &mut Lab,
    what: &str,
    about: &str,
    places: Vec<Place>,
    rounds: u32,
) -> Result<(), Box<dyn Error>> {
    let rounds = match lab.extent.name {
        "smoke" => 1,
        _ => rounds,
    };
    lab.begin(&format!("growth by {what}"));
    let mut measured = Vec::new();
    for round in 0..rounds {
        let mut points = Vec::new();
        let forwards = round % 2 == 0;
        let order: Box<dyn Iterator<Item = &Place>> = match forwards {
            true => Box::new(places.iter()),
            false => Box::new(places.iter().rev()),
        };
        for place in order {
            points.push(measure(lab, place)?);
        }
        if !forwards {
            points.reverse();
        }
        measured.push(points);
        eprintln!("{what}: round {} of {rounds} done", round + 1);
    }
    let growth = Growth {
        what: what.to_owned(),
        places: places.iter().map(|place| place.name.clone()).collect(),
        rounds: measured,
    };
    lab.report.text(format!(
        "### By {what}\n\n{about} Medians of {rounds} rounds; behind × the ratio to the first line within \
         the rounds, with its quartiles."
    ));
    let figures: [Figure; 6] = [
        ("p50 µs", |point| point.latency.p50_us, 1),
        ("p99 µs", |point| point.latency.p99_us, 1),
        ("p99.9 µs", |point| point.latency.p99_9_us, 0),
        ("req/s", |point| point.throughput_per_s, 0),
        ("CPU µs/req", |point| point.cpu_us_per_request, 2),
        ("RSS MiB", |point| point.rss_mib, 1),
    ];
    let columns: Vec<_> = figures
        .iter()
        .map(|(_, figure, _)| growth.medians(figure))
        .collect();
    let header: Vec<_> = iter::once(what)
        .chain(figures.map(|(name, _, _)| name))
        .chain(["p99 ×", "CPU ×"])
        .collect();
    let ratios = [
        growth.ratios(|point| point.latency.p99_us),
        growth.ratios(|point| point.cpu_us_per_request),
    ];
    let rows = growth.places.iter().enumerate().map(|(place, name)| {
        let cells = columns.iter().zip(figures);
        let cells = cells.map(|(column, (_, _, digits))| format!("{:.digits$}", column[place]));
        let ratios = ratios.iter().map(|spreads| match place {
            0 => "1".to_owned(),
            _ => spreads[place].to_string(),
        });
        let name = iter::once(name.clone());
        name.chain(cells).chain(ratios).collect()
    });
    lab.report.table(&header, rows);
    let line = |name: &str, column: &[f64]| Line {
        name: name.to_owned(),
        points: column.iter().copied().enumerate().collect(),
    };
    let drawn = [
        line("p50", &columns[0]),
        line("p99", &columns[1]),
        line("CPU per request", &columns[4]),
    ];
    let svg = lines(what, "µs", &growth.places, &drawn, Scale::Logarithmic)?;
    lab.report
        .picture(&format!("growth-{what}"), &format!("By {what}, µs."), svg);
    lab.keep(&format!("growth-{what}"), &growth)
}

fn measure(lab: &Lab, place: &Place) -> Result<Point, Box<dyn Error>> {
    pin(lab.server_core)?;
    let server = Server::start(&place.server, lab.server_core)?;
    let target = Target::hello(server.address().clone());
    // Rare requests need a longer look.
    let duration = match place.rate {
        Some(rate) if rate < 1_000.0 => lab.extent.duration * 3,
        _ => lab.extent.duration.max(Duration::from_millis(100)),
    };
    // Each connection is to have had its first requests, for which both ends allocate.
    let first_ones = place
        .rate
        .map_or(0.0, |rate| 3.0 * place.connections as f64 / rate);
    let options = LoadOptions {
        connections: place.connections,
        rate: place.rate,
        arrivals: Arrivals::Poisson,
        duration,
        warmup: lab.extent.warmup + Duration::from_secs_f64(first_ones),
        core: Some(lab.load_core),
        body: place.body.clone(),
        ..LoadOptions::new(target)
    };
    let mut cpu_ns = [0; 2];
    let mut footprint = Footprint::default();
    let report = run_observed(&options, |edge| {
        // A server that died shows as errors of the load.
        cpu_ns[usize::from(edge == Edge::End)] = process_cpu_ns(server.pid()).unwrap_or(0);
        footprint = Footprint::of(server.pid()).unwrap_or_default();
    })?;
    if report.errors.total() > 0 {
        return Err(format!(
            "{} at {}: {:?}",
            place.server.name(),
            place.name,
            report.errors
        )
        .into());
    }
    Ok(Point {
        latency: report.latency,
        throughput_per_s: report.throughput_per_s,
        cpu_us_per_request: (cpu_ns[1] - cpu_ns[0]) as f64 / 1e3 / report.completed.max(1) as f64,
        rss_mib: footprint.rss_bytes as f64 / f64::from(1 << 20),
    })
}
