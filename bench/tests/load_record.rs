//! What a load records beside latencies: when the machine held it up, and the picture of its replies.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use snapback_bench::load::{HeatMap, LoadOptions, run};
use snapback_bench::poller::PollMode;
use snapback_bench::process::process_cpu_ns;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server of one connection, which calls `before` with the number of each request that it is about
/// to answer.
fn serve(mut before: impl FnMut(u64) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut bytes = [0; 4096];
        for request in 0.. {
            if !stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                return;
            }
            before(request);
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    format!("http://{address}/")
}

#[test]
fn a_load_generator_that_was_stopped_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let json_path = folder.path().join("load.json");
    let (asked, is_asked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    // With its tenth request unanswered the load generator has nothing to do but to spin.
    let url = serve(move |request| {
        if request == 10 {
            asked.send(()).expect("the test waits");
            may_go_on.recv().expect("the test goes on");
        }
    });
    let child = Command::new(env!("CARGO_BIN_EXE_snapback-bench"))
        .args(["load", &url, "--count=20", "--duration=30s", "--json"])
        .arg(&json_path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    is_asked.recv().expect("the tenth request comes");
    // It may still be in the call that sent the request; so much time of its core it spends only
    // when it is out of there and spins.
    let cpu_ns = || process_cpu_ns(child.id()).expect("it runs");
    let sent_ns = cpu_ns();
    while cpu_ns() < sent_ns + 10_000_000 {}
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).expect("it runs");
    #[expect(clippy::disallowed_methods, reason = "the stall is what is measured")]
    thread::sleep(Duration::from_millis(50));
    kill_process(pid, Signal::CONT).expect("it is stopped");
    go_on.send(()).expect("the server waits");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("\nstalls of this machine, not of the server: "),
        "{text}"
    );
    let json = fs::read(json_path).expect("it was written");
    let report: Value = serde_json::from_slice(&json).expect("it is JSON");
    let kept = report["stalls"]["kept"].as_array().expect("a list").iter();
    let longest_ns = kept.filter_map(|stall| stall["length_ns"].as_u64()).max();
    // A little less than 50 ms when the signal came late.
    assert!(longest_ns.is_some_and(|ns| ns >= 25_000_000), "{text}");
    assert_eq!(report["stalls"]["max_ns"].as_u64(), longest_ns, "{text}");
}

#[test]
fn the_picture_has_every_good_reply_where_its_latency_is() {
    let url = serve(|request| {
        if request == 5 {
            #[expect(clippy::disallowed_methods, reason = "the delay is what is measured")]
            thread::sleep(Duration::from_millis(250));
        }
    });
    let before = SystemTime::now();
    let report = run(&LoadOptions {
        count: Some(50),
        duration: Duration::from_secs(30),
        poll_mode: PollMode::Blocking,
        ..LoadOptions::new(url.parse().expect("a URL"))
    });
    let report = report.expect("the server listens");
    assert_eq!(report.errors.total(), 0, "{report}");
    let HeatMap {
        column_ns,
        rows_low_ns,
        columns,
    } = &report.heat;
    assert_eq!(*column_ns, 100_000_000);
    assert!(columns.iter().all(|rows| rows.len() == rows_low_ns.len()));
    let sum: u32 = columns.iter().flatten().sum();
    assert_eq!(sum, 50);
    // The delayed one is in a row of at least 200 ms and in the third column or a later one, since
    // 250 ms passed before it came.
    let slow = rows_low_ns.partition_point(|&low_ns| low_ns < 200_000_000);
    let of = |columns: &[Vec<u32>]| columns.iter().flat_map(|rows| &rows[slow..]).sum::<u32>();
    assert_eq!((of(&columns[..2]), of(&columns[2..])), (0, 1), "{report}");
    // Nothing is a stall to who sleeps.
    assert_eq!(report.stalls.count, 0, "{report}");
    let begun = SystemTime::UNIX_EPOCH + Duration::from_nanos(report.begin_unix_ns);
    assert!(begun >= before && begun <= SystemTime::now());
}
