//! The cases of Spark Serving's ContinuousHTTPSuite and HTTPv2Suite in continuous mode, with those
//! suites' own bounds on time.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Client, median, port, post, read};
use serde::{Deserialize, Serialize};
use snapback::prelude::*;

/// The size of the file that those suites send.
const FILE_BYTES: usize = 279_186;

#[derive(Serialize)]
struct Length {
    length: usize,
}

fn length_service(session: &Session, name: &str) -> StreamingQuery {
    read(session, name, 2)
        .map(|request| Length {
            length: request.body().len(),
        })
        .make_reply()
        .write_stream()
        .query_name(name)
        .trigger(Continuous::secs(10))
        .start()
        .expect("it starts")
}

#[test]
fn content_lengths_come_back_in_order() {
    let session = Session::new();
    let query = read(&session, "lengths", 2)
        .map_with(|request, _| {
            request
                .headers()
                .get_str("content-length")
                .unwrap_or("")
                .to_owned()
        })
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    for bytes in [22, 23, 24, 25].into_iter().chain([22; 20]) {
        let reply = client.post("/lengths", "x".repeat(bytes).as_bytes());
        assert_eq!((reply.status, reply.text()), (200, bytes.to_string()));
    }
}

#[test]
fn continuous_mode_answers_within_five_milliseconds() {
    let session = Session::new();
    let query = read(&session, "ids", 1)
        .map(|request| request.id().to_string())
        .make_reply()
        .write_stream()
        .trigger(Continuous::secs(10))
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    let mut ids = HashSet::new();
    let median = median(500, |_| {
        let reply = client.post("/ids", b"foo");
        assert_eq!(reply.status, 200);
        assert!(ids.insert(reply.text()), "an id was given twice");
    });
    assert!(median < Duration::from_millis(5), "{median:?}");
}

#[test]
fn files_are_answered_within_a_hundred_milliseconds() {
    let session = Session::new();
    let query = length_service(&session, "files");
    let mut client = Client::connect(port(&query));
    let file = vec![b'x'; FILE_BYTES];
    let median = median(30, |_| {
        let reply = client.post("/files", &file);
        assert_eq!(
            (reply.status, reply.text()),
            (200, format!("{{\"length\":{FILE_BYTES}}}"))
        );
    });
    assert!(median < Duration::from_millis(100), "{median:?}");
}

#[test]
fn concurrent_clients_get_their_own_answers() {
    let session = Session::new();
    let query = length_service(&session, "concurrent");
    let port = port(&query);
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for client in 0..100 {
            scope.spawn(move || {
                let reply = Client::connect(port).post("/concurrent", &vec![b'x'; client]);
                assert_eq!(reply.text(), format!("{{\"length\":{client}}}"));
            });
        }
    });
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_same_name_and_port_start_again() {
    let session = Session::new();
    let mut port_number = 0;
    for _ in 0..2 {
        let query = session
            .read_stream()
            .continuous_server()
            .option("adminAddress", "none")
            .address("127.0.0.1", port_number, "again")
            .option("maxPortAttempts", 1)
            .option("shutdownTimeout", "100ms")
            .load()
            .expect("the options are valid")
            .map(|request| request.body().len())
            .make_reply()
            .write_stream()
            .query_name("again")
            .start()
            .expect("it starts");
        port_number = port(&query);
        let mut client = Client::connect(port_number);
        for _ in 0..100 {
            assert_eq!(client.post("/again", b"foo").text(), "3");
        }
        query.stop().expect("it stops");
        assert!(!query.is_active());
    }
}

#[test]
fn two_services_cannot_have_one_name() {
    let session = Session::new();
    let first = length_service(&session, "one");
    let second = read(&session, "one", 1)
        .map(|_| ())
        .make_reply()
        .write_stream()
        .start();
    let message = second.expect_err("the name is taken").to_string();
    assert!(
        message.contains("2 services with the same name `one`"),
        "{message}"
    );
    assert_eq!(
        Client::connect(port(&first)).post("/one", b"foo").text(),
        "{\"length\":3}"
    );
}

#[test]
fn two_services_run_independently() {
    let session = Session::new();
    let (foo, bar) = (
        length_service(&session, "foo"),
        length_service(&session, "bar"),
    );
    let (mut foo_client, mut bar_client) =
        (Client::connect(port(&foo)), Client::connect(port(&bar)));
    let median = median(100, |_| {
        assert_eq!(foo_client.post("/foo", b"1").text(), "{\"length\":1}");
        assert_eq!(bar_client.post("/bar", b"12").text(), "{\"length\":2}");
    });
    assert!(median < Duration::from_millis(2 * 20), "{median:?}");
    assert_eq!(foo_client.post("/bar", b"1").status, 404);
    foo.stop().expect("it stops");
    assert_eq!(bar_client.post("/bar", b"12").status, 200);
}

