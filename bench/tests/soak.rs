//! A soak of a moment: every request is accounted for.

mod common;

use common::{cores, json, run};
use serde_json::Value;

fn soak(more: &[&str]) -> (bool, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("soak.json");
    let path_text = path.to_string_lossy();
    let mut arguments = vec!["soak", "--requests=12k", "--laps=6", "--json", &path_text];
    let cores = cores();
    arguments.extend(cores.iter().map(String::as_str));
    arguments.extend(more);
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(path.exists(), "it wrote no report: {said}");
    (output.status.success(), json(&path))
}

#[test]
fn every_request_is_answered_as_it_should() {
    // In its first moments a server's memory grows.
    let (stood, report) = soak(&["--growth-limit=65536"]);
    assert!(stood, "{}", report["faults"]);
    let laps = report["laps"].as_array().expect("laps");
    let requests: Vec<_> = laps
        .iter()
        .filter_map(|lap| lap["requests"].as_u64())
        .collect();
    assert_eq!(requests, [2000, 4000, 6000, 8000, 10_000, 12_000]);
    for lap in laps {
        assert_eq!(lap["failed"], 0, "{lap}");
        assert!(lap["rss_bytes"].as_u64() > Some(1 << 20), "{lap}");
    }
    let aborts = &report["aborts"]["kinds"][0];
    assert_eq!(aborts["kind"], "aborts");
    assert!(aborts["tally"]["opened"].as_u64() > Some(0), "{aborts}");
}

#[test]
fn requests_that_are_answered_otherwise_are_seen() {
    // The pipeline of hello refuses all that the soak asks for: what should be echoed, and what
    // should be an error of the server. What should be refused is.
    let server = "hello={self} serve hello --listen 127.0.0.1:0 --cores {core}";
    let (stood, report) = soak(&["--growth-limit=65536", "--server", server]);
    assert!(!stood);
    for lap in report["laps"].as_array().expect("laps") {
        assert_eq!(lap["failed"], 2000 - 160, "{lap}");
    }
    let faults = report["faults"].to_string();
    assert!(
        faults.contains("11040 requests were not answered"),
        "{faults}"
    );
}
