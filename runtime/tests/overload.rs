//! More than a server can do: who is turned away, how, and that the others do not suffer.

mod support;

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use snapback::ServerReader;
use snapback::prelude::*;
use support::{
    Client, PATIENCE, PrintedPort, Service, child_for, eventually, get, is_child_for, post, reader,
    serve,
};
use tokio::sync::watch;

fn with(mut reader: ServerReader, options: &[(&str, &str)]) -> ServerReader {
    for (key, value) in options {
        reader = reader.option(key, value);
    }
    reader
}

/// Replies with the length of the body.
fn lengths(options: &[(&str, &str)]) -> Service {
    let pipeline = with(reader("api"), options).load().expect("good options");
    serve(
        pipeline
            .map(|request| request.body().len())
            .make_reply()
            .write_stream()
            .trigger(Continuous::millis(5)),
    )
}

/// Asserts that the answer is a 503 that says when to come again; gives that in seconds.
#[track_caller]
fn expect_503(answer: &support::Answer) -> u64 {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let seconds = answer.header("retry-after").expect("when to come again");
    let seconds = seconds.parse().expect("seconds");
    assert!(seconds >= 1);
    seconds
}

fn open_connections(service: &Service) -> usize {
    let last = service.last_progress();
    last.map_or(0, |last| {
        last.partitions.iter().map(|part| part.connections).sum()
    })
}

#[test]
fn a_connection_too_many_is_answered_503_and_closed() {
    let service = lengths(&[("maxConnections", "2"), ("numPartitions", "2")]);
    let mut kept: Vec<_> = (0..2).map(|_| service.client()).collect();
    for client in &mut kept {
        assert_eq!(client.post("/api", "abc").text(), "3");
    }
    for _ in 0..5 {
        let mut refused = service.client();
        // What it asks is not read as a request.
        refused.send(post("/api", "abc"));
        let answer = refused.answer();
        expect_503(&answer);
        assert!(answer.closes() && answer.text().contains("connections"));
        assert!(refused.is_at_end());
    }
    // The others go on, and when one leaves there is room again.
    for client in &mut kept {
        assert_eq!(client.post("/api", "abcd").text(), "4");
    }
    drop(kept.pop());
    eventually("room for another connection", || {
        let mut client = service.client();
        client.send(get("/api"));
        (client.answer().status == 200).then_some(())
    });
}

#[test]
fn connections_that_are_turned_away_leave_nothing_behind() {
    let service = lengths(&[("maxConnections", "1"), ("lingerTimeout", "20ms")]);
    let mut kept = service.client();
    assert_eq!(kept.get("/api").status, 200);
    let refused: Vec<_> = (0..300).map(|_| service.client()).collect();
    let mut told = 0;
    for mut client in refused {
        // Beyond some hundreds at a time nobody is told why.
        told += usize::from(client.try_answer().is_ok_and(|answer| answer.status == 503));
    }
    assert!(told >= 256, "{told} were told");
    assert_eq!(open_connections(&service), 1);
    drop(kept);
    eventually("room again", || {
        let mut client = service.client();
        client.send(get("/api"));
        (client.answer().status == 200).then_some(())
    });
    service.query.stop().expect("an orderly end");
}

/// A service in which each request waits until it is let through; tells when the work on one begins.
fn gated(options: &[(&str, &str)]) -> (Service, watch::Sender<bool>, Receiver<()>) {
    let (begun, begins) = channel();
    let (gate, opened) = watch::channel(false);
    let pipeline = with(reader("api"), options).load().expect("good options");
    let writer = pipeline
        .map(|request| request.body().len())
        .map_async(move |bytes| {
            let (begun, mut opened) = (begun.clone(), opened.clone());
            async move {
                let _ = begun.send(());
                let _ = opened.wait_for(|opened| *opened).await;
                bytes
            }
        })
        .make_reply()
        .write_stream();
    (serve(writer), gate, begins)
}

