//! What was wrong in Spark Serving, each as a test: the numbers are those of a list of its defects.

mod common;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Client, port, post, read};
use snapback::prelude::*;

fn start_at(host: &str) -> StreamingQuery {
    Session::new()
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address(host, 0, "api")
        .load()
        .expect("the options are valid")
        .map(|_| "here")
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts")
}

/// 1: it bound loopback whatever `host` said.
#[test]
fn the_host_is_honoured() {
    let any = start_at("0.0.0.0");
    let other: Ipv4Addr = "127.0.0.2".parse().expect("an address");
    assert!(
        TcpStream::connect((other, port(&any))).is_ok(),
        "0.0.0.0 is every address"
    );

    let one = start_at("127.0.0.1");
    assert!(
        TcpStream::connect((other, port(&one))).is_err(),
        "127.0.0.1 is one address"
    );

    let six = start_at("::1");
    assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port(&six))).is_ok());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port(&six))).is_err());
}

/// 3: a null reply killed the service.
#[test]
fn a_null_reply_is_empty() {
    let session = Session::new();
    let query = read(&session, "null", 1)
        .map(|request| (!request.body().is_empty()).then(|| "a reply".to_owned()))
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    for _ in 0..10 {
        let null = client.post("/null", b"");
        assert_eq!((null.status, null.text().as_str()), (200, ""));
        assert_eq!(null.header("content-length"), Some("0"));
        assert_eq!(null.header("content-type"), None);
        assert_eq!(client.post("/null", b"x").text(), "a reply");
    }
}

/// 4 and 5: a poison record killed the query, or left it hanging while it said that it was active.
#[test]
fn after_a_panic_all_others_are_answered() {
    let session = Session::new();
    let query = read(&session, "poison", 1)
        .map(|request| {
            assert_ne!(request.body(), b"poison");
            request.body().len()
        })
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    for _ in 0..20 {
        let poisoned = client.post("/poison", b"poison");
        assert_eq!(poisoned.status, 500);
        let text = poisoned.text();
        assert!(
            text.contains(query.run_id()) && !text.contains("assert"),
            "{text}"
        );
        assert_eq!(client.post("/poison", b"fine").text(), "4");
    }
    assert!(query.is_active());
}

/// A request that panics once is tried again; the reply to the first attempt is taken back.
#[test]
fn a_request_is_tried_again() {
    static FAILED: AtomicBool = AtomicBool::new(false);
    let session = Session::new();
    let query = read(&session, "retry", 1)
        .process(|request, cx| {
            cx.reply().header("x-attempt", "seen");
            assert!(
                FAILED.swap(true, Ordering::Relaxed),
                "the first attempt fails"
            );
            Some(request.body().len())
        })
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let reply = Client::connect(port(&query)).post("/retry", b"foo");
    assert_eq!((reply.status, reply.text()), (200, "3".to_owned()));
    let attempts = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "x-attempt")
        .count();
    assert_eq!(attempts, 1, "what the first attempt wrote is taken back");
}

/// 6: memory grew with every request.
#[test]
fn memory_is_flat() {
    const BATCH: usize = 100;
    let session = Session::new();
    let query = read(&session, "flat", 1)
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .trigger(Continuous::millis(50))
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    let requests = post("/flat", b"foo").repeat(BATCH);
    let mut exchange = |times: usize| {
        for _ in 0..times {
            client.send(&requests);
            for _ in 0..BATCH {
                assert_eq!(client.reply().status, 200);
            }
        }
    };
    exchange(200);
    let before = resident_bytes();
    exchange(2000);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more after 200,000 requests");
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a line VmRSS");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a value")
        .parse()
        .expect("a number");
    kib * 1024
}

