//! The floor answers rightly, however its requests arrive.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use snapback_bench::address::Address;
use snapback_bench::floor::Floor;
use snapback_bench::load::ReplyParser;
use snapback_bench::poller::PollMode;
use snapback_bench::{HELLO_BODY, HELLO_REPLY};

/// Serves until the test ends.
fn start(address: &str) -> Address {
    let address = address.parse().expect("an address");
    let floor = Floor::bind(&address, PollMode::Blocking).expect("a free address");
    let address = floor.address().clone();
    thread::spawn(move || floor.run());
    address
}

fn connect(address: &Address) -> TcpStream {
    let Address::Tcp(address) = address else {
        panic!("{address} is not TCP")
    };
    let stream = TcpStream::connect::<SocketAddr>(*address).expect("the floor listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time-out that is not zero");
    stream
}

fn request(body: &str) -> String {
    let length = body.len();
    format!("POST /my_api HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Reads `count` replies and gives their statuses and bodies.
fn replies(stream: &mut impl Read, count: usize) -> Vec<(u16, String)> {
    let mut parser = ReplyParser::default();
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    while found.len() < count {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).expect("a reply");
        assert!(read > 0, "closed after {found:?}");
        buffer.extend_from_slice(&bytes[..read]);
        while let Some(reply) = parser.parse(&buffer).expect("a reply") {
            let body = String::from_utf8_lossy(&buffer[reply.body.clone()]).into_owned();
            let end = reply.body.end;
            found.push((reply.status, body));
            buffer.drain(..end);
        }
    }
    assert!(buffer.is_empty(), "more than {count} replies");
    found
}

#[test]
fn a_request_is_answered_wherever_it_is_cut() {
    let mut stream = connect(&start("127.0.0.1:0"));
    let request = request(HELLO_BODY);
    for cut in 0..request.len() {
        let (head, tail) = request.as_bytes().split_at(cut);
        stream.write_all(head).expect("the floor reads");
        stream.write_all(tail).expect("the floor reads");
        assert_eq!(
            replies(&mut stream, 1),
            [(200, HELLO_REPLY.to_owned())],
            "cut at {cut}"
        );
    }
}

#[test]
fn a_request_is_answered_byte_by_byte() {
    let mut stream = connect(&start("127.0.0.1:0"));
    for byte in request(HELLO_BODY).as_bytes() {
        stream.write_all(&[*byte]).expect("the floor reads");
    }
    assert_eq!(replies(&mut stream, 1), [(200, HELLO_REPLY.to_owned())]);
}

#[test]
fn pipelined_requests_are_answered_in_order_also_to_a_slow_reader() {
    let mut stream = connect(&start("127.0.0.1:0"));
    let count = 200_000;
    let requests: String = (0..count)
        .map(|index| {
            request(&format!(
                r#"{{"foo":"{}","bar":1}}"#,
                "x".repeat(index % 10)
            ))
        })
        .collect();
    // Nothing is read until the floor stops reading, since it has no room left to write to.
    let mut writer = stream.try_clone().expect("a second handle");
    writer
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("not zero");
    let mut rest = requests.as_bytes();
    while let Ok(written) = writer.write(rest) {
        rest = &rest[written..];
        assert!(
            !rest.is_empty(),
            "the floor read on without room for its replies"
        );
    }
    writer.set_write_timeout(None).expect("none is allowed");
    let rest = rest.to_vec();
    let sender = thread::spawn(move || writer.write_all(&rest));
    let found = replies(&mut stream, count);
    sender
        .join()
        .expect("it does not panic")
        .expect("the floor reads on");
    let expected = |index: usize| (200, format!(r#"{{"fooLength":{}}}"#, index % 10));
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(index, reply)| *reply == expected(index))
    );
}

#[test]
fn what_is_no_good_request_is_told_so() {
    let address = start("127.0.0.1:0");
    let mut stream = connect(&address);
    let requests = [
        request(r#"{"foo":"a\nb","bar":1}"#),
        request(r#"{"foo":"x"}"#),
        request("{"),
        "GET /my_api HTTP/1.1\r\n\r\n".into(),
        request(HELLO_BODY).replace("/my_api", "/other"),
        request(HELLO_BODY),
        // What follows a malformed request cannot be told from it: the connection ends.
        request(HELLO_BODY).replace("Content-Length: ", "Content-Length: +"),
    ];
    stream
        .write_all(requests.concat().as_bytes())
        .expect("the floor reads");
    let found = replies(&mut stream, requests.len());
    let statuses: Vec<_> = found.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 400, 400, 404, 404, 200, 400]);
    assert_eq!(found[0].1, r#"{"fooLength":3}"#);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn a_unix_socket_is_served() {
    let folder = tempfile::tempdir().expect("a folder for the socket");
    let path = folder.path().join("floor");
    start(&format!("unix:{}", path.display()));
    let mut stream = UnixStream::connect(path).expect("the floor listens");
    for _ in 0..3 {
        stream
            .write_all(request(HELLO_BODY).as_bytes())
            .expect("the floor reads");
        assert_eq!(replies(&mut stream, 1), [(200, HELLO_REPLY.to_owned())]);
    }
}
