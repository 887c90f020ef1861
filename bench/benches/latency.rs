//! The latency lab as a bench: `cargo bench -p snapback-bench --bench latency` measures for about seven
//! minutes, and writes a report with its raw data into `latency-reports/`; with `-- --full` it takes
//! 40. `--features rivals` puts others' servers into the same table.
//!
//! Run as a test, it goes through everything once, briefly, and keeps nothing.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Cargo passes `--bench` when it benches, and nothing when it tests.
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let benches = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| argument != "--bench");
    if std::thread::available_parallelism()?.get() < 2 {
        eprintln!("skipped: latency run: it needs a core for the server and one for the load");
        return Ok(ExitCode::SUCCESS);
    }
    let scratch = tempfile::tempdir()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut lab = Command::new(env!("CARGO_BIN_EXE_snapback-bench"));
    lab.arg("lab").args(arguments);
    match benches {
        // What cargo prints stays short: paths are seen from the root.
        true => lab.current_dir(root),
        false => lab.arg("--smoke").arg("--reports").arg(scratch.path()),
    };
    let status = lab.status()?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
