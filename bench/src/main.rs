//! Servers to measure and the load that measures them.
mod serve;
use clap::Parser;
#[derive(Parser)]
enum Cmd {
    Serve(serve::ServeArgs),
}
fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cmd::parse() {
        Cmd::Serve(s) => s.run(),
    }
}
