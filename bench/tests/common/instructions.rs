//! What a whole request costs in user space, in instructions: the same each time, whatever else the machine
//! does, so a request that got dearer is seen without any clock.

use std::path::Path;
use std::process::Command;

/// How many requests are counted: starting and stopping cancel out.
const REQUESTS: &str = "4000";

/// An exchange, and what it costs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Further arguments of the server, and of the load.
    server: &'static [&'static str],
    load: &'static str,
    /// Instructions of a request in the profile of tests, with its checks on.
    pub(crate) in_tests: f64,
    /// Those of a release build.
    pub(crate) in_release: f64,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "hello world, one request at a time",
        server: &[],
        load: "",
        in_tests: 4_915.0,
        in_release: 3_172.0,
    },
    Case {
        name: "hello world, 64 connections",
        server: &[],
        load: "--connections 64",
        in_tests: 4_430.0,
        in_release: 2_866.0,
    },
    Case {
        name: "hello world, 16 at a time",
        server: &[],
        load: "--pipeline 16",
        in_tests: 3_820.0,
        in_release: 2_252.0,
    },
    Case {
        name: "hello world with a tee, 16 at a time",
        server: &["--tee"],
        load: "--pipeline 16",
        in_tests: 4_582.0,
        in_release: 2_810.0,
    },
];

/// By how many parts in a hundred a count may be above what is stated, and below it before that is to
/// be stated anew. Where requests come one by one, how many wake-ups there are moves a count by one.
const MORE: f64 = 4.0;
const LESS: f64 = 10.0;

/// Whether valgrind is there, and otherwise why not.
pub(crate) fn valgrind() -> Result<(), String> {
    let version = Command::new("valgrind").arg("--version").output();
    version
        .map(drop)
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))
}

/// Counts each case, prints it, and gives those that are not as stated.
pub(crate) fn count(program: &str, stated: fn(&Case) -> f64) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.sh");
    let mut wrong = Vec::new();
    for case in CASES {
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
        let percent = 100.0 * (count / stated(case) - 1.0);
        println!("{}: {count} instructions, {percent:+.1} %", case.name);
        if !(-LESS..=MORE).contains(&percent) {
            wrong.push(format!(
                "{}: {count} instructions, where {} are stated",
                case.name,
                stated(case)
            ));
        }
    }
    wrong
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
