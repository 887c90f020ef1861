//! What a whole request costs in user space, in instructions: the same each time, so a request that
//! got dearer fails here without any clock.
//!
//! The bounds are those of this profile, with checks on; a release build needs fewer
//! (`bench/instructions.sh` counts them).

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// By how many parts in a hundred a count may be above what is stated, and below it before that is to
/// be stated anew. Where requests come one by one, how many wake-ups there are moves a count by one.
const MORE: f64 = 4.0;
const LESS: f64 = 10.0;

/// How many requests are counted: starting and stopping cancel out.
const REQUESTS: &str = "4000";

struct Case {
    name: &'static str,
    /// Further arguments of the server, and of the load.
    server: &'static [&'static str],
    load: &'static str,
    instructions: f64,
}

const CASES: &[Case] = &[
    Case {
        name: "hello world, one request at a time",
        server: &[],
        load: "",
        instructions: 5_430.0,
    },
    Case {
        name: "hello world, 16 at a time",
        server: &[],
        load: "--pipeline 16",
        instructions: 4_406.0,
    },
    Case {
        name: "hello world with a tee, 16 at a time",
        server: &["--tee"],
        load: "--pipeline 16",
        instructions: 5_174.0,
    },
];

#[test]
fn a_request_costs_the_instructions_that_are_stated() {
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        // Past the harness's capture, for whoever counts.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a_request_costs_the_instructions_that_are_stated: valgrind: {error}"
        );
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.sh");
    let mut wrong = Vec::new();
    for case in CASES {
        let program = env!("CARGO_BIN_EXE_snapback-bench");
        let output = Command::new("bash")
            .arg(&script)
            .args([program, "serve", "hello", "--poll-mode", "blocking"])
            .args(["--listen", "127.0.0.1:0"])
            .args(case.server)
            .env("SNAPBACK_BENCH", program)
            .env("N", REQUESTS)
            .env("LOAD", case.load)
            .output()
            .expect("bash is there");
        let (out, log) = (text(&output.stdout), text(&output.stderr));
        let count = out.split(' ').next().and_then(|count| count.parse().ok());
        let count: f64 = count.unwrap_or_else(|| panic!("{}: {out}{log}", case.name));
        let percent = 100.0 * (count / case.instructions - 1.0);
        println!("{}: {count} instructions, {percent:+.1} %", case.name);
        if !(-LESS..=MORE).contains(&percent) {
            wrong.push(format!(
                "{}: {count} instructions, where {} are stated",
                case.name, case.instructions
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
