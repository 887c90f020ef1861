//! `snapback-bench`: servers to measure and the load that measures them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use snapback_bench::{
    alternate, compare, floor, hostile, lab, load, lossless, overload, serve, soak, tls,
};

/// Servers to measure and the load that measures them.
#[derive(Parser)]
#[command(name = "snapback-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a pipeline of ours until SIGTERM.
    Serve(serve::ServeArguments),
    /// Serve the workload from the raw epoll server, the floor, until SIGTERM.
    Floor(floor::FloorArguments),
    /// Serve the workload from a server that others wrote.
    #[cfg(feature = "rivals")]
    Rival(snapback_bench::rivals::RivalArguments),
    /// Load a server and report its latency; fails when a request did.
    Load(load::LoadArguments),
    /// Ask a server for more than it can do.
    Overload(overload::OverloadArguments),
    /// Measure honest requests beside hostile clients.
    Hostile(hostile::HostileArguments),
    /// Be hostile to a server: the clients of `hostile` alone.
    Attack(hostile::AttackArguments),
    /// Send millions of requests of every kind, and watch the server's memory.
    Soak(soak::SoakArguments),
    /// Drain servers, and hand them over, under load; fails when a request is lost.
    Lossless(lossless::LosslessArguments),
    /// Compare servers in pairs measured back to back, beside an A/A pair.
    Compare(compare::CompareArguments),
    /// Measure everything that is claimed of latency, and write a report with its raw data.
    Lab(lab::LabArguments),
    /// Measure the plain and the secured port of one service in pairs.
    Tls(tls::TlsArguments),
    /// Load servers that all stay up in turns, for differences of a few percent.
    Alternate(alternate::AlternateArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::main(&arguments),
        Command::Floor(arguments) => floor::main(&arguments),
        #[cfg(feature = "rivals")]
        Command::Rival(arguments) => snapback_bench::rivals::main(&arguments),
        Command::Load(arguments) => load::main(&arguments),
        Command::Overload(arguments) => overload::main(&arguments),
        Command::Hostile(arguments) => hostile::main(&arguments),
        Command::Attack(arguments) => hostile::attack_main(&arguments),
        Command::Soak(arguments) => soak::main(&arguments),
        Command::Lossless(arguments) => lossless::main(&arguments),
        Command::Lab(arguments) => lab::main(&arguments),
        Command::Tls(arguments) => tls::main(&arguments),
        Command::Compare(arguments) => compare::main(&arguments),
        Command::Alternate(arguments) => alternate::main(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
