//! Servers that others wrote, with the workload `hello`, on one worker each.
//!
//! Each is written as its own documentation shows it, with the settings that its users would choose
//! for latency, and no more.

mod actix_web;
mod axum;
mod hyper;
mod may_minihttp;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Serves the workload from another's server until it is killed.
#[derive(Args, Debug)]
pub struct RivalArguments {
    /// Whose server.
    rival: Rival,
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rival {
    /// hyper on a single-threaded tokio, without a framework.
    Hyper,
    /// axum on a single-threaded tokio.
    Axum,
    /// actix-web with one worker.
    ActixWeb,
    /// may_minihttp with one worker.
    #[value(name = "may_minihttp")]
    MayMinihttp,
}

impl Rival {
    /// What `snapback-bench rival` calls it.
    fn name(self) -> &'static str {
        match self {
            Rival::Hyper => "hyper",
            Rival::Axum => "axum",
            Rival::ActixWeb => "actix-web",
            Rival::MayMinihttp => "may_minihttp",
        }
    }
}

/// What `snapback-bench rival` calls the servers that it can be.
pub fn names() -> impl Iterator<Item = &'static str> {
    Rival::value_variants().iter().map(|rival| rival.name())
}

#[derive(Deserialize)]
struct Hello {
    foo: String,
    #[expect(dead_code, reason = "part of the workload's schema")]
    bar: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

impl From<Hello> for FooLength {
    fn from(hello: Hello) -> Self {
        FooLength {
            foo_length: hello.foo.chars().count(),
        }
    }
}

/// Serves until it is killed.
///
/// # Errors
/// It cannot listen.
pub fn main(arguments: &RivalArguments) -> Result<ExitCode, Box<dyn Error>> {
    let serve = match arguments.rival {
        Rival::Hyper => hyper::serve,
        Rival::Axum => axum::serve,
        Rival::ActixWeb => actix_web::serve,
        Rival::MayMinihttp => may_minihttp::serve,
    };
    serve(arguments.listen)?;
    Ok(ExitCode::SUCCESS)
}

/// A tokio that has the thread it is called on, and no other.
fn single_threaded() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_what_the_command_line_takes() {
        for (rival, name) in Rival::value_variants().iter().zip(names()) {
            let value = rival.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), name);
        }
    }
}
