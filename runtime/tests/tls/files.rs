//! The files of certificates: what is wrong with them, whom they let in, and their exchange.

use std::fs;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::client::Resumption;
use snapback::{CertificateError, Error, ServerReader, StreamWriter};

use crate::certificates::{Authority, VERSIONS, secure};
use crate::echo;
use crate::support::{Client, Service, eventually, get, reader, serve};

/// The message of a start that fails, with the folder of the files cut out.
fn refusal(authority: &Authority, reader: ServerReader) -> String {
    let error = echo(reader).start().expect_err("the files are wrong");
    let folder = authority.path("");
    error.to_string().replace(folder.to_str().unwrap(), "")
}

#[test]
fn a_start_tells_what_is_wrong_with_a_file() {
    let authority = Authority::new("ours");
    authority.issue("good");
    authority.issue("other");
    authority.write("empty.pem", "nothing of use\n");
    let damaged = fs::read_to_string(authority.path("good.pem")).unwrap();
    authority.write("damaged.pem", &damaged.replace("MII", "M?I"));
    authority.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    authority.write(
        "bad.key",
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
    );
    let pair = |certificate: &str, key: &str| {
        let reader = reader("api").option("tlsCertFile", authority.path(certificate).display());
        reader.option("tlsKeyFile", authority.path(key).display())
    };
    for (certificate, key, expected) in [
        (
            "none.pem",
            "good.key",
            "cannot read tlsCertFile none.pem: No such file or directory (os error 2); give the path of a PEM file that exists",
        ),
        (
            "good.pem",
            "none.key",
            "cannot read tlsKeyFile none.key: No such file or directory (os error 2); give the path of a PEM file that exists",
        ),
        (
            "empty.pem",
            "good.key",
            "there is no certificate in tlsCertFile empty.pem: it must hold a section `BEGIN CERTIFICATE`",
        ),
        (
            "good.key",
            "good.key",
            "there is no certificate in tlsCertFile good.key: it must hold a section `BEGIN CERTIFICATE`",
        ),
        (
            "good.pem",
            "good.pem",
            "there is no private key in tlsKeyFile good.pem: it must hold a section `BEGIN PRIVATE KEY`, `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`",
        ),
        (
            "good.pem",
            "encrypted.key",
            "the private key in tlsKeyFile encrypted.key is encrypted: decrypt it with `openssl pkey -in FILE -out PLAIN`, and let only the service read the result",
        ),
        (
            "good.pem",
            "other.key",
            "the private key in tlsKeyFile other.key does not belong to the first certificate in tlsCertFile good.pem: give the pair, and put the service's own certificate first",
        ),
    ] {
        assert_eq!(refusal(&authority, pair(certificate, key)), expected);
    }
    let damaged = refusal(&authority, pair("damaged.pem", "good.key"));
    assert!(
        damaged.starts_with("tlsCertFile damaged.pem is no good PEM file: "),
        "{damaged}"
    );
    let unusable = refusal(&authority, pair("good.pem", "bad.key"));
    assert!(
        unusable.starts_with("the private key in tlsKeyFile bad.key cannot be used: "),
        "{unusable}"
    );
    let ca = pair("good.pem", "good.key")
        .option("tlsClientCaFile", authority.path("empty.pem").display());
    assert!(
        refusal(&authority, ca).starts_with("there is no certificate in tlsClientCaFile empty.pem")
    );
    assert_eq!(
        refusal(&authority, reader("api").option("tlsCertFile", "cert.pem")),
        "option `tlsKeyFile` cannot be ``: it must be the file of the private key of tlsCertFile"
    );
    assert_eq!(
        refusal(&authority, reader("api").option("tlsPort", 8443)),
        "option `tlsCertFile` cannot be ``: it must be the file of a certificate, since tlsPort is given"
    );
}

/// A service that lets only those in whom `clients` knows.
fn guarded(server: &Authority, clients: &Authority) -> StreamWriter {
    let ca = clients.path("ca.pem");
    echo(server.reader("api").option("tlsClientCaFile", ca.display()))
}

#[test]
fn only_clients_of_the_authority_are_let_in() {
    let (ours, clients, strangers) = (
        Authority::new("ours"),
        Authority::new("clients"),
        Authority::new("strangers"),
    );
    let service = serve(guarded(&ours, &clients));
    for version in VERSIONS {
        let ask = |identity| {
            let config = ours.client_config(&[version], identity);
            let mut stream = secure(config, service.port());
            stream.write_all(&get("/api"))?;
            stream.read(&mut [0; 1])
        };
        // With TLS 1.3 the client believes that it is in until it reads the server's alert.
        let none = ask(None).expect_err("no certificate").to_string();
        assert!(
            none.contains("CertificateRequired") || none.contains("HandshakeFailure"),
            "{:?}: {none}",
            version.version
        );
        let wrong = ask(Some(strangers.issue("stranger")))
            .expect_err("a stranger")
            .to_string();
        assert!(
            wrong.contains("UnknownCA") || wrong.contains("DecryptError"),
            "{wrong}"
        );
        assert_eq!(ask(Some(clients.issue("friend"))).expect("a friend"), 1);
    }
    let progress = service.status();
    assert_eq!((progress.restarts, progress.is_active), (0, true));
}

