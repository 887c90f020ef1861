//! The load generator and a server with TLS, as a user runs them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use snapback_bench::HELLO_REPLY;
use snapback_bench::load::{LoadError, LoadOptions, TrustError, run};
use snapback_bench::poller::PollMode;
use snapback_bench::tls::SelfSigned;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_snapback-bench");

/// `serve --tls` in a process of its own, which ends with the test.
struct Secured {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Secured {
    fn start() -> Secured {
        Secured::start_with(&["hello"])
    }

    fn start_with(arguments: &[&str]) -> Secured {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--tls", "--listen", "127.0.0.1:0"])
            .args(["--cores", "off", "--poll-mode", "blocking"])
            .args(arguments)
            .arg("--tls-cert-out")
            .arg(folder.path().join("ca.pem"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("where it listens");
        let url = format!("https://{address}/my_api");
        Secured { child, url, folder }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            connections: 2,
            count: Some(200),
            duration: Duration::from_secs(30),
            poll_mode: PollMode::Blocking,
            expect_body: Some(HELLO_REPLY.as_bytes().into()),
            ..LoadOptions::new(self.url.parse().expect("a URL"))
        }
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.child.kill().expect("it runs until now");
        self.child.wait().expect("it was killed");
    }
}

fn load(arguments: &[&str], more: &[&Path]) -> Output {
    Command::new(PROGRAM)
        .args(["load", "--count=300", "--poll-mode=blocking"])
        .args(["--expect-body", HELLO_REPLY])
        .args(arguments)
        .args(more)
        .output()
        .expect("the program runs")
}

#[test]
fn a_server_of_https_is_loaded_when_its_certificate_is_trusted() {
    let server = Secured::start();
    let json_path = server.folder.path().join("load.json");
    let output = load(
        &[&server.url, "--connections=3", "--pipeline=4", "--ca"],
        &[&server.certificate(), Path::new("--json"), &json_path],
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(" · TLS 1.3, TLS13_"), "{text}");
    let json = fs::read(json_path).expect("it was written");
    let report: Value = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(report["completed"], 300);
}

#[test]
fn any_certificate_will_do_for_who_says_so() {
    let server = Secured::start();
    let output = load(&[&server.url, "--insecure"], &[]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn requests_larger_than_the_socket_go_out_in_parts() {
    let server = Secured::start();
    // 64 requests at once, each of 250 KB, are more than the buffers of a socket hold.
    let body = format!(
        r#"{{"foo":"hello world","bar":42,"more":"{}"}}"#,
        "x".repeat(250_000)
    );
    let report = run(&LoadOptions {
        connections: 1,
        pipeline: 64,
        body: body.into_bytes().into(),
        insecure: true,
        ..server.options()
    });
    let report = report.expect("the server listens");
    assert_eq!(report.errors.total(), 0, "{report}");
    assert_eq!(report.completed, 200, "{report}");
}

#[test]
fn replies_larger_than_a_read_come_in_whole() {
    let server = Secured::start_with(&["large"]);
    // Each is 1 MiB, four times what the load generator reads at once.
    let report = run(&LoadOptions {
        pipeline: 4,
        count: Some(40),
        body: br#"{"foo":"large","bar":42}"#.as_slice().into(),
        expect_body: Some(vec![b'x'; 1 << 20].into()),
        insecure: true,
        ..server.options()
    });
    let report = report.expect("the server listens");
    assert_eq!(report.errors.total(), 0, "{report}");
    assert_eq!(report.completed, 40, "{report}");
}

#[test]
fn a_handshake_is_not_waited_for_longer_than_asked() {
    // It takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let target = format!("https://{address}/").parse().expect("a URL");
    let error = run(&LoadOptions {
        timeout: Duration::from_millis(50),
        insecure: true,
        ..LoadOptions::new(target)
    });
    let error = error.expect_err("there is no handshake");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot open connection 0 to {address}: the server did not end the TLS handshake in time"
        )
    );
}

#[test]
fn connections_that_end_are_secured_again() {
    // Twenty connections, one after the other in each of two places.
    let server = Secured::start_with(&["hello", "--option", "maxRequestsPerConnection=10"]);
    let report = run(&LoadOptions {
        ca: Some(server.certificate()),
        ..server.options()
    });
    let report = report.expect("the server listens");
    assert_eq!(report.errors.total(), 0, "{report}");
    assert_eq!(report.completed, 200, "{report}");
}

#[test]
fn another_certificate_is_refused_in_words() {
    let server = Secured::start();
    let other = SelfSigned::new().expect("a certificate");
    let output = load(&[&server.url, "--ca"], &[&other.certificate_file()]);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let why = "the server's certificate is signed by none of those in --ca";
    assert!(said.contains(why), "{said}");
}

#[test]
fn somebody_must_be_trusted() {
    let options = LoadOptions::new("https://localhost:1/".parse().expect("a URL"));
    let error = run(&options).expect_err("nobody is trusted");
    assert_eq!(
        error.to_string(),
        "https://localhost:1 needs --ca FILE, the certificates to trust (PEM), \
         or --insecure, to accept any of them (for measuring only)"
    );
}

#[test]
fn a_file_without_certificates_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("empty.pem");
    let refused = |why: &str| {
        let error = run(&LoadOptions {
            ca: Some(path.clone()),
            ..LoadOptions::new("https://localhost:1/".parse().expect("a URL"))
        });
        let error = error.expect_err("there is nobody in it");
        assert!(
            matches!(error, LoadError::Trust(TrustError::Ca { .. })),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains("empty.pem: ") && text.contains(why), "{text}");
    };
    refused("No such file");
    fs::write(&path, "nothing of PEM\n").expect("it can be written");
    refused("no certificate in PEM");
}
