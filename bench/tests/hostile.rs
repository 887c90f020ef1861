//! Hostile clients do what they say, and honest ones tell what they saw. Scaled down to a moment: what
//! a server stands is for the command itself to find out.

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{PROGRAM, cores, json, run};
use serde_json::Value;
use snapback_bench::hostile::AttackReport;

const ASSAULTS: [&str; 9] = [
    "nobody",
    "slowloris",
    "half-bodies",
    "slow-readers",
    "churn",
    "garbage",
    "gzip-bombs",
    "all",
    "poison",
];

/// `hostile`, scaled down.
fn hostile(assaults: &str, more: &[&str]) -> (Output, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.json");
    let path_text = path.to_string_lossy();
    // Records of turns that are short beside a window.
    let server = "large={self} serve large --listen 127.0.0.1:0 --cores {core} --trigger-ms 20 --progress {progress}";
    let mut arguments = vec!["hostile", "--assaults", assaults, "--server", server];
    arguments.extend(["--json", &path_text]);
    let small =
        "--scale=0.01 --ramp=50ms --poison-rate=50 --duration=150ms --warmup=10ms --newcomers=50";
    arguments.extend(small.split(' '));
    let cores = cores();
    arguments.extend(cores.iter().map(String::as_str));
    arguments.extend(more);
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(path.exists(), "it wrote no report: {said}");
    (output, json(&path))
}