#[test]
fn requests_beyond_max_in_flight_are_answered_503_at_once() {
    let (service, gate, begins) = gated(&[("maxInFlight", "3")]);
    let mut holder = service.client();
    holder.send(post("/api", "abc").repeat(3));
    for _ in 0..3 {
        begins.recv_timeout(PATIENCE).expect("it begins");
    }
    let mut other = service.client();
    for _ in 0..10 {
        let answer = other.post("/api", "abc");
        expect_503(&answer);
        assert!(!answer.closes(), "the connection goes on");
    }
    other.send("HEAD /api HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_503_head(&other.answer_to_head());
    gate.send_replace(true);
    for _ in 0..3 {
        assert_eq!(holder.answer().text(), "3");
    }
    assert_eq!(other.post("/api", "abcd").text(), "4");
}

fn expect_503_head(answer: &support::Answer) {
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
}

/// The estimate is the time that requests took, not a constant.
#[test]
fn retry_after_says_how_long_requests_take() {
    let (service, gate, begins) = gated(&[("maxInFlight", "1")]);
    let (mut holder, mut other) = (service.client(), service.client());
    holder.send(get("/api"));
    begins.recv_timeout(PATIENCE).expect("it begins");
    let first = expect_503(&other.get("/api"));
    // Nothing has come for longer and longer.
    let later = eventually("a later time", || {
        let seconds = expect_503(&other.get("/api"));
        (seconds > first).then_some(seconds)
    });
    assert_eq!((first, later), (1, 2));
    gate.send_replace(true);
    assert_eq!(holder.answer().text(), "0");
}

fn work(duration: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// A pipeline that works for 100 µs on each request.
fn slow(options: &[(&str, &str)]) -> Service {
    let pipeline = with(reader("api"), options).load().expect("good options");
    let writer = pipeline
        .map(|request| {
            work(Duration::from_micros(100));
            request.body().len()
        })
        .make_reply()
        .write_stream();
    serve(writer)
}

/// Sends 64 requests at a time, reads the replies, and counts them by status until it is told to
/// stop. Eight of them are far more than a partition can do.
fn press(service: &Service, stop: &AtomicBool, answered: &AtomicU64, refused: &AtomicU64) {
    let mut client = service.client();
    while !stop.load(Ordering::Relaxed) {
        client.send(get("/api").repeat(64));
        for _ in 0..64 {
            let answer = client.answer();
            if answer.status == 200 {
                answered.fetch_add(1, Ordering::Relaxed);
            } else {
                expect_503(&answer);
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn requests_that_would_wait_too_long_are_turned_away_until_the_queue_is_short_again() {
    let service = slow(&[("maxQueueDelay", "5ms")]);
    let (stop, answered, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| press(&service, &stop, &answered, &refused));
        }
        eventually("that requests are turned away", || {
            let (answered, refused) = (&answered, &refused);
            let enough = |count: &AtomicU64| count.load(Ordering::Relaxed) >= 500;
            (enough(answered) && enough(refused)).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    // Once less comes in, all are taken on again.
    let mut client = service.client();
    eventually("a time in which nobody is turned away", || {
        let all = (0..200).all(|_| client.get("/api").status == 200);
        all.then_some(())
    });
}

#[test]
fn without_a_limit_of_waiting_nobody_is_turned_away() {
    let service = slow(&[]);
    let (stop, answered, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| press(&service, &stop, &answered, &refused));
        }
        eventually("two thousand answers", || {
            (answered.load(Ordering::Relaxed) >= 2000).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(refused.load(Ordering::Relaxed), 0);
}

/// A connection that pipelines as deep as it can gets a share of each turn and no more, by number
/// and by time.
#[test]
fn a_greedy_connection_does_not_starve_the_others() {
    for cost in [Duration::ZERO, Duration::from_micros(100)] {
        let served = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&served);
        let pipeline = reader("api").load().expect("good options");
        let service = serve(
            pipeline
                .map(move |request| {
                    work(cost);
                    if request.path().ends_with("/greedy") {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    counter.load(Ordering::Relaxed)
                })
                .make_reply()
                .write_stream(),
        );
        let stream = TcpStream::connect(("127.0.0.1", service.port())).expect("it listens");
        let mut writer = Client::over(stream.try_clone().expect("a copy"));
        let mut greedy = Client::over(stream);
        let (requests, chunks) = (get("/api/greedy").repeat(1000), 10);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..chunks).for_each(|_| writer.send(&requests)));
            scope.spawn(move || {
                for _ in 0..1000 * chunks {
                    assert_eq!(greedy.answer().status, 200);
                }
            });
            let mut other = service.client();
            let mut most = 0;
            while served.load(Ordering::Relaxed) < 9000 {
                other.send(get("/api/other").repeat(129));
                let seen: Vec<u64> = (0..129)
                    .map(|_| other.answer().text().parse().expect("a count"))
                    .collect();
                let steps = seen.windows(2).map(|pair| pair[1] - pair[0]);
                most = most.max(steps.max().unwrap_or(0));
            }
            // Two shares, for when its own requests are read in two pieces.
            let bound = if cost.is_zero() { 256 } else { 64 };
            assert!(
                most <= bound,
                "{most} requests of the greedy one in between"
            );
        });
    }
}

#[test]
fn a_greedy_upload_does_not_starve_the_others() {
    const BYTES: usize = 64 << 20;
    let service = lengths(&[("maxRequestBytes", "64m")]);
    let stream = TcpStream::connect(("127.0.0.1", service.port())).expect("it listens");
    let mut writer = Client::over(stream.try_clone().expect("a copy"));
    let mut greedy = Client::over(stream);
    std::thread::scope(|scope| {
        let upload = scope.spawn(move || writer.send(post("/api", vec![b'x'; BYTES])));
        let mut other = service.client();
        let mut during = 0;
        while !upload.is_finished() {
            assert_eq!(other.post("/api", "abc").text(), "3");
            during += 1;
        }
        assert!(
            during > 3,
            "{during} requests were answered during the upload"
        );
    });
    assert_eq!(greedy.answer().text(), BYTES.to_string());
}

const NO_DESCRIPTORS: &str = "without_descriptors_a_server_waits_and_does_not_spin";

/// Serves with few descriptors, and says for how long its process ran on a processor.
fn serve_with_few_descriptors() {
    let pipeline = reader("api").load().expect("good options");
    let service = serve(
        pipeline
            .map(|_| {
                let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
                let times = stat.rsplit(')').next().unwrap_or_default();
                let times: Vec<&str> = times.split(' ').collect();
                let ticks = |at: usize| times[at].parse::<u64>().unwrap_or(0);
                // User and system time, the 14th and 15th field, counted behind the name.
                ticks(12) + ticks(13)
            })
            .make_reply()
            .write_stream(),
    );
    println!("port {}", service.port());
    std::thread::park_timeout(Duration::from_secs(60));
}

#[test]
fn without_descriptors_a_server_waits_and_does_not_spin() {
    if is_child_for(NO_DESCRIPTORS) {
        return serve_with_few_descriptors();
    }
    let child = child_for(NO_DESCRIPTORS);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""]);
    limited.arg(child.get_program()).args(child.get_args());
    for (key, value) in child.get_envs() {
        limited.env(key, value.unwrap_or_default());
    }
    let server = PrintedPort::of(limited);
    let mut first = server.client();
    // Reading its own times takes a descriptor too, so one is asked before and one behind.
    let before: u64 = first.get("/api").text().parse().expect("ticks");
    let begun = Instant::now();
    let waiting: Vec<_> = (0..60).map(|_| server.client()).collect();
    while begun.elapsed() < Duration::from_millis(700) {
        assert!(first.has_nothing());
    }
    drop(waiting);
    let mut last = server.client();
    let after: u64 = eventually("a connection behind those that left", || {
        last.get("/api")
            .text()
            .parse()
            .ok()
            .filter(|ticks| *ticks > 0)
    });
    // A tick is 10 ms: a core that spun would have 70 of them.
    assert!(after - before < 35, "{} ticks of work", after - before);
}
