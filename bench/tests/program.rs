//! The program, as a user runs it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use snapback_bench::HELLO_REPLY;

const PROGRAM: &str = env!("CARGO_BIN_EXE_snapback-bench");

/// A floor in a process of its own, which ends with the test.
struct Floor {
    child: Child,
    url: String,
}

impl Floor {
    fn start() -> Floor {
        let mut child = Command::new(PROGRAM)
            .args(["floor", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("where it listens");
        let url = format!("http://{address}/my_api");
        Floor { child, url }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().expect("it runs until now");
        self.child.wait().expect("it was killed");
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it was written")).expect("it is JSON")
}

#[test]
fn a_load_writes_what_it_saw() {
    let folder = tempfile::tempdir().expect("a folder");
    let (json_path, hgrm_path) = (
        folder.path().join("load.json"),
        folder.path().join("load.hgrm"),
    );
    let floor = Floor::start();
    let output = run(&[
        "load",
        &floor.url,
        "--count=500",
        "--connections=4",
        "--poll-mode=blocking",
        "--expect-body",
        HELLO_REPLY,
        "--json",
        &json_path.to_string_lossy(),
        "--hgrm",
        &hgrm_path.to_string_lossy(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let report = json(&json_path);
    assert_eq!(report["completed"], 500);
    let counted = report["histogram_ns"]
        .as_array()
        .expect("a histogram")
        .iter();
    assert_eq!(
        counted.filter_map(|bucket| bucket[1].as_u64()).sum::<u64>(),
        500
    );
    let hgrm = fs::read_to_string(hgrm_path).expect("it was written");
    assert!(hgrm.contains("1/(1-Percentile)"), "{hgrm}");
    assert!(hgrm.contains("Total count    =          500]"), "{hgrm}");
}

#[test]
fn progress_is_for_terminals_and_for_who_asks() {
    let floor = Floor::start();
    let said = |more: &[&str]| {
        // A slow one, which leaves the cores to the tests that run beside it.
        let arguments = ["load", &floor.url, "--rate=200", "--duration=1300ms"];
        let quiet = ["--warmup=0s", "--poll-mode=blocking"];
        let output = run(&[arguments.as_slice(), &quiet, more].concat());
        assert!(output.status.success(), "{output:?}");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("errors: 0"), "{report}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(said(&[]), "");
    assert_eq!(said(&["--progress=never"]), "");
    // A line after a second, without the escapes of a terminal.
    let lines = said(&["--progress=always"]);
    assert!(
        lines.contains("/1.3 s · ") && !lines.contains('\u{1b}'),
        "{lines}"
    );
}

#[test]
fn a_load_with_errors_fails() {
    let floor = Floor::start();
    let url = floor.url.replace("my_api", "other");
    let output = run(&["load", &url, "--count=10", "--poll-mode=blocking"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("errors: 10 · status 4xx 10"), "{text}");
}

#[test]
fn who_reads_the_report_may_leave() {
    let floor = Floor::start();
    let mut child = Command::new(PROGRAM)
        .args([
            "load",
            &floor.url,
            "--count",
            "1000",
            "--poll-mode",
            "blocking",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_comparison_measures_each_pair_in_each_round() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("compare.json");
    let cores = core_affinity::get_core_ids().expect("the system tells");
    let core = |core: Option<&core_affinity::CoreId>| core.expect("at least one").id.to_string();
    let output = run(&[
        "compare",
        "--against=floor-spin",
        "--against=placed={self} floor --listen 127.0.0.1:{port}",
        "--rounds=2",
        "--duration=100ms",
        "--warmup=5ms",
        "--scenarios=single,c64,pipeline16,open",
        "--rate=1000",
        "--server-core",
        &core(cores.first()),
        "--load-core",
        &core(cores.last()),
        "--json",
        &path.to_string_lossy(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(table.matches("| floor again (A/A) |").count(), 4, "{table}");
    assert_eq!(table.matches("\n| placed |").count(), 4, "{table}");
    let comparison = json(&path);
    let pairs = comparison["pairs"].as_array().expect("pairs");
    // In each scenario the base, the base again and two others, with the latencies of all rounds.
    let histograms = comparison["histograms"].as_array().expect("histograms");
    assert_eq!(histograms.len(), 4 * 4);
    for histogram in histograms {
        let counts = histogram["histogram_ns"]
            .as_array()
            .expect("values and counts");
        assert!(!counts.is_empty(), "{histogram}");
    }
    // The base with itself and two others, in four scenarios and two rounds.
    assert_eq!(pairs.len(), 3 * 4 * 2);
    for pair in pairs {
        for side in ["base", "other"] {
            let rate = pair[side]["throughput_per_s"].as_f64();
            assert!(rate.is_some_and(|rate| rate > 0.0), "{pair}");
        }
    }
}

#[test]
fn a_server_that_runs_already_is_asked_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("compare.json");
    let floor = Floor::start();
    let cores = core_affinity::get_core_ids().expect("the system tells");
    let core = |core: Option<&core_affinity::CoreId>| core.expect("at least one").id.to_string();
    let output = run(&[
        "compare",
        "--base",
        &format!("known={},pid={}", floor.url, floor.child.id()),
        "--against",
        &format!("unknown={}", floor.url),
        // The path is that of the URLs.
        "--path=/elsewhere",
        "--rounds=1",
        "--duration=20ms",
        "--warmup=5ms",
        "--scenarios=single",
        "--server-core",
        &core(cores.first()),
        "--load-core",
        &core(cores.last()),
        "--json",
        &path.to_string_lossy(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("| known again (A/A) |"), "{table}");
    let comparison = json(&path);
    let pairs = comparison["pairs"].as_array().expect("pairs");
    assert_eq!(pairs.len(), 2);
    for pair in pairs {
        assert!(pair["base"]["cpu_us_per_request"].is_f64(), "{pair}");
        let is_unknown = pair["server"] == "unknown";
        let other = &pair["other"];
        assert_eq!(other["cpu_us_per_request"].is_null(), is_unknown, "{pair}");
        assert_eq!(other["server_busy"].is_null(), is_unknown, "{pair}");
    }
    // Nobody has stopped it.
    let output = run(&["load", &floor.url, "--count=10", "--poll-mode=blocking"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn tls_is_measured_beside_plain_http() {
    let arguments = ["tls", "--unpinned", "--pairs", "1", "--half-ms", "20"];
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    // Ten lines of figures: three scenarios of three kinds, and resumed connections.
    let lines: Vec<_> = said.lines().filter(|line| line.ends_with(" us")).collect();
    assert_eq!(lines.len(), 10, "{said}");
    assert!(
        lines[9].starts_with("a connection each, TLS 1.3 resumed"),
        "{said}"
    );
}
