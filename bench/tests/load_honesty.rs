//! The load generator tells the truth about servers that stall, fail and lie.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use snapback_bench::HELLO_REPLY;
use snapback_bench::address::Target;
use snapback_bench::floor::Floor;
use snapback_bench::load::{Arrivals, LoadError, LoadOptions, LoadReport, RateStep, Step, run};
use snapback_bench::poller::PollMode;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server with one thread for each connection, which calls `reply` for each request; an empty
/// reply closes the connection.
fn serve(reply: impl Fn() -> &'static str + Clone + Send + 'static) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reply = reply.clone();
            thread::spawn(move || answer(stream, reply));
        }
    });
    format!("http://{address}/my_api").parse().expect("a URL")
}

/// Answers each request, which must arrive in one piece, until the peer goes.
fn answer(mut stream: TcpStream, reply: impl Fn() -> &'static str) {
    stream.set_nodelay(true).expect("a TCP socket");
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
        let reply = reply();
        if reply.is_empty() || stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn options(target: Target) -> LoadOptions {
    LoadOptions {
        duration: Duration::from_millis(300),
        warmup: Duration::ZERO,
        poll_mode: PollMode::Blocking,
        ..LoadOptions::new(target)
    }
}

fn load(options: &LoadOptions) -> LoadReport {
    run(options).expect("the server listens")
}

#[test]
fn an_open_loop_sees_a_stall_with_every_request_that_it_delays() {
    const STALL: Duration = Duration::from_millis(100);
    const PERIOD_MS: u128 = 1000;
    let begin = Instant::now();
    let target = serve(move || {
        let phase_ms = begin.elapsed().as_millis() % PERIOD_MS;
        if (500..600).contains(&phase_ms) {
            let rest_ms = 600 - phase_ms as u64;
            #[expect(clippy::disallowed_methods, reason = "the stall is what is measured")]
            thread::sleep(Duration::from_millis(rest_ms));
        }
        OK
    });
    let seconds = 3;
    let report = load(&LoadOptions {
        rate: Some(1000.0),
        duration: Duration::from_secs(seconds),
        ..options(target)
    });
    assert_eq!(report.errors.total(), 0, "{report}");
    assert_eq!(report.histogram.len(), 1000 * seconds, "{report}");
    // Of each second's requests a tenth is due in the stall, and waits from 100 ms down to 0: so
    // 5 % wait for more than 50 ms, 1 % for more than 90 ms, and the longest for 100 ms. A noisy
    // machine adds to that, and never takes away from it.
    let quantile_ms = |quantile| report.histogram.value_at_quantile(quantile) as f64 / 1e6;
    let expect_ms = |quantile, from: f64, to: f64| {
        let found_ms = quantile_ms(quantile);
        assert!(
            (from..to).contains(&found_ms),
            "quantile {quantile}: {found_ms} ms\n{report}"
        );
    };
    expect_ms(0.5, 0.0, 10.0);
    expect_ms(0.95, 40.0, 70.0);
    expect_ms(0.99, 80.0, 110.0);
    expect_ms(1.0, 95.0, 100.0 + STALL.as_millis() as f64 / 2.0);
}

#[test]
fn a_closed_loop_keeps_every_connection_busy_and_sees_one_stall_once() {
    let target = serve(|| {
        #[expect(clippy::disallowed_methods, reason = "the delay is what is measured")]
        thread::sleep(Duration::from_millis(10));
        OK
    });
    let report = load(&LoadOptions {
        connections: 4,
        ..options(target)
    });
    assert_eq!(report.errors.total(), 0, "{report}");
    assert!(report.latency.p50_us >= 10_000.0, "{report}");
    // 4 connections, 100 requests per second on each at the most.
    assert!((40..=121).contains(&report.completed), "{report}");
}

#[test]
fn a_count_is_kept_exactly() {
    let floor = Floor::bind(
        &"127.0.0.1:0".parse().expect("an address"),
        PollMode::Blocking,
    )
    .expect("a free port");
    let target: Target = format!("http://{}/my_api", floor.address())
        .parse()
        .expect("a URL");
    thread::spawn(move || floor.run());
    for (connections, pipeline, rate) in [(1, 1, None), (3, 16, None), (3, 1, Some(20_000.0))] {
        let report = load(&LoadOptions {
            connections,
            pipeline,
            rate,
            count: Some(1000),
            duration: Duration::from_secs(20),
            expect_body: Some(HELLO_REPLY.as_bytes().into()),
            ..options(target.clone())
        });
        assert_eq!(report.errors.total(), 0, "{report}");
        assert_eq!(
            (report.completed, report.histogram.len()),
            (1000, 1000),
            "{report}"
        );
    }
}

#[test]
fn random_arrivals_keep_their_rate() {
    let report = load(&LoadOptions {
        connections: 8,
        rate: Some(2000.0),
        arrivals: Arrivals::Poisson,
        duration: Duration::from_secs(1),
        ..options(serve(|| OK))
    });
    assert_eq!(report.errors.total(), 0, "{report}");
    // Three standard deviations of a Poisson count around its mean.
    assert!((1866..=2134).contains(&report.histogram.len()), "{report}");
}

#[test]
fn errors_are_told_apart() {
    let count = |reply: &'static str| {
        let target = serve(move || reply);
        load(&LoadOptions {
            count: Some(20),
            duration: Duration::from_secs(10),
            expect_body: Some(b"ok".as_slice().into()),
            ..options(target)
        })
        .errors
    };
    assert_eq!(count(OK).total(), 0);
    let wrong = count("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nko");
    assert_eq!((wrong.wrong_body, wrong.total()), (20, 20));
    let missing = count("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((missing.status_4xx, missing.total()), (20, 20));
    let busy = count("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((busy.status_5xx, busy.total()), (20, 20));
    let closed = count("");
    assert_eq!((closed.eof, closed.total()), (20, 20));
    let noise = count("220 mail ready\r\n");
    assert_eq!((noise.malformed, noise.total()), (20, 20));
}

#[test]
fn a_reply_that_does_not_come_is_a_time_out() {
    // Nobody ever sends on this channel, so that a request waits until the test ends.
    let (_keep, never) = mpsc::channel::<()>();
    let never = std::sync::Arc::new(std::sync::Mutex::new(never));
    let target = serve(move || {
        let _ = never.lock().map(|never| never.recv());
        OK
    });
    let report = load(&LoadOptions {
        connections: 2,
        timeout: Duration::from_millis(50),
        duration: Duration::from_millis(20),
        ..options(target)
    });
    assert_eq!(
        (report.errors.timeout, report.errors.total()),
        (2, 2),
        "{report}"
    );
    assert_eq!(report.completed, 0);
}

#[test]
fn overload_counts_what_could_not_be_sent() {
    let (_keep, never) = mpsc::channel::<()>();
    let never = std::sync::Arc::new(std::sync::Mutex::new(never));
    let target = serve(move || {
        let _ = never.lock().map(|never| never.recv());
        OK
    });
    let report = load(&LoadOptions {
        rate: Some(1000.0),
        duration: Duration::from_millis(100),
        timeout: Duration::from_secs(1),
        ..options(target)
    });
    // 100 were due; the first took the only connection, and a second the one that replaced it.
    assert_eq!(
        report.errors.timeout + report.errors.unsent,
        100,
        "{report}"
    );
    assert!(report.errors.unsent >= 97, "{report}");
}

#[test]
fn shed_requests_are_told_apart_by_phase() {
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    const SILENT: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let count = AtomicU64::new(0);
    // The first 100 requests are answered; of the others each second one is shed, half of those
    // without a word about when to come back.
    let reply = move || match count.fetch_add(1, Ordering::Relaxed) {
        0..100 => OK,
        index => [OK, BUSY, OK, SILENT][index as usize % 4],
    };
    let reply = Arc::new(reply);
    let target = serve(move || reply());
    let step = |rate_per_s, ms| RateStep {
        rate_per_s,
        duration: Duration::from_millis(ms),
    };
    let report = load(&LoadOptions {
        steps: vec![step(500.0, 200), step(2000.0, 200)],
        // Only requests of one connection reach the server in the order in which they were due.
        connections: 1,
        ..options(target)
    });
    let [before, during] = &report.phases[..] else {
        panic!("two phases: {report}");
    };
    assert_eq!(
        (before.good, before.shed, before.failed),
        (100, 0, 0),
        "{report}"
    );
    assert_eq!(
        (during.good, during.shed, during.failed),
        (200, 200, 0),
        "{report}"
    );
    assert_eq!(during.retry_after, 100);
    assert_eq!((report.shed_count, report.errors.status_5xx), (200, 200));
    // What was shed has no part in the latency of what was answered.
    assert_eq!(report.histogram.len(), 300);
    let sum = |of: fn(&Step) -> u64| report.timeline.iter().map(of).sum::<u64>();
    // Replies to the last requests may come when the window is closed.
    assert!((290..=300).contains(&sum(|step| step.good)), "{report}");
    assert!((190..=200).contains(&sum(|step| step.shed)), "{report}");
}

#[test]
fn who_has_no_patience_leaves_requests_unsent() {
    let (_keep, never) = mpsc::channel::<()>();
    let never = Arc::new(Mutex::new(never));
    let target = serve(move || {
        let _ = never.lock().map(|never| never.recv());
        OK
    });
    let report = load(&LoadOptions {
        rate: Some(1000.0),
        duration: Duration::from_millis(200),
        timeout: Duration::from_secs(1),
        patience: Some(Duration::from_millis(5)),
        poll_mode: PollMode::Spin,
        ..options(target)
    });
    // One was sent, and took the only connection. The others were given up in the window, so none
    // was left that the connection which replaced it could have sent.
    assert_eq!(
        (report.errors.timeout, report.errors.unsent),
        (1, 199),
        "{report}"
    );
}

#[test]
fn a_timeline_shows_when_a_server_stalled() {
    let begin = Instant::now();
    let target = serve(move || {
        let now_ms = begin.elapsed().as_millis();
        if (300..700).contains(&now_ms) {
            #[expect(clippy::disallowed_methods, reason = "the stall is what is measured")]
            thread::sleep(Duration::from_millis(700 - now_ms as u64));
        }
        OK
    });
    let report = load(&LoadOptions {
        rate: Some(500.0),
        duration: Duration::from_secs(1),
        ..options(target)
    });
    assert_eq!(report.errors.total(), 0, "{report}");
    let good: Vec<_> = report.timeline.iter().map(|step| step.good).collect();
    let quiet = good.iter().filter(|&&good| good == 0).count();
    // 400 ms hold three whole steps, or two when the machine is late.
    assert!((2..=4).contains(&quiet), "{good:?}");
    // The step in which it went on brings what had waited, the longest for 400 ms.
    let worst_ms = report.timeline.iter().map(|step| step.good_max_us / 1e3);
    let worst_ms = worst_ms.fold(0.0, f64::max);
    assert!((350.0..=600.0).contains(&worst_ms), "{worst_ms} ms");
}

#[test]
fn nobody_to_load_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let target = format!("http://{address}/").parse().expect("a URL");
    let error = run(&options(target)).expect_err("nobody listens");
    assert!(
        matches!(error, LoadError::Connect { index: 0, .. }),
        "{error}"
    );
}
