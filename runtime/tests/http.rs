//! HTTP/1.1 over real sockets: order, framing, limits, back-pressure, listeners.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Client, median, port, post, read};
use snapback::Peer;
use snapback::prelude::*;

/// Answers with the body in capitals.
fn echo(session: &Session, partitions: usize) -> StreamingQuery {
    read(session, "echo", partitions)
        .map(|request| request.body().to_ascii_uppercase())
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts")
}

#[test]
fn pipelined_requests_come_back_in_order() {
    let session = Session::new();
    let mut client = Client::connect(port(&echo(&session, 2)));
    let mut sent = Vec::new();
    for index in 0..1000 {
        sent.extend(post("/echo", format!("request {index}").as_bytes()));
    }
    client.send(&sent);
    for index in 0..1000 {
        assert_eq!(client.reply().text(), format!("REQUEST {index}"));
    }
}

#[test]
fn a_good_request_is_answered_before_a_malformed_one() {
    let session = Session::new();
    let mut client = Client::connect(port(&echo(&session, 1)));
    client.send(
        &[
            post("/echo", b"good"),
            b"POST /echo HTTP/1.1\r\nbad header\r\n\r\n".to_vec(),
        ]
        .concat(),
    );
    assert_eq!(client.reply().text(), "GOOD");
    let refusal = client.reply();
    assert_eq!(
        (refusal.status, refusal.header("connection")),
        (400, Some("close"))
    );
    assert!(client.is_closed(), "closed in order, not reset");
}

#[test]
fn the_status_table_holds_over_sockets() {
    let session = Session::new();
    let query = session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, "echo")
        .option("maxRequestBytes", "1 KiB")
        .option("maxHeadBytes", "2 KiB")
        .load()
        .expect("the options are valid")
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let long = "x".repeat(4096);
    let many = "a: b\r\n".repeat(200);
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n".to_owned(), 413),
        (format!("GET /echo HTTP/1.1\r\nHost: a\r\nb: {long}\r\n\r\n"), 431),
        (format!("GET /echo HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        (format!("GET /echo/{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("GET /echo HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /echo HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n".to_owned(), 417),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(), 501),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
            400,
        ),
    ] {
        let mut client = Client::connect(port(&query));
        client.send(request.as_bytes());
        let reply = client.reply();
        let shown = &request[..request.len().min(60)];
        assert_eq!(reply.status, status, "{shown:?}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{shown:?}");
        assert!(client.is_closed(), "{shown:?}");
    }
}

