//! The cases of `wire/` over real sockets: what the codec makes of bytes, the server does.

mod support;
mod wire;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use support::{PATIENCE, Service, reader, serve};
use wire::{Case, NEIGHBOUR, unescape};

/// Answers with what it was asked: method and target in a header, the body as body.
fn mirror(max_body_bytes: Option<usize>) -> Service {
    let mut reader = reader("");
    if let Some(bytes) = max_body_bytes {
        reader = reader.option("maxRequestBytes", bytes);
    }
    let requests = reader.load().expect("the options are good");
    serve(
        requests
            .make_reply_with(|request, reply| {
                let asked = format!("{} {}", request.method(), request.target());
                reply.header("x-asked", &asked).bytes(request.body());
            })
            .write_stream(),
    )
}

/// What a connection brought.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// Method and target, and the body.
    Mirrored(String, Vec<u8>),
    /// The status of a refusal, which closes.
    Refused(u16),
}

/// What the case expects of a connection: nothing behind a reply that closes.
fn expected(case: &Case) -> Vec<Got> {
    let mut got = Vec::new();
    for line in &case.expected {
        if matches!(line.as_str(), "continue" | "more") {
            continue;
        }
        if let Some(Ok(status)) = line.split(' ').next().map(str::parse) {
            got.push(Got::Refused(status));
            break;
        }
        let (asked, rest) = line.split_once(" HTTP/1.").expect("a version");
        let (_, body) = rest.split_once("} \"").expect("fields and a body");
        let body = unescape(body.strip_suffix('"').expect("a body"), &case.place);
        got.push(Got::Mirrored(asked.to_owned(), body));
        if rest[2..].starts_with("close") {
            break;
        }
    }
    got
}

/// Sends the pieces and no more, and reads until the server closes, which it does in order.
fn exchange<'p>(service: &Service, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", service.port())).expect("a listener");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    for piece in pieces {
        // A refusal may come before all is sent; what the server makes of it is read all the same.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    let ended = stream.read_to_end(&mut received);
    ended.expect("the connection ends in order, not by a reset");
    received
}

/// Takes replies apart. `expected` tells which are to a HEAD or an OPTIONS for the server; whether
/// the client was told to go on is said too.
fn parse(mut bytes: &[u8], expected: &[Got]) -> (Vec<Got>, bool) {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let (mut got, mut goes_on) = (Vec::new(), false);
    while !bytes.is_empty() {
        if let Some(rest) = bytes.strip_prefix(CONTINUE) {
            (bytes, goes_on) = (rest, true);
            continue;
        }
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        let (head, rest) = bytes.split_at(end.expect("the end of a head") + 4);
        let head = String::from_utf8(head.to_vec()).expect("a head of UTF-8");
        let field = |name: &str| {
            let mut lines = head.split("\r\n");
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let status: u16 = head[9..12].parse().expect("a status");
        let asked = match field("x-asked") {
            Some(asked) => asked,
            None if status == 204 => "OPTIONS *",
            None => {
                assert_eq!(field("connection"), Some("close"), "{head}");
                got.push(Got::Refused(status));
                let length: usize =
                    field("content-length").map_or(0, |l| l.parse().expect("digits"));
                assert_eq!(
                    rest.len(),
                    length,
                    "nothing stands behind a refusal: {head}"
                );
                break;
            }
        };
        let sent = match expected.get(got.len()) {
            Some(Got::Mirrored(_, body)) => body.as_slice(),
            _ => &[],
        };
        if asked.starts_with("HEAD ") || status == 204 {
            // The reply has no body; that the request had this one shows in the length.
            if let Some(length) = field("content-length") {
                assert_eq!(length.parse(), Ok(sent.len()), "{head}");
            }
            got.push(Got::Mirrored(asked.to_owned(), sent.to_vec()));
            bytes = rest;
            continue;
        }
        let length = field("content-length").expect("a length");
        let (body, rest) = rest.split_at(length.parse().expect("digits"));
        got.push(Got::Mirrored(asked.to_owned(), body.to_vec()));
        bytes = rest;
    }
    (got, goes_on)
}

/// Runs every case that a server can be set up for, with what `around` makes of it.
fn run(around: impl Fn(&Case) -> Option<(Vec<Vec<u8>>, Vec<Got>)>) {
    let mut services: BTreeMap<Option<usize>, Service> = BTreeMap::new();
    let (mut failures, mut count) = (Vec::new(), 0);
    for case in Case::all() {
        // A query cannot have heads as short as some cases need.
        if case.max_head_bytes.is_some() || case.max_headers.is_some() {
            continue;
        }
        let Some((pieces, expected)) = around(&case) else {
            continue;
        };
        count += 1;
        let service = services
            .entry(case.max_body_bytes)
            .or_insert_with(|| mirror(case.max_body_bytes));
        let received = exchange(service, pieces.iter().map(Vec::as_slice));
        let (got, goes_on) = parse(&received, &expected);
        if got != expected {
            let place = &case.place;
            failures.push(format!(
                "{place}\n  expected {expected:?}\n  got      {got:?}"
            ));
        }
        // A client whose body has begun may be told or not: that depends on the split.
        let waits = case.expected.iter().any(|line| line == "continue");
        assert!(goes_on || !waits, "{}: is not told to go on", case.place);
    }
    assert!(count >= 600, "only {count} cases");
    let failed = failures.len();
    assert!(
        failures.is_empty(),
        "{failed} failures\n{}",
        failures.join("\n")
    );
}

fn neighbour() -> Got {
    Got::Mirrored("GET /neighbour".to_owned(), Vec::new())
}

#[test]
fn whole() {
    run(|case| Some((vec![case.bytes.clone()], expected(case))));
}

#[test]
fn byte_by_byte() {
    run(|case| {
        let pieces = case.bytes.chunks(1).map(<[u8]>::to_vec).collect();
        (case.bytes.len() < 1000).then(|| (pieces, expected(case)))
    });
}

#[test]
fn behind_a_request_and_before_one() {
    run(|case| {
        let mut expected = expected(case);
        expected.insert(0, neighbour());
        // Behind a reply that closes, and behind what is not whole, the last one is not served.
        let goes_on = case.expected.iter().all(|line| {
            !line.starts_with(|c: char| c.is_ascii_digit())
                && !line.contains(" close {")
                && line != "more"
        });
        let is_open = case.expected.last().is_some_and(|line| line == "more");
        if goes_on {
            expected.push(neighbour());
        }
        let behind = if is_open { b"".as_slice() } else { NEIGHBOUR };
        Some((vec![[NEIGHBOUR, &case.bytes, behind].concat()], expected))
    });
}
