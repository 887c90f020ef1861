//! Probes tell the truth, and why.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use snapback::Continuous;

use crate::support::{Client, Service, eventually, reader_in, serve};
use crate::{ask, echo_in, json, watched};

#[test]
fn a_serving_process_is_live_started_and_ready() {
    let watched = watched(&[]);
    for (probe, word) in [
        ("livez", "live"),
        ("readyz", "ready"),
        ("startupz", "started"),
    ] {
        let answer = watched.get(&format!("/{probe}"));
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("{word}\n").as_str())
        );
        let head = ask(watched.admin(), "HEAD", &format!("/{probe}"), &[]);
        assert_eq!(head.status, 200);
        let verbose = watched.get(&format!("/{probe}?verbose"));
        assert!(verbose.text().contains("[+] api\n"), "{}", verbose.text());
        let accept = [("Accept", "text/html, application/json;q=0.9")];
        let as_json = json(&ask(watched.admin(), "GET", &format!("/{probe}"), &accept));
        assert_eq!(as_json["ok"], true);
        assert_eq!(watched.post(&format!("/{probe}")).status, 405);
    }
}

/// A part of a pipeline whose clone waits to be let through, as a start that takes long.
struct SlowClone(Arc<Mutex<Option<Receiver<()>>>>);

impl Clone for SlowClone {
    fn clone(&self) -> Self {
        let gate = self.0.lock().expect("no panic").take();
        if let Some(gate) = gate {
            let _ = gate.recv();
        }
        SlowClone(Arc::clone(&self.0))
    }
}

#[test]
fn a_start_that_takes_long_is_seen() {
    let (open, gate) = channel();
    let slow = SlowClone(Arc::new(Mutex::new(None)));
    let watched = watched(&[]);
    let writer = reader_in(&watched.session, "slow")
        .load()
        .expect("good options")
        .map({
            let slow = slow.clone();
            move |request| {
                let _ = &slow;
                request.body().len()
            }
        })
        .make_reply()
        .write_stream();
    *slow.0.lock().expect("no panic") = Some(gate);
    let starting = thread::spawn(move || serve(writer));
    for probe in ["/startupz", "/readyz"] {
        eventually("the start shows", || {
            let answer = watched.get(probe);
            let text = answer.text();
            (answer.status == 503 && text.contains("[-] slow: starting")).then_some(())
        });
    }
    assert_eq!(watched.get("/livez").status, 200);
    let list = json(&watched.get("/api/v1/queries"));
    assert_eq!(list["queries"][1]["state"], "starting");
    open.send(()).expect("the start waits");
    let _slow = starting.join().expect("it starts");
    assert_eq!(watched.get("/startupz").status, 200);
    assert_eq!(watched.get("/readyz").status, 200);
}