/// What the service's certificate is, by its last bytes.
fn shown(client: &mut Client) -> Vec<u8> {
    let chain = client
        .tls()
        .conn
        .peer_certificates()
        .expect("a certificate");
    chain[0].as_ref().to_vec()
}

fn certificate_of_new_connections(authority: &Authority, service: &Service) -> Vec<u8> {
    let mut client = authority.client(service.port());
    assert_eq!(client.get("/api").status, 200);
    shown(&mut client)
}

#[test]
fn new_files_are_taken_up_under_load_without_an_error() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api").option("numPartitions", 2)));
    let mut kept = authority.client(service.port());
    assert_eq!(kept.get("/api").status, 200);
    let first = shown(&mut kept);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            // Both kinds of traffic: new connections, and requests on an old one.
            let mut old = authority.client(service.port());
            while !over.load(Ordering::Relaxed) {
                assert_eq!(authority.client(service.port()).get("/api").status, 200);
                assert_eq!(old.post("/api", "abc").text(), "abc");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut before = first.clone();
        for _ in 0..2 {
            let second = authority.issue("server");
            eventually("the new certificate is shown", || {
                let now = certificate_of_new_connections(&authority, &service);
                let is_new = now == second.certificate.as_ref();
                assert!(
                    is_new || now == before,
                    "a certificate that is neither old nor new"
                );
                is_new.then_some(())
            });
            before = second.certificate.as_ref().to_vec();
        }
        over.store(true, Ordering::Relaxed);
        load.join().expect("no request failed");
    });
    assert!(served.into_inner() > 10);
    assert_eq!(kept.get("/api").status, 200, "an open connection goes on");
    assert_eq!(shown(&mut kept), first);
}

#[test]
fn new_files_that_cannot_be_used_change_nothing() {
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    let first = certificate_of_new_connections(&authority, &service);
    let key = fs::read_to_string(authority.path("server.key")).unwrap();
    authority.write("server.key", "spoilt");
    let Err(Error::Certificate(error)) = service.reload_tls() else {
        panic!("a key of nothing was read");
    };
    assert!(matches!(*error, CertificateError::NoKey { .. }), "{error}");
    assert_eq!(certificate_of_new_connections(&authority, &service), first);
    // By hand nothing is waited for.
    authority.write("server.key", &key);
    service.reload_tls().expect("the files are good again");
    let second = authority.issue("server");
    service.reload_tls().expect("a new pair");
    assert_eq!(
        certificate_of_new_connections(&authority, &service),
        second.certificate.as_ref()
    );
    service.stop().unwrap();
    assert!(matches!(
        service.reload_tls(),
        Err(Error::Certificate(error)) if matches!(*error, CertificateError::NotInUse)
    ));
}

/// Who resumes a session shows no certificate again, so its ticket must not outlive its authority.
#[test]
fn a_ticket_is_worth_nothing_once_its_authority_is_not_trusted() {
    let (ours, clients, others) = (
        Authority::new("ours"),
        Authority::new("clients"),
        Authority::new("others"),
    );
    let service = serve(guarded(&ours, &clients));
    let mut config = ours.client_config(&VERSIONS, Some(clients.issue("friend")));
    config.resumption = Resumption::in_memory_sessions(8);
    let ask = |config| {
        let mut stream = secure(config, service.port());
        stream.write_all(&get("/api"))?;
        stream.read_exact(&mut [0; 1])?;
        Ok::<_, std::io::Error>(stream.conn.handshake_kind())
    };
    ask(config.clone()).expect("a friend");
    assert_eq!(
        ask(config.clone()).expect("again"),
        Some(rustls::HandshakeKind::Resumed)
    );
    // A new pair of the service's own changes nothing for its clients.
    ours.issue("server");
    service.reload_tls().expect("a new pair");
    assert_eq!(
        ask(config.clone()).expect("and again"),
        Some(rustls::HandshakeKind::Resumed)
    );
    let pem = fs::read_to_string(others.path("ca.pem")).unwrap();
    clients.write("ca.pem", &pem);
    service.reload_tls().expect("another authority");
    ask(config).expect_err("nobody's friend any more");
}
