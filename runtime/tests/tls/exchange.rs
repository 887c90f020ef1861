//! Requests and replies over TLS: whatever holds over TCP holds here.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use snapback::Scheme;
use snapback::prelude::*;

use crate::certificates::{Authority, connect, secure_over};
use crate::support::{Client, Service, eventually, get, post, serve};
use crate::{echo, pattern};

fn service(authority: &Authority) -> Service {
    serve(echo(authority.reader("api")).trigger(Continuous::millis(20)))
}

#[test]
fn a_request_is_answered() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut client = authority.client(service.port());
    assert_eq!(client.post("/api", "abc").text(), "abc");
    let peer = client.tls().sock.local_addr().unwrap().to_string();
    assert_eq!(client.get("/api").text(), peer);
    assert_eq!(client.tls().conn.alpn_protocol(), None);
    let info = &service.service_info()[0];
    assert_eq!(info.scheme, Scheme::Https);
    assert_eq!(
        info.to_string(),
        format!("https://127.0.0.1:{}/api", service.port())
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut client = authority.client(service.port());
    let requests: Vec<u8> = (0..500)
        .flat_map(|at| post("/api", at.to_string()))
        .collect();
    client.send(requests);
    for at in 0..500 {
        assert_eq!(client.answer().text(), at.to_string());
    }
}

#[test]
fn a_large_body_and_a_large_reply_pass_whole() {
    const BYTES: usize = 16 << 20;
    let authority = Authority::new("ours");
    let writer = echo(authority.reader("api").option("maxRequestBytes", "32m"));
    let service = serve(writer);
    let mut client = authority.client(service.port());
    let mut other = authority.client(service.port());
    let body = pattern(BYTES);
    // Two ends of one connection cannot both only write: the server echoes once it has everything.
    client.send(post("/api", &body));
    client.await_first_byte();
    // It has sent what fits between the two, and goes on with others.
    assert_eq!(other.post("/api", "meanwhile").text(), "meanwhile");
    assert!(client.answer().body == body, "the reply was changed");
    assert_eq!(client.post("/api", "then").text(), "then");
}

/// A reply counts as given once its last byte is with the kernel; sealed bytes that wait do not.
#[test]
fn a_slow_reader_is_not_answered_before_it_reads() {
    const BYTES: usize = 16 << 20;
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut slow = authority.client(service.port());
    slow.send(get(&format!("/api?bytes={BYTES}")));
    slow.await_first_byte();
    let marks = || {
        let progress = service.last_progress()?;
        let partition = &progress.partitions[0];
        (partition.next == 1).then_some(partition.settled)
    };
    assert_eq!(eventually("the request is counted", marks), 0);
    // What it reads comes in pieces of its own choice.
    assert!(
        slow.answer().body == pattern(BYTES),
        "the reply was changed"
    );
    eventually("the reply is settled", || (marks()? == 1).then_some(()));
    assert_eq!(slow.get("/api").status, 200);
}

#[test]
fn a_connection_ends_with_a_close_notify() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut client = authority.client(service.port());
    client.send(b"GET /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.answer().closes());
    // rustls calls an end without it an unexpected one.
    assert_eq!(client.tls().read(&mut [0; 1]).unwrap(), 0);

    let mut client = authority.client(service.port());
    assert_eq!(client.post("/api", "abc").text(), "abc");
    client.finish_sending();
    assert_eq!(client.tls().read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_client_that_closes_its_half_is_answered() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut client = authority.client(service.port());
    client.send([post("/api", "one"), post("/api", "two")].concat());
    client.finish_sending();
    assert_eq!(client.answer().text(), "one");
    assert_eq!(client.answer().text(), "two");
    assert_eq!(client.tls().read(&mut [0; 1]).unwrap(), 0);
}

/// An attacker may end a TCP connection at any byte; what it cuts off is not served.
#[test]
fn a_body_that_is_cut_off_is_not_served() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let whole = post("/api", "0123456789");
    for with_notify in [false, true] {
        let mut client = authority.client(service.port());
        client.send(&whole[..whole.len() - 1]);
        if with_notify {
            client.finish_sending();
        } else {
            client.tls().sock.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(
            client.tls().read(&mut [0; 1]).unwrap(),
            0,
            "no reply, and an end"
        );
    }
    service.stop().unwrap();
    let next = service.last_progress().expect("an epoch").partitions[0].next;
    assert_eq!(next, 0, "a request that was cut off was served");
}

/// One byte in a record, one record in a packet, and the packets cut anywhere.
#[test]
fn requests_may_come_in_any_pieces() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut client = authority.client(service.port());
    for byte in post("/api", "byte by byte") {
        client.send([byte]);
    }
    assert_eq!(client.answer().text(), "byte by byte");

    let request = post("/api", pattern(40_000));
    let stream = client.tls();
    stream.conn.set_buffer_limit(None);
    stream.conn.writer().write_all(&request).unwrap();
    let mut records = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut records).unwrap();
    }
    for piece in records.chunks(997) {
        stream.sock.write_all(piece).unwrap();
    }
    assert!(client.answer().body == pattern(40_000));
}

