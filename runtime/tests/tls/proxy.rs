//! The PROXY protocol: the client's address survives a balancer, and nobody else can lie about it.

use std::io::{Read, Write};

use crate::certificates::{Authority, VERSIONS, connect, secure_over};
use crate::echo;
use crate::support::{Client, Service, get, post, reader, serve};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const CLIENT: &str = "192.0.2.7:56324";

fn behind_a_balancer(trusted: &str) -> Service {
    let reader = reader("api").option("proxyProtocol", "on");
    serve(echo(reader.option("trustedProxies", trusted)))
}

/// What the service says the client's address is, to someone who begins with these bytes.
fn seen(port: u16, header: &[u8]) -> String {
    let mut client = Client::over(connect(port));
    client.send([header, &get("/api")].concat());
    client.answer().text().to_owned()
}

#[test]
fn the_client_is_seen_behind_a_trusted_proxy() {
    let service = behind_a_balancer("127.0.0.0/8");
    assert_eq!(seen(service.port(), LINE), CLIENT);
    assert_eq!(seen(service.port(), BINARY), CLIENT);
    for own in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        assert!(seen(service.port(), own).starts_with("127.0.0.1:"));
    }
    // In any pieces, and for every request of the connection.
    for header in [LINE, BINARY] {
        let mut client = Client::over(connect(service.port()));
        for byte in header {
            client.send([*byte]);
        }
        for _ in 0..2 {
            assert_eq!(client.get("/api").text(), CLIENT);
        }
        client.send([post("/api", "a"), get("/api")].concat());
        assert_eq!(client.answer().text(), "a");
        assert_eq!(client.answer().text(), CLIENT);
    }
}

/// Closes at once, without a word: whoever speaks there is not who it should be.
#[test]
fn a_trusted_proxy_without_a_header_is_cut_off() {
    let service = behind_a_balancer("127.0.0.1");
    let too_long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    for beginning in [
        get("/api"),
        b"PROXY TCP4 nonsense\r\n".to_vec(),
        too_long,
        BINARY[..13]
            .iter()
            .copied()
            .chain(*b"\xff\xff\xff")
            .collect(),
    ] {
        let mut stream = connect(service.port());
        stream.write_all(&beginning).unwrap();
        let mut reply = Vec::new();
        // A reset says the same as an end: bytes may be unread.
        let _ = stream.read_to_end(&mut reply);
        assert_eq!(reply, b"", "{}", beginning.escape_ascii());
    }
    assert_eq!(seen(service.port(), LINE), CLIENT);
}

#[test]
fn nobody_else_can_lie() {
    let service = behind_a_balancer("192.0.2.0/24");
    // Who is not trusted is a client itself.
    assert!(seen(service.port(), b"").starts_with("127.0.0.1:"));
    for header in [LINE, BINARY] {
        let mut client = Client::over(connect(service.port()));
        client.send([header, &get("/api")].concat());
        let answer = client.answer();
        assert_eq!((answer.status, answer.closes()), (400, true));
        assert!(client.is_at_end());
    }
}

#[test]
fn a_service_that_trusts_nobody_does_not_start() {
    let error = echo(reader("api").option("proxyProtocol", "on")).start();
    let error = error.expect_err("nobody is trusted").to_string();
    assert!(
        error.starts_with("option `trustedProxies` cannot be ``: it must be"),
        "{error}"
    );
}

#[test]
fn whoever_connects_to_a_unix_socket_may_be_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let reader = reader("api").option("host", format!("unix:{}", socket.display()));
    let reader = reader
        .option("proxyProtocol", "on")
        .option("trustedProxies", "unix");
    let _service = serve(echo(reader));
    let mut client = Client::connect_unix(&socket);
    client.send([LINE, &get("/api")].concat());
    assert_eq!(client.answer().text(), CLIENT);
}

#[test]
fn the_header_comes_before_tls() {
    let authority = Authority::new("ours");
    let reader = authority.reader("api").option("proxyProtocol", "on");
    let service = serve(echo(reader.option("trustedProxies", "127.0.0.1")));
    for header in [LINE, BINARY, LOCAL] {
        let mut stream = connect(service.port());
        stream.write_all(header).unwrap();
        let config = authority.client_config(&VERSIONS, None);
        let mut client = Client::secured(secure_over(config, stream));
        let shown = client.get("/api").text().to_owned();
        let expected = if header == LOCAL {
            "127.0.0.1:"
        } else {
            CLIENT
        };
        assert!(shown.starts_with(expected), "{shown}");
    }
    // The header and the hello in the same bytes.
    let mut hello = LINE.to_vec();
    let mut session = crate::certificates::session(authority.client_config(&VERSIONS, None));
    session.write_tls(&mut hello).unwrap();
    let mut stream = connect(service.port());
    stream.write_all(&hello).unwrap();
    let mut client = Client::secured(rustls::StreamOwned::new(session, stream));
    assert_eq!(client.get("/api").text(), CLIENT);
}