/// 8: empty replies hung.
#[test]
fn empty_replies_are_complete() {
    let session = Session::new();
    let query = read(&session, "empty", 1)
        .make_reply_with(|request, reply| match request.body() {
            b"text" => reply.text(""),
            b"bytes" => reply.bytes(b""),
            b"204" => reply.status(204).empty(),
            b"304" => reply.status(304).text("never sent"),
            _ => reply.empty(),
        })
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    for (body, status) in [
        ("text", 200),
        ("bytes", 200),
        ("204", 204),
        ("304", 304),
        ("", 200),
    ] {
        let reply = client.post("/empty", body.as_bytes());
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (status, ""),
            "{body}"
        );
    }
}

/// 10: a port that was free when it was looked for was taken when it was bound.
#[test]
fn many_services_get_ports_of_their_own() {
    let queries: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..32)
            .map(|_| scope.spawn(|| start_at("127.0.0.1")))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().expect("it starts"))
            .collect()
    });
    let mut ports: Vec<_> = queries.iter().map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 32);
    for query in &queries {
        assert_eq!(
            Client::connect(port(query)).post("/api", b"").text(),
            "here"
        );
    }
}

/// 11: a filtered row never got a reply.
#[test]
fn a_filtered_row_is_answered_at_once() {
    for (status, option) in [(204, None), (422, Some("422"))] {
        let session = Session::new();
        let mut writer = read(&session, "filtered", 1)
            .filter(|request| request.body() == b"pass")
            .map(|_| "passed")
            .make_reply()
            .write_stream();
        if let Some(option) = option {
            writer = writer.option("unansweredReply", option);
        }
        let query = writer.start().expect("it starts");
        let mut client = Client::connect(port(&query));
        assert_eq!(client.post("/filtered", b"stay").status, status);
        assert_eq!(client.post("/filtered", b"pass").text(), "passed");
    }
}

/// 13 in part: another number of partitions against the same checkpoint was refused.
#[test]
fn a_checkpoint_serves_another_number_of_partitions() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = directory.path().to_str().expect("a UTF-8 path");
    let session = Session::new();
    let mut seen = std::collections::HashSet::new();
    let (mut id, mut offsets) = (None, [0; 3]);
    for partitions in [3, 1, 2] {
        let query = read(&session, "repartitioned", partitions)
            .map(|request| request.id().to_string())
            .make_reply()
            .write_stream()
            .option("checkpointLocation", location)
            .start()
            .expect("it starts");
        assert_eq!(
            id.get_or_insert(query.id().to_owned()),
            query.id(),
            "the query keeps its id"
        );
        let mut clients: Vec<_> = (0..6).map(|_| Client::connect(port(&query))).collect();
        for request in 0..60 {
            let client = &mut clients[request % 6];
            let id = client.post("/repartitioned", b"").text();
            let mut parts = id.rsplit('-').map(|part| part.parse::<usize>());
            let offset = parts.next().expect("an offset").expect("a number");
            let partition = parts.next().expect("a partition").expect("a number");
            assert!(
                offset >= offsets[partition],
                "{id}: partition {partition} went back"
            );
            offsets[partition] = offset + 1;
            assert!(seen.insert(id), "an id was given twice");
        }
        drop(clients);
        query.stop().expect("it stops");
        let epochs = snapback::checkpoint::read_committed(location).expect("it is whole");
        let last = epochs.last().expect("a last epoch is committed at the end");
        for (partition, marks) in &last.partitions {
            assert_eq!(marks.settled, offsets[*partition as usize] as u64);
            assert_eq!(marks.next, marks.settled);
        }
        assert_eq!(
            last.partitions.len(),
            3,
            "partitions that are gone keep their offsets"
        );
    }
}

/// 14: it called a public address look-up at its start.
#[test]
fn nothing_outside_is_asked() {
    let session = Session::new();
    let query = read(&session, "info", 1)
        .map(|_| ())
        .make_reply()
        .write_stream()
        .start();
    let query = query.expect("it starts");
    let json = session.service_info_json("info");
    let port = port(&query);
    let expected = format!(
        r#"[{{"name":"info","scheme":"http","host":"127.0.0.1","port":{port},"path":"info","localIp":"127.0.0.1"}}]"#
    );
    assert_eq!(json, expected);
    assert_eq!(session.service_info_json("another"), "[]");
}