#[test]
fn plain_http_is_told_that_it_is_at_the_wrong_port() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut client = service.client();
    client.send(post("/api", "plain"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.closes()), (400, true));
    assert!(answer.text().contains("https://"), "{}", answer.text());
    assert!(client.is_at_end());
    assert_eq!(authority.client(service.port()).get("/api").status, 200);
}

#[test]
fn a_plain_and_a_secured_port_serve_one_query() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api").option("tlsPort", 0)));
    let ports: Vec<_> = service
        .service_info()
        .iter()
        .map(|info| (info.scheme, info.port.unwrap()))
        .collect();
    let [(Scheme::Http, plain), (Scheme::Https, secured)] = ports[..] else {
        panic!("{ports:?}");
    };
    let mut clients = [
        Client::connect(("127.0.0.1", plain)),
        authority.client(secured),
    ];
    for client in &mut clients {
        assert_eq!(client.post("/api", "abc").text(), "abc");
    }
}

#[test]
fn a_drain_over_tls_loses_nothing() {
    let authority = Authority::new("ours");
    let writer = echo(authority.reader("api")).option("shutdownTimeout", "20s");
    let service = serve(writer);
    let mut client = authority.client(service.port());
    assert!(!client.post("/api", "before").closes());
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| service.stop());
        eventually("it drains", || service.status().is_draining.then_some(()));
        // A silent connection stays open, and its next reply says that it is the last.
        eventually("a reply that closes", || {
            let answer = client.post("/api", "during");
            assert_eq!(answer.text(), "during");
            answer.closes().then_some(())
        });
        assert_eq!(client.tls().read(&mut [0; 1]).unwrap(), 0, "a close_notify");
        drop(client);
        stopped.join().expect("no panic").expect("it stops");
    });
}

/// Garbage is answered with an alert, and costs nobody else anything.
#[test]
fn garbage_is_answered_with_an_alert() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut other = authority.client(service.port());
    // The content type of a handshake; nothing else fits.
    for garbage in [
        b"\x16\x03\x01\xff\xffxx".as_slice(),
        b"\x16\x03\x01\0\x05\x01\xff\xff\xffx",
        &[0; 64],
        &[0x80; 64],
    ] {
        let mut stream = connect(service.port());
        stream.write_all(garbage).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(reply.is_empty() || reply[0] == 21, "{reply:?}");
        assert_eq!(service.status().restarts, 0, "{garbage:?}");
        assert_eq!(other.get("/api").status, 200);
    }
    // A record that was changed on its way.
    let stream = secure_over(
        authority.client_config(&crate::certificates::VERSIONS, None),
        connect(service.port()),
    );
    let mut client = Client::secured(stream);
    assert_eq!(client.get("/api").status, 200);
    let forged = [&[23, 3, 3, 0, 32], [0; 32].as_slice()].concat();
    client.tls().sock.write_all(&forged).unwrap();
    let error = client.tls().read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[test]
fn a_handshake_that_never_ends_is_bounded() {
    let authority = Authority::new("ours");
    let service = service(&authority);
    let mut stream = connect(service.port());
    // A ClientHello that says it is 60,000 bytes long, in whole records.
    let mut message = vec![1, 0, 0xea, 0x60];
    message.resize(4 + 60_000, 0);
    let mut sent = 0;
    for part in message.chunks(16 << 10) {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        let record = [&[22, 3, 1], length.as_slice(), part].concat();
        if stream.write_all(&record).is_err() {
            break;
        }
        sent += part.len();
    }
    let mut reply = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.read_to_end(&mut reply).unwrap();
    assert!(
        sent <= message.len() && reply.len() < 100,
        "{} bytes",
        reply.len()
    );
}