/// A service whose requests wait in the operator until they are let through.
fn blocking_in(session: &snapback::Session) -> (Service, Sender<()>) {
    let (open, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let reader = reader_in(session, "blocked").option("adminAddress", "127.0.0.1:0");
    let requests = reader.load().expect("good options");
    let writer = requests
        .map(move |_| {
            let _ = gate.lock().expect("no panic").recv();
            "late"
        })
        .make_reply()
        .write_stream();
    (serve(writer), open)
}

#[test]
fn a_stuck_turn_is_not_ready_and_says_which_partition() {
    let session = snapback::Session::new();
    let (service, open) = blocking_in(&session);
    let admin = session.admin_address().expect("it is open");
    assert_eq!(ask(admin, "GET", "/readyz", &[]).status, 200);
    let mut client = service.client();
    client.send(crate::support::post("/blocked", "x"));
    let text = eventually("the turn is seen as stuck", || {
        let answer = ask(admin, "GET", "/readyz", &[]);
        (answer.status == 503).then(|| answer.text().to_owned())
    });
    assert!(
        text.contains("[-] blocked: stuck_turn: a turn of partition 0"),
        "{text}"
    );
    assert_eq!(service.query.status().stuck_partition, Some(0));
    // Not for long enough to be called dead.
    assert_eq!(ask(admin, "GET", "/livez", &[]).status, 200);
    open.send(()).expect("the operator waits");
    assert_eq!(client.answer().status, 200);
    eventually("it is ready again", || {
        (ask(admin, "GET", "/readyz", &[]).status == 200).then_some(())
    });
    assert_eq!(service.query.status().not_ready, []);
}

#[test]
fn a_lagging_checkpoint_is_not_ready_until_commits_resume() {
    let directory = tempfile::tempdir().expect("a directory");
    let location = directory.path().join("checkpoint");
    let session = snapback::Session::new();
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let writer = reader
        .load()
        .expect("good options")
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .option("checkpointLocation", location.display())
        .option("maxCheckpointLag", "50ms")
        .trigger(Continuous::millis(10));
    let service = serve(writer);
    let admin = session.admin_address().expect("it is open");
    let ready = || ask(admin, "GET", "/readyz", &[]);
    assert_eq!(ready().status, 200);

    // A file where the epochs' directory was: nothing can be written there, not even by root.
    let (offsets, aside) = (location.join("offsets"), location.join("aside"));
    fs::rename(&offsets, &aside).expect("the directory is there");
    fs::write(&offsets, "").expect("a file in its place");
    assert_eq!(service.client().post("/api", "abc").status, 200);
    let text = eventually("the lag shows", || {
        let answer = ready();
        (answer.status == 503).then(|| answer.text().to_owned())
    });
    assert!(
        text.contains("[-] api: checkpoint_lag: the checkpoint is "),
        "{text}"
    );
    assert!(text.contains("the last commit failed: "), "{text}");
    assert_eq!(
        service.client().post("/api", "abc").status,
        200,
        "it serves on"
    );

    fs::remove_file(&offsets).expect("the file is there");
    fs::rename(&aside, &offsets).expect("nothing is in the way");
    eventually("commits resume", || (ready().status == 200).then_some(()));
}

#[test]
fn a_drain_is_not_ready_at_once_and_still_answers() {
    let watched = watched(&[("shutdownDelay", "2s")]);
    let mut client: Client = watched.service.client();
    assert_eq!(client.post("/api", "abc").body, b"3");
    let answer = watched.post("/api/v1/queries/api/drain");
    assert_eq!(answer.status, 202);
    assert_eq!(json(&answer)["state"], "draining");
    let ready = watched.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().starts_with("[-] api: draining: "),
        "{}",
        ready.text()
    );
    // The delay is for clients that have not heard of it yet.
    assert_eq!(client.post("/api", "abcd").body, b"4");
    assert_eq!(watched.service.client().post("/api", "").body, b"0");
    watched.service.await_termination().expect("in order");
    let ready = watched.get("/readyz").text().to_owned();
    assert!(ready.starts_with("[-] api: stopped"), "{ready}");
    assert_eq!(watched.get("/livez").status, 200);
    watched.session.streams().reset_terminated();
    let started = watched.get("/startupz");
    assert_eq!(
        (
            started.status,
            started.text().contains("no query has started")
        ),
        (503, true)
    );
}

#[test]
fn an_overloaded_partition_is_not_ready_until_it_is_over() {
    let session = snapback::Session::new();
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let requests = reader
        .option("maxQueueDelay", "1ms")
        .load()
        .expect("good options");
    let writer = requests
        .map(|_| {
            // Work, not a wait: each request takes two milliseconds of the partition's time.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(2) {}
            "done"
        })
        .make_reply()
        .write_stream();
    let service = serve(writer);
    let admin = session.admin_address().expect("it is open");
    let over = AtomicBool::new(false);
    let text = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = service.client();
                while !over.load(Ordering::Relaxed) {
                    let status = client.post("/api", "").status;
                    assert!([200, 503].contains(&status), "{status}");
                }
            });
        }
        let text = eventually("the overload shows", || {
            let answer = ask(admin, "GET", "/readyz", &[]);
            (answer.status == 503).then(|| answer.text().to_owned())
        });
        over.store(true, Ordering::Relaxed);
        text
    });
    let expected = "[-] api: overloaded: requests of partition 0";
    assert!(text.contains(expected), "{text}");
    eventually("it is over", || {
        (ask(admin, "GET", "/readyz", &[]).status == 200).then_some(())
    });
}

#[test]
fn one_query_that_is_not_ready_is_enough() {
    let watched = watched(&[]);
    let other = echo_in(&watched.session, "other", &[]);
    assert_eq!(watched.get("/readyz").status, 200);
    other.query.stop().expect("in order");
    let text = watched.get("/readyz?verbose").text().to_owned();
    assert_eq!(text, "[+] api\n[-] other: stopped: stopped\nnot ready\n");
}
