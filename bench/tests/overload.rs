//! An overload of a moment: the report tells what the server did.

mod common;

use common::{cores, json, run};
use serde_json::Value;

/// `overload` against a pipeline of a millisecond, whose maximum is below 1000 requests/s; gives
/// whether the server stood it, and the report.
fn overload(more: &[&str]) -> (bool, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("overload.json");
    let path_text = path.to_string_lossy();
    let server = "busy={self} serve busy --work 1ms --listen 127.0.0.1:0 --cores {core}";
    let mut arguments = vec!["overload", "--server", server, "--json", &path_text];
    // On a machine that is busy with other tests the maximum may be far below what a moment later
    // is possible: thirty times as much is too much in any case.
    let small = "--maximum=300ms --around=500ms --duration=1s --connections=20 --times=30";
    arguments.extend(small.split(' '));
    let cores = cores();
    arguments.extend(cores.iter().map(String::as_str));
    arguments.extend(more);
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\n| overload | "), "{output:?}");
    (output.status.success(), json(&path))
}

#[test]
fn a_server_without_a_plan_serves_everybody_late() {
    // Nothing is shed: what is too much is late, or never sent.
    let (_, report) = overload(&["--goodput-limit=0.0"]);
    let phases = report["run"]["phases"].as_array().expect("phases");
    assert_eq!(phases.len(), 3, "{phases:?}");
    let maximum = report["plan"]["maximum_per_s"].as_f64().expect("a maximum");
    assert!(maximum > 0.0 && maximum < 1000.0, "{maximum}");
    let rate = |phase: usize| phases[phase]["rate_per_s"].as_f64().expect("a rate") / maximum;
    for (phase, times) in [(0, 0.5), (1, 30.0), (2, 0.5)] {
        assert!((rate(phase) - times).abs() < 1e-9, "{phases:?}");
        assert_eq!(phases[phase]["shed"], 0, "{phases:?}");
    }
    // 20 requests wait for each other, a millisecond each, and most were never sent.
    let p50_us = phases[1]["latency"]["p50_us"].as_f64().expect("a median");
    assert!(p50_us > 10_000.0, "{p50_us} µs");
    assert!(phases[1]["unsent"].as_u64() > Some(20), "{phases:?}");
    let doubts = report["doubts"].to_string();
    assert!(doubts.contains("found no connection free"), "{doubts}");
    // Two seconds in tenths.
    let steps = report["run"]["timeline"].as_array().expect("steps").len();
    assert!((19..=21).contains(&steps), "{steps} steps");
    assert!(report["goodput"].as_f64() > Some(0.1), "{report}");
}

#[test]
fn limits_that_are_passed_are_faults() {
    let (stood, report) = overload(&["--goodput-limit=50", "--recovery-limit-s=-1"]);
    assert!(!stood);
    let faults = report["faults"].to_string();
    assert!(
        faults.contains("% of the maximum, less than 5000 %"),
        "{faults}"
    );
    let recovery = [
        "after the overload, more than -1 s",
        "never as before again",
    ];
    assert!(
        recovery.iter().any(|fault| faults.contains(fault)),
        "{faults}"
    );
}

#[test]
fn a_server_that_answers_otherwise_has_no_maximum() {
    let mut arguments = vec![
        "overload",
        "--server=id={self} serve id --listen 127.0.0.1:0 --cores {core}",
        "--maximum=50ms",
    ];
    let cores = cores();
    arguments.extend(cores.iter().map(String::as_str));
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("answered nothing as wished"), "{said}");
}