#[test]
fn connections_end_as_their_clients_ask() {
    let session = Session::new();
    let query = echo(&session, 1);
    let mut one_zero = Client::connect(port(&query));
    one_zero.send(b"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na");
    assert_eq!(one_zero.reply().header("connection"), Some("keep-alive"));
    one_zero.send(b"POST /echo HTTP/1.0\r\nContent-Length: 1\r\n\r\nb");
    assert_eq!(one_zero.reply().text(), "B");
    assert!(one_zero.is_closed());

    let mut close = Client::connect(port(&query));
    close
        .send(b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nc");
    close.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nnot served");
    let reply = close.reply();
    assert_eq!(
        (reply.text().as_str(), reply.header("connection")),
        ("C", Some("close"))
    );
    assert!(
        close.is_closed(),
        "what came behind the last request is not served"
    );

    let mut head = Client::connect(port(&query));
    head.send(b"HEAD /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    let reply = head.try_reply(false).expect("a reply");
    assert_eq!(
        (reply.status, reply.header("content-length")),
        (200, Some("4"))
    );
    assert_eq!(
        head.post("/echo", b"next").text(),
        "NEXT",
        "no body was sent"
    );

    let mut half = Client::connect(port(&query));
    half.send(
        &[
            post("/echo", b"one"),
            post("/echo", b"two"),
            b"POST /ec".to_vec(),
        ]
        .concat(),
    );
    half.stream().shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(
        (half.reply().text(), half.reply().text()),
        ("ONE".to_owned(), "TWO".to_owned())
    );
    assert!(half.is_closed());
}

#[test]
fn bodies_arrive_in_any_framing() {
    let session = Session::new();
    let mut client = Client::connect(port(&echo(&session, 1)));
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for byte in b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n" {
        client.send(&[*byte]);
    }
    assert_eq!(client.reply().text(), "ABCDEFG");

    client.send(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(client.try_reply(false).expect("leave to go on").status, 100);
    client.send(b"xyz");
    assert_eq!(client.reply().text(), "XYZ");

    let large: Vec<u8> = (0..3 << 20)
        .map(|index: u32| b'a' + (index % 26) as u8)
        .collect();
    assert_eq!(
        client.post("/echo", &large).body,
        large.to_ascii_uppercase()
    );
}

#[test]
fn a_slow_reader_of_a_large_reply_slows_nobody() {
    const LARGE: usize = 64 << 20;
    let session = Session::new();
    let query = read(&session, "large", 1)
        .map(|request| match request.body() {
            b"large" => (0..LARGE).map(|index| (index % 251) as u8).collect(),
            other => other.to_vec(),
        })
        .make_reply()
        .write_stream()
        .trigger(Continuous::millis(10))
        .start()
        .expect("it starts");
    let mut slow = Client::connect(port(&query));
    slow.send(&post("/large", b"large"));
    slow.send(&post("/large", b"and a small one behind it"));
    // Its reply has begun, and waits for its reader.
    slow.stream().peek(&mut [0]).expect("it begins");
    let mut other = Client::connect(port(&query));
    let median = median(200, |_| {
        assert_eq!(other.post("/large", b"small").text(), "small")
    });
    assert!(
        median < Duration::from_millis(50),
        "{median:?} beside a slow reader"
    );

    // The low-water mark waits for the slow one, though later requests are answered.
    common::wait_until("progress", || {
        query.last_progress().is_some_and(|progress| {
            let partition = &progress.partitions[0];
            partition.next >= 204 && partition.settled == 0
        })
    });
    let reply = slow.reply();
    assert_eq!(reply.body.len(), LARGE);
    assert!(
        reply
            .body
            .iter()
            .enumerate()
            .all(|(index, byte)| *byte == (index % 251) as u8)
    );
    assert_eq!(slow.reply().text(), "and a small one behind it");
    common::wait_until("the low-water mark", || {
        query
            .last_progress()
            .is_some_and(|progress| progress.partitions[0].settled == progress.partitions[0].next)
    });
}

#[test]
fn who_sends_without_reading_is_not_read_for_ever() {
    let session = Session::new();
    let query = read(&session, "pushy", 1)
        .map(|_| vec![b'x'; 64 << 10])
        .make_reply()
        .write_stream()
        .trigger(Continuous::millis(10))
        .start()
        .expect("it starts");
    let mut pushy = Client::connect(port(&query));
    pushy
        .stream()
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("it is accepted");
    let request = post("/pushy", &[b'y'; 16 << 10]);
    let start = Instant::now();
    let mut sent = 0;
    while pushy.stream().write_all(&request).is_ok() {
        sent += 1;
        assert!(
            start.elapsed() < common::PATIENCE,
            "{sent} requests were taken in"
        );
    }
    let next = query
        .last_progress()
        .map_or(0, |progress| progress.partitions[0].next);
    assert!(
        next * (64 << 10) < 64 << 20,
        "{next} requests of 64 KiB replies were worked on"
    );
    let mut other = Client::connect(port(&query));
    assert_eq!(other.post("/pushy", b"").body.len(), 64 << 10);
}

#[test]
fn a_slow_upload_slows_nobody() {
    let session = Session::new();
    let query = echo(&session, 1);
    let mut slow = Client::connect(port(&query));
    let request = post("/echo", b"slowly");
    let mut other = Client::connect(port(&query));
    for byte in request {
        slow.send(&[byte]);
        assert_eq!(other.post("/echo", b"fast").text(), "FAST");
    }
    assert_eq!(slow.reply().text(), "SLOWLY");
}

#[test]
fn four_connections_over_two_partitions_are_two_and_two() {
    for _ in 0..10 {
        let session = Session::new();
        let query = read(&session, "balanced", 2)
            .map(|request| request.id().partition())
            .make_reply()
            .write_stream()
            .start()
            .expect("it starts");
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(port(&query))).collect();
        let mut per_partition = HashMap::new();
        for client in &mut clients {
            *per_partition
                .entry(client.post("/balanced", b"").text())
                .or_insert(0) += 1;
        }
        assert_eq!(
            per_partition,
            HashMap::from([("0".to_owned(), 2), ("1".to_owned(), 2)])
        );
    }
}

#[test]
fn each_partition_can_have_a_port() {
    let session = Session::new();
    let query = session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, "ports")
        .option("numPartitions", 3)
        .option("portMode", "perPartition")
        .load()
        .expect("the options are valid")
        .map(|request| request.id().partition())
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let infos = query.service_info();
    assert_eq!(infos.len(), 3);
    for info in infos {
        let partition = info.partition.expect("its partition");
        let mut client = Client::connect(info.port.expect("a port"));
        assert_eq!(client.post("/ports", b"").text(), partition.to_string());
    }
}

