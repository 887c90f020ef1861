//! The admin listener's port, and what it does with those who are no friends of HTTP.

use std::net::TcpListener;

use crate::support::{Client, eventually, reader_in, serve};
use crate::{ask, echo_in, json, watched};

#[test]
fn a_taken_port_does_not_keep_a_service_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let watched = watched(&[("adminAddress", &address)]);
    assert_eq!(watched.service.client().post("/api", "abc").body, b"3");
    assert_eq!(watched.session.admin_address(), None);
    drop(taken);
    let admin = eventually("the port is taken over", || watched.session.admin_address());
    assert_eq!(admin.to_string(), address);
    assert_eq!(ask(admin, "GET", "/readyz", &[]).status, 200);
}

#[test]
fn a_session_has_one_listener_for_all_its_queries() {
    let watched = watched(&[]);
    let admin = watched.admin();
    let session = &watched.session;
    let _same = echo_in(session, "same", &[]);
    let _default = echo_in(session, "default", &[("adminAddress", "auto")]);
    let _none = echo_in(session, "none", &[("adminAddress", "none")]);
    assert_eq!(session.admin_address(), Some(admin));
    let list = json(&watched.get("/api/v1/queries"));
    assert_eq!(list["queries"].as_array().map(Vec::len), Some(4));
    let reader = reader_in(session, "other").option("adminAddress", "127.0.0.1:4999");
    let writer = reader.load().expect("good options").map(|_| 1).make_reply();
    let error = writer.write_stream().start().expect_err("it is refused");
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:4999") && text.contains("127.0.0.1:0"),
        "{text}"
    );
}

#[test]
fn none_opens_nothing_and_the_end_of_the_session_closes() {
    let session = snapback::Session::new();
    let writer = reader_in(&session, "api").load().expect("good options");
    let service = serve(writer.map(|_| 1).make_reply().write_stream());
    assert_eq!(session.admin_address(), None);
    drop(service);
    let watched = watched(&[]);
    let admin = watched.admin();
    drop(watched);
    eventually("the listener is closed", || {
        std::net::TcpStream::connect(admin).is_err().then_some(())
    });
}

#[test]
fn garbage_is_answered_or_closed_and_harms_nobody() {
    let watched = watched(&[]);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(64 << 10)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: x\r\n".repeat(1000)
    );
    let cases: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /api/v1/queries/api/stop HTTP/1.1\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        let mut client = Client::connect(watched.admin());
        // It may have been closed in the middle of a long one.
        let _ = client.try_send(case);
        match client.try_answer() {
            Ok(answer) => assert!((400..500).contains(&answer.status), "{answer:?}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
    }
    assert!(watched.service.is_active());
    assert_eq!(watched.get("/readyz").status, 200);
}

#[test]
fn who_holds_all_connections_does_not_keep_a_probe_out() {
    let watched = watched(&[]);
    let _held: Vec<_> = (0..80)
        .map(|_| {
            let mut client = Client::connect(watched.admin());
            client.send("GET /livez HTTP/1.1\r\nHost: ");
            client
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(watched.get("/livez").status, 200);
    }
}
