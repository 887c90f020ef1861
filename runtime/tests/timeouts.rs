//! Clients that take too long, and requests whose time is over.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use snapback::StreamWriter;
use snapback::prelude::*;
use support::{Client, PATIENCE, Service, get, post, reader, serve, timed};

/// Replies with the length of the body.
fn lengths(options: &[(&str, &str)]) -> Service {
    lengths_from(reader("api"), options)
}

fn lengths_from(mut reader: snapback::ServerReader, options: &[(&str, &str)]) -> Service {
    for (key, value) in options {
        reader = reader.option(key, value);
    }
    let pipeline = reader.load().expect("the options are good");
    serve(
        pipeline
            .map(|request| request.body().len())
            .make_reply()
            .write_stream(),
    )
}

/// The 408 that a request gets which began and did not end, and the orderly end behind it.
#[track_caller]
fn expect_408(client: &mut Client, names: &str) {
    let answer = client.answer();
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(
        answer.closes() && answer.text().contains(names),
        "{}",
        answer.text()
    );
    assert!(client.is_at_end());
}

/// The connection stays as it is, and nothing comes.
#[track_caller]
fn expect_open_for(client: &mut Client, span: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        assert!(client.has_nothing(), "closed after {:?}", begun.elapsed());
    }
}

#[test]
fn a_head_that_is_not_whole_in_time_is_answered_408() {
    let service = lengths(&[("headerTimeout", "20ms")]);
    let mut client = service.client();
    client.send("GET /api HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    expect_408(&mut client, "headerTimeout");
}

#[test]
fn the_time_of_a_head_does_not_start_anew_with_each_byte() {
    let service = lengths(&[("headerTimeout", "200ms")]);
    let mut client = service.client();
    let mut answer = None;
    let (_, time) = timed(|| {
        // A byte a millisecond: thousands of them would fit if each began the time anew.
        while answer.is_none() {
            // The server closes some time.
            let _ = client.try_send("x");
            client.set_patience(Duration::from_millis(1));
            answer = client.try_answer().ok();
        }
    });
    assert_eq!(answer.map(|answer| answer.status), Some(408));
    assert!(time >= Duration::from_millis(190), "too early: {time:?}");
}

#[test]
fn a_connection_that_never_says_anything_is_closed_in_silence() {
    let service = lengths(&[("headerTimeout", "20ms")]);
    assert!(service.client().is_at_end());
}

#[test]
fn an_idle_connection_is_closed_in_silence_after_its_time_and_not_before() {
    let service = lengths(&[("keepAliveTimeout", "400ms"), ("headerTimeout", "20ms")]);
    let mut client = service.client();
    // Each request gives it the whole time anew.
    for _ in 0..8 {
        assert_eq!(client.post("/api", "abc").text(), "3");
        expect_open_for(&mut client, Duration::from_millis(60));
    }
    assert_eq!(client.post("/api", "abc").text(), "3");
    let (at_end, time) = timed(|| client.is_at_end());
    assert!(at_end && time >= Duration::from_millis(390), "{time:?}");
}

#[test]
fn a_body_that_stops_is_answered_408_behind_the_replies_before_it() {
    let service = lengths(&[("bodyTimeout", "20ms")]);
    for head in [
        "Content-Length: 1000\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        let mut client = service.client();
        client.send(get("/api"));
        client.send(format!("POST /api HTTP/1.1\r\nHost: a\r\n{head}"));
        assert_eq!(client.answer().text(), "0");
        expect_408(&mut client, "bodyTimeout");
    }
}

#[test]
fn a_body_earns_its_time_by_its_bytes() {
    // Ten bytes a millisecond are asked for, and some hundred are sent.
    let options = [("bodyTimeout", "30ms"), ("minBodyRate", "10000")];
    let service = lengths(&options);
    let mut client = service.client();
    let body = vec![b'x'; 40_000];
    client.send(&post("/api", &body)[..100]);
    let whole = post("/api", &body);
    let (_, time) = timed(|| {
        for piece in whole[100..].chunks(400) {
            assert!(client.has_nothing());
            client.send(piece);
        }
    });
    assert_eq!(client.answer().text(), "40000");
    assert!(
        time > Duration::from_millis(60),
        "{time:?} is no slow upload"
    );

    let strict = lengths(&[("bodyTimeout", "30ms"), ("minBodyRate", "0")]);
    let mut client = strict.client();
    client.send(&whole[..whole.len() - 1]);
    expect_408(&mut client, "bodyTimeout");
}

#[test]
fn a_client_that_takes_nothing_is_reset_and_one_that_takes_its_time_is_not() {
    const BYTES: usize = 32 << 20;
    let large = |options: &[(&str, &str)]| {
        let mut reader = reader("api");
        for (key, value) in options {
            reader = reader.option(key, value);
        }
        let pipeline = reader.load().expect("the options are good");
        serve(
            pipeline
                .map(|_| vec![b'x'; BYTES])
                .make_reply()
                .write_stream(),
        )
    };
    let service = large(&[("writeTimeout", "1s")]);
    let mut slow = service.client();
    slow.send(get("/api"));
    // It takes some within each second, however long it needs for the whole.
    let (answer, _) = timed(|| slow.answer());
    assert_eq!(answer.body.len(), BYTES);

    let mut stuck = service.client();
    stuck.send(get("/api"));
    stuck.await_first_byte();
    support::eventually("the end of a client that takes nothing", || {
        let last = service.last_progress()?;
        (last.partitions[0].connections == 1).then_some(())
    });
    assert!(stuck.try_answer().is_err(), "the rest is not sent");
    assert_eq!(slow.get("/api").body.len(), BYTES);
}

#[test]
fn who_does_not_close_does_not_linger_for_ever() {
    let service = lengths(&[("lingerTimeout", "20ms")]);
    let mut client = service.client();
    client.send("GET /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(client.is_at_end());
    // The client keeps its side open.
    support::eventually("the end of a connection that lingers", || {
        let last = service.last_progress()?;
        (last.partitions[0].connections == 0).then_some(())
    });
}

#[test]
fn a_connection_has_so_many_requests() {
    let service = lengths(&[("maxRequestsPerConnection", "3")]);
    let mut client = service.client();
    client.send(get("/api").repeat(5));
    let closes: Vec<_> = (0..3).map(|_| client.answer().closes()).collect();
    assert_eq!(closes, [false, false, true]);
    assert!(client.is_at_end());
}

#[test]
fn in_a_drain_silent_connections_outlive_their_keep_alive() {
    let reader = reader("api").option("shutdownTimeout", "20s");
    let service = lengths_from(reader, &[("keepAliveTimeout", "30ms")]);
    let mut client = service.client();
    assert_eq!(client.get("/api").status, 200);
    let query = service.query.clone();
    let stopping = std::thread::spawn(move || query.stop());
    while !service.query.status().is_draining {
        std::thread::yield_now();
    }
    expect_open_for(&mut client, Duration::from_millis(120));
    let answer = client.get("/api");
    assert!(answer.status == 200 && answer.closes());
    assert!(client.is_at_end());
    drop(client);
    stopping.join().expect("no panic").expect("an orderly end");
}

/// Tells when it is dropped.
struct Guard(Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A service whose requests are never answered, unless their path says `/now`; tells when the work
/// on one begins and when it is dropped.
fn endless(options: &[(&str, &str)]) -> (Service, Receiver<()>, Receiver<()>) {
    let (begun, begins) = channel();
    let (dropped, drops) = channel();
    let mut reader = reader("api");
    for (key, value) in options {
        reader = reader.option(key, value);
    }
    let pipeline = reader.load().expect("the options are good");
    let writer: StreamWriter = pipeline
        .map(|request| request.path().ends_with("/now"))
        .map_async(move |is_now| {
            let (begun, guard) = (begun.clone(), Guard(dropped.clone()));
            async move {
                if !is_now {
                    let _ = begun.send(());
                    std::future::pending::<()>().await;
                    drop(guard);
                }
                "now"
            }
        })
        .make_reply()
        .write_stream();
    (serve(writer), begins, drops)
}

fn with_timeout(target: &str, timeout: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nx-Request-Timeout-MS: {timeout}\r\n\r\n")
}

#[test]
fn a_request_may_shorten_its_time_and_its_work_is_cancelled() {
    let (service, begins, drops) = endless(&[("requestTimeout", "20s")]);
    let mut client = service.client();
    client.send(with_timeout("/api", "30"));
    client.send(with_timeout("/api/now", "20000"));
    begins.recv_timeout(PATIENCE).expect("the work begins");
    let (answer, time) = timed(|| client.answer());
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(time < Duration::from_secs(10), "{time:?}");
    assert_eq!(client.answer().text(), "now");
    // The one that was answered drops its guard too.
    for _ in 0..2 {
        drops.recv_timeout(PATIENCE).expect("the work is dropped");
    }
    assert_eq!(client.get("/api/now").text(), "now");
}

#[test]
fn a_request_may_not_lengthen_its_time() {
    let (service, _begins, _drops) = endless(&[("requestTimeout", "30ms")]);
    let mut client = service.client();
    for timeout in ["20000", "18446744073709551615"] {
        client.send(with_timeout("/api", timeout));
        assert_eq!(client.answer().status, 504, "{timeout}");
    }
}

#[test]
fn a_request_without_time_left_is_not_begun() {
    let (service, begins, _drops) = endless(&[]);
    let mut client = service.client();
    for timeout in ["0", "00", "5\r\nX-Request-Timeout-Ms: 0"] {
        client.send(with_timeout("/api", timeout));
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.closes()),
            (504, false),
            "{}",
            answer.text()
        );
    }
    assert!(begins.try_recv().is_err(), "the pipeline was called");
}

#[test]
fn a_malformed_deadline_is_answered_400() {
    let service = lengths(&[]);
    for timeout in ["", "-1", "1.5", "1s", "+1", "0x10", "18446744073709551616"] {
        let mut client = service.client();
        client.send(with_timeout("/api", timeout));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{timeout:?}");
        assert!(
            answer.text().contains("x-request-timeout-ms"),
            "{}",
            answer.text()
        );
        assert!(client.is_at_end());
    }
}

/// Rows that wait for others to make a batch are dropped when nobody waits for them any more.
#[test]
fn a_batch_does_not_see_requests_whose_time_is_over() {
    let (seen, sees) = channel();
    let options = BatchOptions::default().max_batch_delay(Duration::from_millis(150));
    let pipeline = reader("api").load().expect("the options are good");
    let writer = pipeline
        .map(|request| request.path().to_owned())
        .batch(options, move |rows: &[String], out: &mut Vec<String>| {
            for row in rows {
                let _ = seen.send(row.clone());
                out.push(row.clone());
            }
        })
        .make_reply()
        .write_stream();
    let service = serve(writer);
    let mut client = service.client();
    client.send(
        [
            with_timeout("/api/late", "20"),
            with_timeout("/api/in-time", "20000"),
        ]
        .concat(),
    );
    assert_eq!(client.answer().status, 504);
    assert_eq!(client.answer().text(), "/api/in-time");
    assert_eq!(sees.recv_timeout(PATIENCE).expect("a row"), "/api/in-time");
    assert!(sees.try_recv().is_err());
}

#[test]
fn a_client_that_is_gone_cancels_its_work_and_one_that_only_sends_no_more_does_not() {
    let (service, begins, drops) = endless(&[]);
    let mut gone = service.client();
    gone.send(get("/api"));
    begins.recv_timeout(PATIENCE).expect("the work begins");
    gone.abort();
    drops.recv_timeout(PATIENCE).expect("the work is dropped");

    let mut half = service.client();
    half.send(
        [
            with_timeout("/api", "50"),
            String::from_utf8(get("/api/now")).unwrap(),
        ]
        .concat(),
    );
    half.finish_sending();
    assert_eq!(half.answer().status, 504);
    assert_eq!(half.answer().text(), "now");
    assert!(half.is_at_end());
}
