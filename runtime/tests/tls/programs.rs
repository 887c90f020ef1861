//! Programs that others wrote speak to a service.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::certificates::Authority;
use crate::support::serve;
use crate::{echo, pattern};

/// Whether a program is there; a test that lacks one says so and ends.
pub(crate) fn is_there(test: &str, program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    if !is_there {
        let why = format!("{program} is not installed");
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    }
    is_there
}

/// Runs a program to its end; it must succeed.
fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    );
    assert!(status.success(), "{program}: {status}\n{stdout}\n{stderr}");
    stdout + &stderr
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[test]
fn openssl_speaks_to_it_in_both_versions_and_resumes() {
    const TEST: &str = "openssl_speaks_to_it_in_both_versions_and_resumes";
    if !is_there(TEST, "openssl") {
        return;
    }
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    let (ca, ticket) = (authority.path("ca.pem"), authority.path("ticket"));
    let address = format!("127.0.0.1:{}", service.port());
    let request = "GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let mut arguments = vec!["s_client", "-connect", &address, flag, "-ign_eof"];
        arguments.extend(["-CAfile", text(&ca), "-verify_return_error"]);
        arguments.extend(["-verify_hostname", "localhost", "-alpn", "http/1.1"]);
        let save = ["-sess_out", text(&ticket)];
        let said = run("openssl", &[arguments.as_slice(), &save].concat(), request);
        for part in [
            "Verify return code: 0 (ok)",
            "ALPN protocol: http/1.1",
            "HTTP/1.1 200 OK",
            version,
            "New, ",
        ] {
            assert!(said.contains(part), "{part} is missing:\n{said}");
        }
        let resume = ["-sess_in", text(&ticket)];
        let said = run(
            "openssl",
            &[arguments.as_slice(), &resume].concat(),
            request,
        );
        assert!(
            said.contains("Reused, ") && said.contains("200 OK"),
            "{said}"
        );
    }
}

#[test]
fn curl_speaks_to_it() {
    if !is_there("curl_speaks_to_it", "curl") {
        return;
    }
    let authority = Authority::new("ours");
    let clients = Authority::new("clients");
    clients.issue("friend");
    let (ca, client_ca) = (authority.path("ca.pem"), clients.path("ca.pem"));
    let reader = authority
        .reader("api")
        .option("tlsClientCaFile", client_ca.display());
    let service = serve(echo(reader));
    let url = service.service_info()[0].to_string();
    let (cert, key) = (clients.path("friend.pem"), clients.path("friend.key"));
    let mut arguments = vec!["-sS", "--max-time", "20", "--noproxy", "*"];
    arguments.extend([
        "--cacert",
        text(&ca),
        "--cert",
        text(&cert),
        "--key",
        text(&key),
    ]);
    let said = run(
        "curl",
        &[arguments.as_slice(), &["-d", "hello", &url]].concat(),
        "",
    );
    assert_eq!(said, "hello");
    // Two requests on one connection, and one that is larger than a record.
    let (big, url_of_big) = (pattern(200_000), format!("{url}?bytes=200000"));
    let file = authority.path("big");
    let to_file = [
        "-o",
        text(&file),
        &url_of_big,
        "-o",
        text(&file),
        &url_of_big,
    ];
    let write_out = ["-w", "%{http_code} %{num_connects}\n"];
    let said = run(
        "curl",
        &[arguments.as_slice(), &write_out, &to_file].concat(),
        "",
    );
    assert_eq!(said, "200 1\n200 0\n");
    assert!(std::fs::read(&file).unwrap() == big);
}

const PYTHON: &str = r#"
import http.client, ssl, sys
ca, port = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context(cafile=ca)
context.set_alpn_protocols(["http/1.1"])
connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
connection.connect()
for body in [b"x", b"y" * 100_000, b"z" * 3]:
    connection.request("POST", "/api", body=body)
    reply = connection.getresponse()
    assert reply.status == 200, reply.status
    assert reply.read() == body
sock, version = connection.sock, connection.sock.version()
assert sock.selected_alpn_protocol() == "http/1.1"
# Bytes that come piece by piece, and a body in chunks.
connection.request("POST", "/api", body=iter([b"ab", b"cd"]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
assert connection.getresponse().read() == b"abcd"
connection.request("GET", "/api", headers={"Connection": "close"})
connection.getresponse().read()
print(version)
"#;

#[test]
fn python_speaks_to_it() {
    if !is_there("python_speaks_to_it", "python3") {
        return;
    }
    let authority = Authority::new("ours");
    let service = serve(echo(authority.reader("api")));
    let (ca, port) = (authority.path("ca.pem"), service.port().to_string());
    let said = run("python3", &["-c", PYTHON, text(&ca), &port], "");
    assert_eq!(said.trim(), "TLSv1.3");
}
