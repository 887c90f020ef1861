//! What the log says, and what it never says. One test, for it takes the log of its whole process.

mod support;

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use snapback::Session;
use support::{Client, eventually, reader_in, serve, silence_panics_on_purpose};
use tracing_subscriber::fmt::MakeWriter;

/// A log that is kept in memory.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Kept {
    type Writer = Kept;

    fn make_writer(&'w self) -> Kept {
        self.clone()
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    /// The line in which this stands, once it is there.
    fn line(&self, words: &str) -> String {
        eventually(words, || {
            let text = self.text();
            let mut lines = text.lines();
            lines.find(|line| line.contains(words)).map(str::to_owned)
        })
    }
}

/// Starts a query whose certificate and keys are files, exchanges them for others and for bad ones, and
/// waits until the log says so.
fn exchange_files(session: &Session, log: &Kept) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| fs::write(at(name), text).expect("it is writable");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    write("cert.pem", &made.cert.pem());
    write("key.pem", &made.signing_key.serialize_pem());
    write("keys", &format!("one:sha256:{}\n", "1".repeat(64)));
    let reader = reader_in(session, "guarded")
        .option("tlsCertFile", at("cert.pem").display())
        .option("tlsKeyFile", at("key.pem").display())
        .option("authKeysFile", at("keys").display());
    let pipeline = reader.load().expect("good options").map(|_| 1).make_reply();
    let service = serve(pipeline.write_stream().query_name("guarded"));
    write("keys", &format!("two:sha256:{}\n", "2".repeat(64)));
    log.line("the keys were exchanged");
    write("keys", "nobody's");
    log.line("the keys that were read before stay in use");
    write("key.pem", "nobody's");
    log.line("the new certificates cannot be used");
    write("key.pem", &made.signing_key.serialize_pem());
    log.line("the certificates were exchanged");
    service.stop().expect("in order");
}

#[test]
fn lines_name_their_query_and_hold_no_payload_and_no_secret() {
    silence_panics_on_purpose();
    let log = Kept::default();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .init();
    let token = "a-token-that-nobody-may-see";
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, token).expect("it is writable");
    let session = Session::new();
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let requests = reader
        .option("adminTokenFile", file.path().display())
        .load()
        .expect("good options");
    let writer = requests
        .map(|request| {
            assert!(
                request.body() != b"payload-of-a-client",
                "payload-of-a-client"
            );
            request.body().len()
        })
        .make_reply()
        .write_stream();
    let service = serve(writer.query_name("greeter"));
    let mut client = service.client();
    client.send(
        "POST /api?secret=in-the-target HTTP/1.1\r\nHost: a\r\nCookie: secret-cookie\r\n\
         Content-Length: 19\r\n\r\npayload-of-a-client",
    );
    assert_eq!(client.answer().status, 500);
    let admin = session.admin_address().expect("it is open");
    for shown in [token, "a-guess-of-an-attacker"] {
        let mut client = Client::connect(admin);
        client.send(format!(
            "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {shown}\r\n\r\n"
        ));
        client.answer();
    }
    service.stop().expect("in order");
    exchange_files(&session, &log);

    let port = service.port();
    for (words, fields) in [
        ("the admin listener is open", format!("address={admin}")),
        (
            "the query serves",
            format!("services=http://127.0.0.1:{port}/api"),
        ),
        (
            "an operator failed",
            format!("request_id={}-0-0", service.run_id()),
        ),
        (
            "an operator failed",
            "query=\"greeter\" partition=0".to_owned(),
        ),
        ("no checkpointLocation", "query=\"greeter\"".to_owned()),
        ("the query serves", "query=\"greeter\"".to_owned()),
        ("the keys were exchanged", "query=\"guarded\"".to_owned()),
        (
            "the keys that were read before stay in use",
            "query=\"guarded\"".to_owned(),
        ),
        (
            "the certificates were exchanged",
            "query=\"guarded\"".to_owned(),
        ),
        (
            "the new certificates cannot be used",
            "query=\"guarded\"".to_owned(),
        ),
        ("the query drains", "query=\"greeter\"".to_owned()),
        ("the query has ended", "query=\"greeter\"".to_owned()),
    ] {
        let line = log.line(words);
        assert!(line.contains(&fields), "{fields}: {line}");
    }
    let text = log.text();
    for line in text.lines() {
        // Once, whether its thread or the line itself has it.
        assert!(
            line.matches(" query=").count() + line.matches("{query=").count() <= 1,
            "{line}"
        );
    }
    for secret in [
        token,
        "a-guess",
        "payload-of",
        "in-the-target",
        "secret-cookie",
    ] {
        assert!(!text.contains(secret), "{secret} in:\n{text}");
    }
}
