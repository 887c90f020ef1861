//! Nothing is lost in drains and hand-offs under load; `snapback-bench lossless` is the long run.

use clap::Parser;
use snapback_bench::lossless::{LosslessArguments, Outcome, drains, handoffs};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    arguments: LosslessArguments,
}

/// A short run, on a machine that other tests share.
fn arguments(times: &[&str]) -> LosslessArguments {
    let program = env!("CARGO_BIN_EXE_snapback-bench");
    let fixed = [
        "lossless",
        "--program",
        program,
        "--busy",
        "2",
        "--pausing",
        "8",
    ];
    Arguments::parse_from(fixed.iter().chain(times)).arguments
}

fn check(outcome: &Outcome) {
    assert!(outcome.is_lossless(), "{outcome:?}");
    assert!(outcome.answered > 500, "{outcome:?}");
    assert!(outcome.told > 0, "{outcome:?}");
}

#[test]
fn drains_under_load_lose_nothing() {
    check(&drains(&arguments(&["--drains", "10"])).expect("the servers run"));
}

#[test]
fn handoffs_under_load_lose_nothing() {
    check(&handoffs(&arguments(&["--handoffs", "5"])).expect("the servers run"));
}