#[test]
fn honest_clients_are_measured_beside_each_kind_of_hostile_ones() {
    // A busy machine makes any ratio; here it is the report that is looked at.
    let (output, report) = hostile(&ASSAULTS.join(","), &["--limit=1e9", "--rounds=1"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let verdicts = report["verdicts"].as_array().expect("verdicts");
    assert_eq!(verdicts.len(), ASSAULTS.len());
    for (verdict, assault) in verdicts.iter().zip(ASSAULTS) {
        assert_eq!(verdict["assault"], assault);
        assert!(said.contains(&format!("\n| {assault} | ")), "{said}");
        assert_eq!(verdict["failed_quiet"], 0, "{verdict}");
        assert_eq!(verdict["failed_hostile"], 0, "{verdict}");
        assert!(
            verdict["longest_turn_us"][1].as_f64() > Some(0.0),
            "{verdict}"
        );
        let bytes = |index: usize| verdict["rss_bytes"][index].as_u64();
        assert!(bytes(1) >= bytes(0) && bytes(0) > Some(0), "{verdict}");
    }
    let rounds = report["rounds"].as_array().expect("rounds");
    assert_eq!(rounds.len(), ASSAULTS.len());
    for round in rounds {
        check_round(round);
    }
}

/// A round measured what it says, and the hostile clients were there.
fn check_round(round: &Value) {
    for window in ["quiet", "hostile"] {
        let honest = &round[window]["honest"];
        // 200 a second for 150 ms.
        assert!(honest["completed"].as_u64() >= Some(20), "{honest}");
        assert!(
            round[window]["newcomers"]["count"].as_u64() >= Some(7),
            "{round}"
        );
    }
    let name = round["assault"].as_str().expect("a name");
    if name == "nobody" {
        assert!(round["attack"].is_null(), "{round}");
        return;
    }
    let attack: AttackReport =
        serde_json::from_value(round["attack"].clone()).expect("the report of an attack");
    assert!(attack.busy > 0.0 && attack.busy < 1.0, "{attack:?}");
    for kind in &attack.kinds {
        let (clients, tally) = (kind.clients as u64, &kind.tally);
        assert!(tally.opened >= clients && tally.sent_bytes > 0, "{kind:?}");
        assert_eq!(tally.refused, 0, "{kind:?}");
    }
    let tally = |name: &str| {
        let kind = attack.kinds.iter().find(|kind| kind.kind.name() == name);
        kind.map(|kind| &kind.tally)
    };
    if let Some(tally) = tally("slowloris") {
        assert_eq!(tally.open_at_end, 50, "{tally:?}");
    }
    if let Some(tally) = tally("poison") {
        assert!(tally.replies.get(&500) > Some(&0), "{tally:?}");
    }
    let descriptors = |of: &Value| of["descriptors"].as_u64().expect("a count");
    let before = descriptors(&round["before"]);
    let held: u64 = attack.kinds.iter().map(|kind| kind.tally.open_at_end).sum();
    if name == "slowloris" {
        assert!(
            descriptors(&round["hostile"]["server"]["at_end"]) >= before + held,
            "{round}"
        );
    }
    assert!(descriptors(&round["after"]) <= before, "{round}");
}

#[test]
fn honest_requests_that_fail_are_seen() {
    // A server that takes no body at all refuses every honest request.
    let (output, report) = hostile(
        "nobody",
        &["--limit=1e9", "--rounds=2", "--option=maxRequestBytes=8"],
    );
    assert!(!output.status.success(), "{output:?}");
    let verdict = &report["verdicts"][0];
    // 30 over open connections and 8 newcomers in each window of two rounds.
    for failed in ["failed_quiet", "failed_hostile"] {
        assert!(verdict[failed].as_u64() >= Some(2 * (30 + 7)), "{verdict}");
    }
    let faults = verdict["faults"].to_string();
    assert!(faults.contains("honest requests failed"), "{faults}");
    let newcomers = &report["rounds"][0]["quiet"]["newcomers"];
    check_ratios(&report);
    let first = newcomers["first_failure"].as_str().expect("a failure");
    assert!(first.contains("413"), "{first}");
}

/// The ratios are those of the windows within each round, and their median is that of two.
fn check_ratios(report: &Value) {
    let rounds = report["rounds"].as_array().expect("rounds");
    let ratios: Vec<_> = rounds
        .iter()
        .map(|round| {
            let p99_us = |window: &str| round[window]["honest"]["latency"]["p99_us"].as_f64();
            p99_us("hostile").expect("a p99") / p99_us("quiet").expect("a p99")
        })
        .collect();
    let verdict = &report["verdicts"][0];
    // JSON may cost a last digit.
    let is_near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let told = verdict["p99_ratios"].as_array().expect("ratios").iter();
    let told: Vec<_> = told.filter_map(Value::as_f64).collect();
    assert_eq!(told.len(), ratios.len());
    let mut pairs = told.iter().zip(&ratios);
    assert!(pairs.all(|(a, b)| is_near(*a, *b)), "{told:?} {ratios:?}");
    let median = verdict["p99_ratio"].as_f64().expect("a median");
    let expected = f64::midpoint(ratios[0], ratios[1]);
    assert!(is_near(median, expected), "{median} of {ratios:?}");
}

#[test]
fn limits_that_are_passed_are_faults() {
    let (output, report) = hostile(
        "nobody",
        &["--limit=0.001", "--memory-bound=1", "--rounds=2"],
    );
    assert!(!output.status.success(), "{output:?}");
    let faults = report["verdicts"][0]["faults"].to_string();
    assert!(faults.contains("times itself, more than 0.001"), "{faults}");
    assert!(
        faults.contains("MiB in round 2, more than 1 MiB"),
        "{faults}"
    );
}

/// `attack` against a listener of this test.
fn attack(listener: &TcpListener, arguments: &str) -> AttackReport {
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let mut all = vec!["attack", &url];
    all.extend(arguments.split(' '));
    let output = run(&all);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let (ready, report) = said.trim_end().rsplit_once('\n').expect("two lines");
    assert!(ready.starts_with("ready "), "{said}");
    serde_json::from_str(report).expect("a report")
}

#[test]
fn a_slowloris_sends_byte_after_byte_from_several_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (report, peers) = thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            (0..50)
                .map(|_| listener.accept().expect("one comes"))
                .collect::<Vec<_>>()
        });
        let report = attack(
            &listener,
            "--kinds slowloris --scale 0.01 --ramp 100ms --duration 3s",
        );
        (report, accepted.join().expect("all came"))
    });
    let tally = &report.kinds[0].tally;
    assert_eq!((tally.opened, tally.open_at_end), (50, 50), "{report:?}");
    // One byte at once, and another one two seconds later, on a machine that is in time.
    assert!((50..=100).contains(&tally.sent_bytes), "{report:?}");
    let mut addresses: Vec<IpAddr> = peers.iter().map(|(_, peer)| peer.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 32);
    for (mut stream, _) in peers {
        let mut begin = [0; 1];
        stream.read_exact(&mut begin).expect("it sent a byte");
        assert_eq!(begin, *b"P");
    }
}

