//! The program `snapback`: services from a command line or a file, checked, tested and served.

mod cases;
mod collisions;
mod commands;
mod definition;
mod explain;
mod file;
mod lint;
mod sample;
mod serve;
mod tables;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::main(&commands::Arguments::parse())
}
