//! The instructions of a whole request in a release build, beside those that are stated. Run as a test it
//! does nothing: `tests/instructions.rs` counts those of that profile.

#[path = "../tests/common/instructions.rs"]
mod instructions;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo passes `--bench` when it benches, and nothing when it tests.
    if !std::env::args().any(|argument| argument == "--bench") {
        let names = instructions::CASES
            .iter()
            .map(|case| (case.name, case.in_tests));
        names.for_each(|(name, stated)| println!("{name}: {stated} instructions in tests"));
        return ExitCode::SUCCESS;
    }
    if let Err(why) = instructions::valgrind() {
        eprintln!("skipped: instructions of a request: {why}");
        return ExitCode::SUCCESS;
    }
    let wrong = instructions::count(env!("CARGO_BIN_EXE_snapback-bench"), |case| case.in_release);
    for case in &wrong {
        eprintln!("{case}");
    }
    match wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
