//! The beginning of a TLS connection.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

use crate::certificates::{Authority, VERSIONS, connect, secure, secure_over, session};
use crate::echo;
use crate::support::{Client, get, serve};

#[test]
fn both_versions_are_spoken() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = authority.client_config(&[version], None);
        let mut client = Client::secured(secure(config, service.port()));
        assert_eq!(client.post("/api", "abc").text(), "abc");
        assert_eq!(client.tls().conn.protocol_version(), Some(expected));
    }
}

#[test]
fn the_oldest_version_may_be_raised() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api").option("tlsMinVersion", "1.3")));
    let old = authority.client_config(&[&TLS12], None);
    let error = secure(old, service.port()).write_all(b"x").unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let new = authority.client_config(&[&TLS13], None);
    let mut client = Client::secured(secure(new, service.port()));
    assert_eq!(client.get("/api").status, 200);
}

#[test]
fn http_1_1_is_agreed_on_and_nothing_else() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    let offering = |protocols: &[&str]| {
        let mut config = authority.client_config(&VERSIONS, None);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        secure(config, service.port())
    };
    let mut client = Client::secured(offering(&["h2", "http/1.1"]));
    assert_eq!(client.get("/api").status, 200);
    assert_eq!(client.tls().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let error = offering(&["h2"]).write_all(b"x").unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
}

/// The second connection brings the ticket of the first.
#[test]
fn sessions_are_resumed() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api").option("numPartitions", 2)));
    for version in VERSIONS {
        let config = Arc::new(authority.client_config(&[version], None));
        let kinds: Vec<_> = (0..4)
            .map(|_| {
                let stream = secure_over(Arc::clone(&config), connect(service.port()));
                let mut client = Client::secured(stream);
                assert_eq!(client.get("/api").status, 200);
                client.tls().conn.handshake_kind().expect("it is over")
            })
            .collect();
        assert_eq!(
            kinds[1..],
            [HandshakeKind::Resumed; 3],
            "{:?} after {:?}",
            version.version,
            kinds[0]
        );
        assert_ne!(kinds[0], HandshakeKind::Resumed);
    }
}

/// Drives a handshake by hand: every byte that the client says is written by itself, and the
/// request comes in the same bytes as the end of the handshake.
fn byte_by_byte(config: ClientConfig, port: u16) {
    let mut stream = connect(port);
    let mut session = session(config);
    session.writer().write_all(&get("/api")).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"127.0.0.1") && !reply.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut said = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut said).unwrap();
        }
        for byte in said.chunks(1) {
            stream.write_all(byte).unwrap();
        }
        if session.wants_read() {
            let bytes = session.read_tls(&mut stream).unwrap();
            assert_ne!(bytes, 0, "closed after {}", reply.escape_ascii());
            session.process_new_packets().unwrap();
        }
        let mut room = [0; 4096];
        while let Ok(bytes @ 1..) = session.reader().read(&mut room) {
            reply.extend_from_slice(&room[..bytes]);
        }
    }
    assert!(
        reply.starts_with(b"HTTP/1.1 200"),
        "{}",
        reply.escape_ascii()
    );
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    for version in VERSIONS {
        byte_by_byte(authority.client_config(&[version], None), service.port());
    }
    // The longest handshake there is: the client shows a certificate too.
    let ca = authority.path("ca.pem");
    let mutual = authority
        .reader("api")
        .option("tlsClientCaFile", ca.display());
    let service = serve(echo(mutual));
    for version in VERSIONS {
        let identity = authority.issue("client");
        byte_by_byte(
            authority.client_config(&[version], Some(identity)),
            service.port(),
        );
    }
}

/// Until the handshake is over, and while a part of a record waits for its rest, the time of a head
/// runs: no byte that comes late prolongs it.
#[test]
fn slow_handshakes_and_slow_records_have_the_time_of_a_head() {
    let authority = Authority::new("ours");
    let reader = authority.reader("api").option("headerTimeout", "300ms");
    let service = serve(echo(reader.option("keepAliveTimeout", "1h")));
    // Nothing, a part of a hello, and a part of a record behind a request.
    let silent = connect(service.port());
    let mut hello = Vec::new();
    session(authority.client_config(&VERSIONS, None))
        .write_tls(&mut hello)
        .unwrap();
    let mut half = connect(service.port());
    half.write_all(&hello[..hello.len() / 2]).unwrap();
    let mut client = authority.client(service.port());
    assert_eq!(client.get("/api").status, 200);
    let mut record = client.tls().sock.try_clone().unwrap();
    record.write_all(&[23, 3, 3, 0, 100, 1]).unwrap();
    for mut stream in [silent, half, record] {
        let mut rest = Vec::new();
        // A reset says the same as an end.
        let _ = stream.read_to_end(&mut rest);
    }
    // Who is only silent after a request waits as long as it likes.
    let mut other = authority.client(service.port());
    assert_eq!(other.get("/api").status, 200);
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 600 {
        assert_eq!(authority.client(service.port()).get("/api").status, 200);
    }
    assert_eq!(other.get("/api").status, 200);
}

#[test]
fn a_connection_that_is_idle_for_too_long_ends_with_a_close_notify() {
    let authority = Authority::new("ours");
    let reader = authority.reader("api").option("keepAliveTimeout", "100ms");
    let service = serve(echo(reader));
    let mut client = authority.client(service.port());
    assert_eq!(client.get("/api").status, 200);
    assert_eq!(client.tls().read(&mut [0; 1]).unwrap(), 0);
}

/// Many clients connect at once, and one that is connected is served between their handshakes.
#[test]
fn many_handshakes_leave_turns_to_others() {
    const CLIENTS: usize = 200;
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    let mut connected = authority.client(service.port());
    assert_eq!(connected.get("/api").status, 200);
    let config = Arc::new({
        let mut config = authority.client_config(&VERSIONS, None);
        config.resumption = rustls::client::Resumption::disabled();
        config
    });
    // All hellos are there before the first is answered by a client.
    let mut sessions: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(service.port());
            let mut session = session(Arc::clone(&config));
            session.write_tls(&mut stream).unwrap();
            (stream, session)
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(connected.post("/api", "between").text(), "between");
    }
    for (stream, session) in sessions.drain(..) {
        let mut client = Client::secured(rustls::StreamOwned::new(session, stream));
        assert_eq!(client.get("/api").status, 200);
    }
}