#[derive(Deserialize, Row)]
struct Value {
    value: i64,
}

#[test]
fn bad_requests_are_answered_at_once() {
    let session = Session::new();
    let query = read(&session, "parse", 2)
        .parse_request::<Value>()
        .map(|row| Value::to_reply(&row))
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    for (body, status) in [
        (&br#"{"value":1}"#[..], 200),
        (br#"{"valu":1}"#, 400),
        (b"jibberish", 400),
    ] {
        let median = median(10, |_| {
            let reply = client.post("/parse", body);
            assert_eq!(reply.status, status);
            if status == 400 {
                let problem: serde_json::Value =
                    serde_json::from_slice(&reply.body).expect("a problem document");
                assert_eq!(problem["expected"], "{value: i64}");
                assert_eq!(
                    problem["received"],
                    String::from_utf8_lossy(body).into_owned()
                );
                assert_eq!(
                    reply.header("content-type"),
                    Some("application/problem+json")
                );
            }
        });
        assert!(median < Duration::from_millis(60), "{median:?}");
    }
}

impl Value {
    fn to_reply(&self) -> String {
        format!("value {}", self.value)
    }
}

#[derive(Deserialize, Row)]
struct Nullable {
    value: Option<i64>,
}

#[test]
fn the_middle_of_the_pipeline_replies() {
    let session = Session::new();
    let query = read(&session, "middle", 2)
        .parse_request::<Nullable>()
        .send_reply(|row| row.value.is_none().then_some((400, "the value is null")))
        .map(|row| row.value.unwrap_or(-1))
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    for _ in 0..100 {
        assert_eq!(client.post("/middle", br#"{"value":7}"#).text(), "7");
        let null = client.post("/middle", br#"{"value":null}"#);
        assert_eq!(
            (null.status, null.text()),
            (400, "the value is null".to_owned())
        );
        assert_eq!(client.post("/middle", b"jibberish").status, 400);
    }
}

#[test]
fn an_operator_that_panics_now_and_then_fails_nobody() {
    // Every fiftieth call panics, p = 0.02, as long as it is on partition 1.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let session = Session::new();
    let query = read(&session, "faulty", 2)
        .map(|request| {
            if request.id().partition() == 1 {
                assert_ne!(CALLS.fetch_add(1, Ordering::Relaxed) % 50, 49, "on purpose");
            }
            request.id().partition()
        })
        .make_reply()
        .write_stream()
        .trigger(Continuous::secs(1))
        .start()
        .expect("it starts");
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(port(&query))).collect();
    for index in 0..300 {
        assert_eq!(clients[index % 4].post("/faulty", b"foo").status, 200);
    }
    assert!(
        CALLS.load(Ordering::Relaxed) > 100,
        "partition 1 had its share"
    );
    assert!(query.is_active());
}

#[derive(Deserialize, Row)]
struct Key {
    key: u32,
}

#[test]
fn a_join_finds_the_right_row() {
    let session = Session::new();
    let table = Table::from_iter((0..1000u32).map(|key| (key, format!("value {key}"))));
    let query = read(&session, "join", 2)
        .parse_request::<Key>()
        .lookup(&table, |row| &row.key, |_, value| value.cloned())
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    let start = std::time::Instant::now();
    for request in 0..100 {
        let key = request * 37 % 1000;
        let reply = client.post("/join", format!("{{\"key\":{key}}}").as_bytes());
        assert_eq!(reply.text(), format!("value {key}"));
    }
    let mean = start.elapsed() / 100;
    assert!(mean < Duration::from_millis(30), "{mean:?}");
    table.reload([(1, "another".to_owned())]);
    assert_eq!(client.post("/join", b"{\"key\":1}").text(), "another");
    assert_eq!(
        client.post("/join", b"{\"key\":2}").text(),
        "",
        "a null reply is empty"
    );
}

#[test]
fn clients_that_go_away_leave_the_query_active() {
    let session = Session::new();
    let query = length_service(&session, "flaky");
    let request = post("/flaky", &vec![b'x'; FILE_BYTES]);
    for attempt in 0..100 {
        let mut client = Client::connect(port(&query));
        // It goes away after a part of the request, or after all of it and before the reply.
        client.send(&request[..request.len() * (attempt % 11) / 10]);
    }
    assert!(query.is_active());
    assert_eq!(
        Client::connect(port(&query)).post("/flaky", b"foo").text(),
        "{\"length\":3}"
    );
}
