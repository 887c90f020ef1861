//! The program as a user has it: started, asked over sockets, ended by a signal.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/service_file");

fn snapback(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str], folder: &Path) -> Output {
    let mut command = snapback(arguments);
    command.current_dir(folder).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The program while it serves.
struct Serving {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Serving {
    fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Serving { child, lines }
    }

    /// What it says behind a word at the beginning of a line.
    fn said(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let bytes = self.lines.read_line(&mut line).expect("a line");
            assert!(bytes > 0, "it ended before it said `{word}`");
            if let Some(rest) = line.trim().strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Ends it as a service manager does; its exit code.
    fn end(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of a request to a URL.
fn ask(url: &str, query: &str, body: Option<&str>) -> (u16, String) {
    let plain = url.strip_prefix("http://").expect("a URL");
    let (address, path) = plain.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let (method, body) = match body {
        Some(body) => ("POST", body),
        None => ("GET", ""),
    };
    let length = body.len();
    let request = format!(
        "{method} /{path}{query} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it takes it");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a reply");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[test]
fn a_query_is_served_by_one_command() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("zips.csv"), "zip,city\n10115,Berlin\n").expect("a file");
    fs::write(folder.path().join("sample.json"), r#"{"zip":10115,"n":2}"#).expect("a file");
    let mut command = snapback(&[
        "sql",
        "SELECT repeat(city, n) AS cities FROM requests JOIN zips ON requests.zip = zips.zip",
        "--sample",
        "sample.json",
        "--table",
        "zips=zips.csv",
        "--listen",
        "127.0.0.1:0/my_api",
        "--option",
        "numPartitions=1",
        "--option",
        "adminAddress=127.0.0.1:0",
        "--option",
        "shutdownTimeout=100ms",
    ]);
    command.current_dir(folder.path());
    let mut service = Serving::begin(command);
    let url = service.said("serves");
    let curl = service.said("try");
    assert_eq!(curl, format!(r#"curl -d '{{"n":1,"zip":1}}' {url}"#));
    let metrics = service.said("metrics");
    assert_eq!(
        ask(&url, "", Some(r#"{"zip":10115,"n":2}"#)),
        (200, "BerlinBerlin".to_owned())
    );
    assert_eq!(ask(&url, "", Some(r#"{"zip":1,"n":2}"#)).0, 204);
    let (status, problem) = ask(&url, "", Some(r#"{"zip":"x","n":2}"#));
    assert_eq!(status, 400);
    assert!(
        problem.contains("field `zip`: expected BIGINT"),
        "{problem}"
    );
    assert!(
        ask(&metrics, "", None)
            .1
            .contains("http_server_request_duration")
    );
    assert_eq!(service.end(), Some(0));
}

#[test]
fn the_services_of_a_file_are_served() {
    let mut command = snapback(&["run", "service.yaml", "--only", "length", "--only", "city"]);
    command
        .current_dir(EXAMPLE)
        .env("PORT", "0")
        .env("CITY_PORT", "0");
    let mut service = Serving::begin(command);
    let length = service.said("serves");
    let city = service.said("serves");
    let counted = ask(&length, "", Some(r#"{"foo":"héllo","bar":1}"#));
    assert_eq!(counted, (200, r#"{"fooLength":5}"#.to_owned()));
    let found = ask(&city, "?zip=60601", None);
    assert_eq!(
        found,
        (200, r#"{"city":"Chicago","state":"IL"}"#.to_owned())
    );
    assert_eq!(service.end(), Some(0));
}

#[test]
fn a_file_with_problems_is_not_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "services:\n  a:\n    listen: localhost:0/a\n    sql: SELECT x FROM requests\n";
    fs::write(folder.path().join("service.yaml"), file).expect("a file");
    for command in ["run", "test", "explain"] {
        let output = output(&[command, "service.yaml"], folder.path());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {told}");
        assert!(told.contains("column 'x' not found"), "{command}: {told}");
        assert!(told.contains("--> service.yaml:4:17"), "{command}: {told}");
    }
}

#[test]
fn the_tests_of_the_example_pass_and_junit_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let junit = junit.to_str().expect("a path in UTF-8");
    let output = output(
        &["test", "service.yaml", "--junit", junit],
        Path::new(EXAMPLE),
    );
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    assert!(told.ends_with("5 passed, 0 failed\n"), "{told}");
    let xml = fs::read_to_string(junit).expect("a file");
    assert!(
        xml.contains(r#"tests="5""#) && xml.contains(r#"failures="0""#),
        "{xml}"
    );
}

#[test]
fn a_test_that_fails_says_what_came_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = r#"services:
  a:
    listen: localhost:0/a
    schema: n INT
    sql: SELECT n, n * 2 AS twice FROM requests
    tests:
      - name: wrong in two places
        request: {json: {n: 2}}
        reply: {json: {n: 3, twice: <text>}}
      - name: wrong status
        request: {body: "{"}
        reply: {json: {}}
      - name: right
        request: {json: {n: 2}}
        reply: {json: {n: 2, twice: 4}}
"#;
    fs::write(folder.path().join("service.yaml"), file).expect("a file");
    let all = output(&["test", "service.yaml"], folder.path());
    assert_eq!(all.status.code(), Some(1));
    let told = text(&all.stdout);
    for line in [
        "FAILED  a: wrong in two places",
        "body.n: expected 3, received 2",
        r#"body.twice: expected "<text>", received 4"#,
        "FAILED  a: wrong status",
        "status: expected 200, received 400",
        "ok      a: right",
        "1 passed, 2 failed",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let right = output(
        &["test", "service.yaml", "--filter", "right"],
        folder.path(),
    );
    assert_eq!(right.status.code(), Some(0));
    let none = output(
        &["test", "service.yaml", "--filter", "nothing"],
        folder.path(),
    );
    assert_eq!(none.status.code(), Some(2), "no test is no success");
}

/// In all three modes, as a file and as one command.
#[test]
fn requests_are_answered_early_and_are_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let of_mode = |mode: &str| {
        format!(
            r#"
  {mode}:
    listen: localhost:0/{mode}
    mode: {mode}
    body: rows
    schema: n INT, by INT
    sendReply:
      - when: by = 0
        reply: string_to_response('nobody is there', 422)
      - when: n > 100
        reply: n
    sql: SELECT n / by AS q FROM requests
    tests:
      - name: rows
        request: {{json: [{{n: 6, by: 2}}, {{n: 9, by: 3}}]}}
        reply: {{json: [{{q: 3}}, {{q: 3}}]}}
      - name: none
        request: {{json: []}}
        reply: {{json: []}}
      - name: early
        request: {{json: [{{n: 6, by: 2}}, {{n: 9, by: 0}}]}}
        reply: {{status: 422, body: nobody is there}}
      - name: early, in its own type
        request: {{json: {{n: 101, by: 1}}}}
        reply: {{json: {{n: 101}}}}
      - name: an element that does not fit
        request: {{json: [{{n: 6, by: x}}]}}
        reply: {{status: 400, body: "<any>field `[0].by`<any>"}}
"#
        )
    };
    let services: String = ["continuous", "distributed", "server"]
        .map(of_mode)
        .concat();
    let file = format!("services:{services}");
    fs::write(folder.path().join("service.yaml"), file).expect("a file");
    let tested = output(&["test", "service.yaml"], folder.path());
    let told = text(&tested.stdout) + &text(&tested.stderr);
    assert!(told.contains("15 passed, 0 failed"), "{told}");

    let mut service = Serving::begin(snapback(&[
        "sql",
        "SELECT n / by AS q FROM requests",
        "--schema",
        "by INT, n INT",
        "--body",
        "rows",
        "--send-reply",
        "by = 0",
        "string_to_response('nobody is there', 422)",
        "--listen",
        "127.0.0.1:0/my_api",
        "--option",
        "adminAddress=none",
        "--option",
        "shutdownTimeout=100ms",
    ]));
    let url = service.said("serves");
    let curl = service.said("try");
    assert_eq!(curl, format!(r#"curl -d '[{{"by":1,"n":1}}]' {url}"#));
    let rows = r#"[{"n":6,"by":2},{"n":9,"by":3}]"#;
    assert_eq!(
        ask(&url, "", Some(rows)),
        (200, r#"[{"q":3},{"q":3}]"#.to_owned())
    );
    let refused = ask(&url, "", Some(r#"{"n":6,"by":0}"#));
    assert_eq!(refused, (422, "nobody is there".to_owned()));
    assert_eq!(service.end(), Some(0));
}

#[test]
fn a_query_is_explained_and_measured() {
    let output = output(&["explain", "service.yaml", "length"], Path::new(EXAMPLE));
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    for line in [
        "mode   continuous_server()",
        "runs   compiled once into 1 step over Arrow columns, in the partition's turn",
        "reads  foo Utf8",
        "Projection: character_length(requests.foo) AS fooLength",
        "batch     parse  evaluate     reply",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert_eq!(told.lines().count(), 14, "four sizes of batches:\n{told}");
}

#[test]
fn a_checkpoint_is_shown_and_its_damage_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("state");
    let location = format!("checkpointLocation={}", checkpoint.display());
    let mut service = Serving::begin(snapback(&[
        "sql",
        "SELECT n FROM requests",
        "--schema",
        "n INT",
        "--listen",
        "127.0.0.1:0/a",
        "--trigger",
        "10ms",
        "--option",
        "numPartitions=1",
        "--option",
        "adminAddress=none",
        "--option",
        "shutdownTimeout=100ms",
        "--option",
        &location,
    ]));
    let url = service.said("serves");
    for n in 0..3 {
        let body = format!(r#"{{"n":{n}}}"#);
        assert_eq!(ask(&url, "", Some(&body)), (200, body));
    }
    assert_eq!(service.end(), Some(0));

    let shown = output(&["checkpoint", "state"], folder.path());
    let told = text(&shown.stdout);
    assert!(shown.status.success(), "{told}");
    assert!(told.contains("service   a"), "{told}");
    assert!(
        told.contains("           0               3               3"),
        "{told}"
    );
    let json = output(&["checkpoint", "state", "--json", "--all"], folder.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let epochs = json["epochs"].as_array().expect("epochs");
    assert_eq!(epochs.last().expect("one")["partitions"]["0"]["next"], 3);

    let newest = epochs.last().expect("one")["epoch"].to_string();
    let file = checkpoint.join("offsets").join(newest);
    let damaged = fs::read_to_string(&file)
        .expect("a file")
        .replace("\"0\":3", "\"0\":4");
    fs::write(&file, damaged).expect("a file");
    let shown = output(&["checkpoint", "state"], folder.path());
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown.stdout));
    assert!(
        text(&shown.stdout).contains("damaged: epoch"),
        "{}",
        text(&shown.stdout)
    );
}

#[test]
fn the_reference_is_in_the_documentation_and_the_schema_is_json() {
    let reference = text(&snapback(&["reference"]).output().expect("it runs").stdout);
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/service-files.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(docs, &reference).expect("a file");
    }
    let written = fs::read_to_string(docs).expect("a file");
    assert_eq!(written, reference, "UPDATE_DOCS=1 writes it");
    let schema = snapback(&["schema"]).output().expect("it runs");
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    let service = &schema["properties"]["services"]["additionalProperties"];
    assert_eq!(service["required"], serde_json::json!(["listen", "sql"]));
}

#[test]
fn shells_are_told_what_to_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let output = snapback(&["completions", shell]).output().expect("it runs");
        assert!(text(&output.stdout).contains("checkpoint"), "{shell}");
    }
}
