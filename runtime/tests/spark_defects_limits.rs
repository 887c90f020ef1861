//! What was wrong in Spark Serving with limits and time, each as a test: the numbers are those of a
//! list of its defects.

mod support;

use snapback::StreamWriter;
use support::{PATIENCE, Service, get, post, reader, serve};

fn lengths(options: &[(&str, &str)]) -> Service {
    let mut reader = reader("api");
    for (key, value) in options {
        reader = reader.option(key, value);
    }
    let pipeline = reader.load().expect("good options");
    let writer: StreamWriter = pipeline
        .map(|request| request.body().len())
        .make_reply()
        .write_stream();
    serve(writer)
}

/// 7: a slow upload blocked the partition, and a client that went away killed the query.
#[test]
fn slow_uploads_and_clients_that_leave_harm_nobody() {
    let service = lengths(&[("bodyTimeout", "300ms")]);
    let upload = post("/api", [b'x'; 1000]);
    let mut slow: Vec<_> = (0..50).map(|_| service.client()).collect();
    for client in &mut slow {
        client.send(&upload[..upload.len() / 2]);
    }
    let mut leaving: Vec<_> = (0..50).map(|_| service.client()).collect();
    for client in &mut leaving {
        client.send(&upload[..upload.len() / 2]);
    }
    leaving.into_iter().for_each(support::Client::abort);

    let mut other = service.client();
    for _ in 0..100 {
        assert_eq!(other.post("/api", "abc").text(), "3");
    }
    // The half that stays is told, each behind its own time.
    for client in &mut slow {
        assert_eq!(client.answer().status, 408);
        assert!(client.is_at_end());
    }
    assert_eq!(other.post("/api", "abcd").text(), "4");
    assert!(service.is_active());
}

/// 9 in part: there was no limit of size or time, and no answer to overload.
#[test]
fn each_limit_has_its_answer() {
    let service = lengths(&[
        ("maxRequestBytes", "100"),
        ("maxHeadBytes", "512"),
        ("headerTimeout", "100ms"),
        ("bodyTimeout", "100ms"),
        ("maxConnections", "1"),
    ]);
    let long = "x".repeat(600);
    for (request, status) in [
        (post("/api", [b'x'; 101]), 413),
        (get(&format!("/api/{long}")), 414),
        (
            format!("GET /api HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").into(),
            431,
        ),
        (b"GET /api HTTP/1.1\r\n".to_vec(), 408),
        (post("/api", "abc")[..50].to_vec(), 408),
    ] {
        let mut client = support::eventually("a free connection", || {
            let mut client = service.client();
            client.send(&request);
            let answer = client.answer();
            (answer.status != 503).then_some((client, answer))
        });
        assert_eq!(client.1.status, status, "{}", client.1.text());
        assert!(client.0.is_at_end());
    }

    let mut one = support::eventually("a free connection", || {
        let mut client = service.client();
        (client.get("/api").status == 200).then_some(client)
    });
    let mut two = service.client();
    assert_eq!(two.answer().status, 503);
    assert_eq!(one.get("/api").status, 200);
}

/// 9 in part: a reply that never came was awaited for ever.
#[test]
fn a_reply_that_does_not_come_is_a_504() {
    let pipeline = reader("api").load().expect("good options");
    let writer = pipeline
        .map_async(|_| std::future::pending::<&str>())
        .make_reply()
        .write_stream()
        .option("requestTimeout", "50ms");
    let service = serve(writer);
    let mut client = service.client();
    assert_eq!(client.get("/api").status, 504);
    assert_eq!(client.get("/api").status, 504, "the connection goes on");
}

/// 12: a stop did not drain.
#[test]
fn a_stop_answers_what_was_sent() {
    let (begun, begins) = std::sync::mpsc::channel();
    let (gate, opened) = tokio::sync::watch::channel(false);
    let pipeline = reader("api").load().expect("good options");
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
        .write_stream()
        .option("shutdownTimeout", "20s");
    let service = serve(writer);
    let mut client = service.client();
    client.send(post("/api", "abc").repeat(3));
    for _ in 0..3 {
        begins.recv_timeout(PATIENCE).expect("it begins");
    }
    let query = service.query.clone();
    let stopping = std::thread::spawn(move || query.stop());
    while !service.query.status().is_draining {
        std::thread::yield_now();
    }
    gate.send_replace(true);
    for _ in 0..3 {
        assert_eq!(client.answer().text(), "3");
    }
    drop(client);
    stopping.join().expect("no panic").expect("an orderly end");
}