#[test]
fn slow_readers_sip() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                let (mut stream, _) = listener.accept().expect("one comes");
                scope.spawn(move || {
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n";
                    // More than any kernel takes for a reader that does not read.
                    let reply = head.to_owned() + &"x".repeat(32 << 20);
                    stream
                        .write_all(reply.as_bytes())
                        .expect_err("the reader goes");
                });
            }
        });
        attack(
            &listener,
            "--kinds slow-readers --scale 0.01 --ramp 100ms --duration 2500ms",
        )
    });
    let tally = &report.kinds[0].tally;
    assert_eq!((tally.opened, tally.open_at_end), (10, 10), "{report:?}");
    assert_eq!(tally.replies.get(&200), Some(&10), "{report:?}");
    // 1 KiB each second: at first there is nothing yet, and then once or twice.
    assert!(
        (10 << 10..=30 << 10).contains(&tally.received_bytes),
        "{report:?}"
    );
}

#[test]
fn an_attack_stays_within_its_share_and_ends_with_who_started_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    // Connections that are closed at once make the clients as busy as they can be.
    let (done, until) = mpsc::channel::<()>();
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop::<Option<TcpStream>>(stream.ok());
            if until.try_recv().is_ok() {
                return;
            }
        }
    });
    let mut child = Command::new(PROGRAM)
        .args(["attack", &url, "--kinds", "churn", "--scale", "100"])
        .args([
            "--share",
            "0.1",
            "--ramp",
            "1ms",
            "--duration",
            "60s",
            "--until-stdin-ends",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut first = [0; 6];
    let stdout = child.stdout.as_mut().expect("it is piped");
    stdout.read_exact(&mut first).expect("it is ready");
    assert_eq!(&first, b"ready ");
    let begin = Instant::now();
    let output = child.wait_with_output().expect("closing its input ends it");
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "{:?}",
        begin.elapsed()
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.trim_end().rsplit('\n').next().expect("a line");
    let report: AttackReport = serde_json::from_str(report).expect("a report");
    // CPU time is at most wall time, of which it may use a tenth, and a slice more.
    assert!(report.busy <= 0.2, "{report:?}");
    assert!(report.kinds[0].tally.opened > 0, "{report:?}");
    let _ = done.send(());
    drop(TcpStream::connect(address));
}

#[test]
fn nobody_to_attack_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    drop(listener);
    let duration = ["--ramp", "50ms", "--duration", "300ms"];
    let mut arguments = vec!["attack", &url, "--kinds", "half-bodies", "--scale", "0.005"];
    arguments.extend(duration);
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.trim_end().rsplit('\n').next().expect("a line");
    let report: AttackReport = serde_json::from_str(report).expect("a report");
    let tally = &report.kinds[0].tally;
    assert!(tally.refused >= 5, "{report:?}");
    assert_eq!((tally.open_at_end, tally.sent_bytes), (0, 0), "{report:?}");
}

#[test]
fn options_without_sense_are_refused() {
    for (option, why) in [
        ("--share=1.5", "--share 1.5: must be between 0 and 1"),
        ("--scale=0", "--scale 0: must be more than 0"),
        ("--kinds=nice", "invalid value 'nice'"),
    ] {
        let output = run(&["attack", "http://127.0.0.1:1/", "--kinds=churn", option]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
}
