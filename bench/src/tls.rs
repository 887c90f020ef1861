//! What TLS costs: the same service over its plain and its secured port, in pairs measured back to
//! back by one client.
//!
//! The client is a blocking one with rustls, on a core of its own when there are two. It is in the
//! same process as the service, so the figures compare the two ports with each other; they are not
//! to be compared with those of [`crate::load`].

mod certificate;
mod client;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use rustls::HandshakeKind;
use snapback::prelude::*;
use snapback::{Scheme, StreamingQuery};

use crate::process::pin;
pub use certificate::SelfSigned;
use client::{Client, Security};

/// Measures the plain and the secured port of one service in pairs.
#[derive(Args, Debug)]
pub struct TlsArguments {
    /// How many pairs.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// How long each half of a pair takes, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    half_ms: u64,
    /// The core of the service.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the client.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Pin neither: for machines with one core, and for tests.
    #[arg(long)]
    unpinned: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    /// One request after the other on one connection.
    KeepAlive,
    /// So many requests on their way on one connection.
    Pipelined(usize),
    /// A connection for each request.
    Connections,
}

/// What one half of a pair gave.
struct Half {
    per_second: f64,
    latencies_ns: Histogram<u64>,
}

/// Measures, and prints a table.
///
/// # Errors
///
/// Whatever keeps the service from starting, or a request from being answered.
pub fn main(arguments: &TlsArguments) -> Result<ExitCode, Box<dyn Error>> {
    let certificate = SelfSigned::new()?;
    let query = start(&certificate, arguments)?;
    if !arguments.unpinned {
        pin(arguments.client_core)?;
    }
    let port = |scheme| {
        let found = query
            .service_info()
            .iter()
            .find(|info| info.scheme == scheme);
        found.and_then(|info| info.port).ok_or("no such port")
    };
    let (plain, secured) = (port(Scheme::Http)?, port(Scheme::Https)?);
    println!(
        "medians of {} pairs, each half {} ms",
        arguments.pairs, arguments.half_ms
    );
    println!("{:<34}{:>12}{:>12}{:>12}", "", "per second", "p50", "p99");
    for scenario in [
        Scenario::KeepAlive,
        Scenario::Pipelined(16),
        Scenario::Connections,
    ] {
        let mut kinds = vec![
            (Security::None, plain),
            (Security::tls13(&certificate), secured),
            (Security::tls12(&certificate), secured),
        ];
        if matches!(scenario, Scenario::Connections) {
            kinds.push((Security::tls13(&certificate).with_resumption(), secured));
        }
        measure(scenario, &kinds, arguments)?;
    }
    query.stop()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs all kinds in turns, and prints a line for each.
fn measure(
    scenario: Scenario,
    kinds: &[(Security, u16)],
    arguments: &TlsArguments,
) -> Result<(), Box<dyn Error>> {
    let mut halves: Vec<Vec<Half>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.pairs {
        for ((security, port), halves) in kinds.iter().zip(&mut halves) {
            let time = Duration::from_millis(arguments.half_ms);
            halves.push(run(scenario, security, *port, time)?);
        }
    }
    for ((security, _), halves) in kinds.iter().zip(halves) {
        let us = |quantile| {
            let of_half = |half: &Half| half.latencies_ns.value_at_quantile(quantile) as f64 / 1e3;
            median(halves.iter().map(of_half))
        };
        let (p50, p99) = (us(0.5), us(0.99));
        println!(
            "{:<34}{:>12.0}{p50:>9.1} us{p99:>9.1} us",
            format!("{scenario}, {security}"),
            median(halves.iter().map(|half| half.per_second)),
        );
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn run(
    scenario: Scenario,
    security: &Security,
    port: u16,
    time: Duration,
) -> Result<Half, Box<dyn Error>> {
    let mut latencies_ns = Histogram::new(3)?;
    let depth = match scenario {
        Scenario::Pipelined(depth) => depth,
        Scenario::KeepAlive | Scenario::Connections => 1,
    };
    let mut requests = 0;
    let mut client = Client::connect(security, port)?;
    client.exchange(depth)?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        let sent = Instant::now();
        if matches!(scenario, Scenario::Connections) {
            client = Client::connect(security, port)?;
        }
        client.exchange(depth)?;
        latencies_ns.record(sent.elapsed().as_nanos() as u64)?;
        requests += depth;
    }
    let per_second = requests as f64 / begun.elapsed().as_secs_f64();
    // A run in which no session was resumed would measure something else than it says.
    let is_resumed = client.handshake_kind() == Some(HandshakeKind::Resumed);
    if matches!(scenario, Scenario::Connections) && is_resumed != security.resumes() {
        return Err(format!("{security}: resumed is {is_resumed}").into());
    }
    Ok(Half {
        per_second,
        latencies_ns,
    })
}

fn start(
    certificate: &SelfSigned,
    arguments: &TlsArguments,
) -> Result<StreamingQuery, Box<dyn Error>> {
    let pinning = match arguments.unpinned {
        true => "off".to_owned(),
        false => arguments.server_core.to_string(),
    };
    let reader = Session::new()
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, crate::HELLO_PATH)
        .option("tlsPort", 0)
        .option("tlsCertFile", certificate.certificate_file().display())
        .option("tlsKeyFile", certificate.key_file().display())
        .option("numPartitions", 1)
        .option("pinning", pinning)
        .option("shutdownTimeout", "100ms");
    let query = reader
        .load()?
        .make_reply_with(|_, reply| reply.json(&serde_json::json!({ "fooLength": 11 })))
        .write_stream()
        .start()?;
    Ok(query)
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scenario::KeepAlive => f.write_str("keep-alive"),
            Scenario::Pipelined(depth) => write!(f, "{depth} pipelined"),
            Scenario::Connections => f.write_str("a connection each"),
        }
    }
}