#[test]
fn a_unix_socket_serves() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("service.sock");
    let session = Session::new();
    let query = session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address(&format!("unix:{}", socket.display()), 0, "unix")
        .option("shutdownTimeout", "100ms")
        .load()
        .expect("the options are valid")
        .map(|request| request.peer() == Peer::Unix)
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = UnixStream::connect(&socket).expect("it listens");
    client
        .write_all(b"GET /unix HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut reply = String::new();
    client
        .read_to_string(&mut reply)
        .expect("it answers and closes");
    assert!(reply.ends_with("\r\n\r\ntrue"), "{reply}");
    query.stop().expect("it stops");
    assert!(!socket.exists(), "the socket file is removed");
}

#[test]
fn every_part_of_a_request_is_seen() {
    let session = Session::new();
    let query = read(&session, "seen", 1)
        .map(|request| {
            let headers = request.headers();
            let colors: Vec<_> = headers
                .get_all("x-COLOR")
                .map(String::from_utf8_lossy)
                .collect();
            let pairs: Vec<_> = request
                .query_pairs()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            [
                request.method().to_owned(),
                request.path().to_owned(),
                pairs.join(","),
                request.query("x-color").unwrap_or_default().into_owned(),
                colors.join(","),
                request.content_type().unwrap_or("none").to_owned(),
                String::from_utf8_lossy(request.body()).into_owned(),
                matches!(request.peer(), Peer::Tcp(peer) if peer.ip().is_loopback()).to_string(),
                request.id().service().to_owned(),
            ]
            .join("|")
        })
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    client.send(
        b"PUT /seen/below?x-color=a%20red+one&b=2&b=3 HTTP/1.1\r\nHost: a\r\nX-Color: green\r\n\
          x-color: blue\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\nbody",
    );
    assert_eq!(
        client.reply().text(),
        "PUT|/seen/below|x-color=a red one,b=2,b=3|a red one|green,blue|text/x|body|true|seen"
    );
}

#[test]
fn input_cannot_split_a_reply() {
    let session = Session::new();
    let query = read(&session, "split", 1)
        .make_reply_with(|request, reply| {
            let value = request.query("v").unwrap_or_default();
            reply.header("x-echo", &value).text("sent");
        })
        .write_stream()
        .start()
        .expect("it starts");
    let mut client = Client::connect(port(&query));
    assert_eq!(client.get("/split?v=fine").header("x-echo"), Some("fine"));
    let refused = client.get("/split?v=a%0D%0Aset-cookie:%20evil");
    assert_eq!((refused.status, refused.header("set-cookie")), (500, None));
    assert_eq!(client.get("/split?v=fine").status, 200);
}
