//! The program, as its tests run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_snapback-bench");

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// What it wrote.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it was written")).expect("it is JSON")
}

/// The arguments that place the server on the first core that this process may use, and the load on
/// the last one.
pub(crate) fn cores() -> [String; 4] {
    let cores = core_affinity::get_core_ids().expect("the system tells");
    let id = |core: Option<&core_affinity::CoreId>| core.expect("at least one").id.to_string();
    [
        "--server-core".to_owned(),
        id(cores.first()),
        "--load-core".to_owned(),
        id(cores.last()),
    ]
}
