//! What a scrape says of requests of all kinds.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use snapback::{BatchOptions, Continuous, Session};

use crate::support::{eventually, get, post, reader_in, serve};
use crate::{ask, echo_in, watched};

/// The samples of a scrape: the name with its labels, and the value.
pub(crate) type Samples = BTreeMap<String, f64>;

fn scrape(admin: SocketAddr) -> Samples {
    let answer = ask(admin, "GET", "/metrics", &[]);
    assert_eq!(answer.status, 200);
    let content_type = answer.header("content-type");
    assert_eq!(
        content_type,
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let lines = answer.text().lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

/// The value of a sample of the query `api`.
pub(crate) fn of_api(samples: &Samples, name: &str, labels: &str) -> f64 {
    let key = format!("{name}{{query=\"api\"{labels}}}");
    *samples
        .get(&key)
        .unwrap_or_else(|| panic!("no {key} in {samples:#?}"))
}

/// Scrapes until what the partition has published after its last turn is there.
pub(crate) fn scrape_until(
    admin: SocketAddr,
    what: &str,
    ready: impl Fn(&Samples) -> bool,
) -> Samples {
    eventually(what, || {
        let samples = scrape(admin);
        ready(&samples).then_some(samples)
    })
}

#[test]
fn requests_and_bytes_are_counted_exactly() {
    let watched = watched(&[]);
    let mut client = watched.service.client();
    let (mut sent, mut received) = (0, 0);
    for round in 0..50 {
        let request = post("/api", "x".repeat(round));
        sent += request.len();
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        received += answer_bytes(&answer);
    }
    let not_found = get("/nobody");
    sent += not_found.len();
    client.send(&not_found);
    let answer = client.answer();
    assert_eq!(answer.status, 404);
    received += answer_bytes(&answer);
    // It ends the connection.
    let malformed = b"GET / HTTP/1.1\r\nHost : a\r\n\r\n";
    sent += malformed.len();
    client.send(malformed);
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    received += answer_bytes(&answer);

    let samples = scrape_until(watched.admin(), "all are counted", |samples| {
        of_api(
            samples,
            "http_server_responses_total",
            ",status_class=\"4xx\"",
        ) == 2.0
            && of_api(samples, "snapback_sent_bytes_total", "") == received as f64
    });
    let api = |name: &str, labels: &str| of_api(&samples, name, labels);
    assert_eq!(
        api("http_server_responses_total", ",status_class=\"2xx\""),
        50.0
    );
    assert_eq!(
        api("http_server_responses_total", ",status_class=\"5xx\""),
        0.0
    );
    assert_eq!(api("snapback_received_bytes_total", ""), sent as f64);
    let partition = ",partition=\"0\"";
    assert_eq!(api("snapback_requests_total", partition), 50.0);
    assert_eq!(api("snapback_connections_accepted_total", partition), 1.0);
    assert_eq!(api("snapback_connections", partition), 1.0);
    let turns = api("snapback_turns_total", partition);
    assert!((52.0..1000.0).contains(&turns), "{turns}");
    assert!(api("snapback_turn_seconds_total", partition) > 0.0);

    let duration = "http_server_request_duration_seconds";
    assert_eq!(api(&format!("{duration}_count"), ""), 50.0);
    assert_eq!(api(&format!("{duration}_bucket"), ",le=\"+Inf\""), 50.0);
    let sum = api(&format!("{duration}_sum"), "");
    assert!(sum > 0.0 && sum < 50.0, "{sum}");
    let bounds = ["5e-06", "0.001", "0.1", "1.0", "10.0"];
    let counts = bounds.map(|le| api(&format!("{duration}_bucket"), &format!(",le=\"{le}\"")));
    assert!(counts.is_sorted() && counts[4] == 50.0, "{counts:?}");

    drop(client);
    scrape_until(watched.admin(), "the connection is gone", |samples| {
        of_api(samples, "snapback_connections", ",partition=\"0\"") == 0.0
    });
}

/// How many bytes a reply had on the wire.
fn answer_bytes(answer: &crate::support::Answer) -> usize {
    let lines = answer.headers.iter();
    let headers: usize = lines
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        other => panic!("no reason for {other}"),
    };
    "HTTP/1.1 200 \r\n\r\n".len() + reason.len() + headers + answer.body.len()
}

#[test]
fn deferred_requests_are_in_flight_then_shed_then_counted_by_stage() {
    let session = Session::new();
    let (open, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let requests = reader
        .option("maxInFlight", 2)
        .load()
        .expect("good options");
    let writer = requests
        .map(|request| request.body().len())
        .map_async(move |bytes| {
            let gate = Arc::clone(&gate);
            async move {
                let _ = gate.lock().expect("no panic").recv();
                bytes
            }
        })
        .batch(BatchOptions::default(), |rows, out| {
            out.extend_from_slice(rows)
        })
        .make_reply()
        .write_stream();
    let service = serve(writer);
    let admin = session.admin_address().expect("it is open");
    let mut waiting: Vec<_> = (0..2).map(|_| service.client()).collect();
    for client in &mut waiting {
        client.send(post("/api", "abc"));
    }
    scrape_until(admin, "both are in flight", |samples| {
        of_api(samples, "http_server_active_requests", "") == 2.0
    });
    let ready = ask(admin, "GET", "/readyz", &[]);
    assert_eq!(ready.status, 503);
    let text = ready.text();
    assert!(
        text.contains("[-] api: queue_full: 2 requests of partition 0"),
        "{text}"
    );
    assert_eq!(service.client().post("/api", "x").status, 503);
    for _ in 0..2 {
        open.send(()).expect("a future waits");
    }
    for client in &mut waiting {
        assert_eq!(client.answer().body, b"3");
    }
    let samples = scrape_until(admin, "nothing is in flight", |samples| {
        of_api(samples, "http_server_active_requests", "") == 0.0
    });
    let api = |name: &str, labels: &str| of_api(&samples, name, labels);
    assert_eq!(api("snapback_shed_total", ",reason=\"in_flight\""), 1.0);
    assert_eq!(api("snapback_shed_total", ",reason=\"rows\""), 0.0);
    assert_eq!(
        api("http_server_responses_total", ",status_class=\"5xx\""),
        1.0
    );
    assert_eq!(
        api("http_server_responses_total", ",status_class=\"2xx\""),
        2.0
    );
    assert_eq!(api("http_server_request_duration_seconds_count", ""), 2.0);
    for stage in ["0", "1"] {
        let labels = format!(",stage=\"{stage}\"");
        assert_eq!(
            of_api(&samples, "snapback_stage_duration_seconds_count", &labels),
            2.0
        );
    }
    // One batch of both rows, or one of each.
    assert_eq!(api("snapback_batch_rows_sum", ""), 2.0);
    let batches = api("snapback_batch_rows_count", "");
    assert!((1.0..=2.0).contains(&batches), "{batches}");
    assert_eq!(ask(admin, "GET", "/readyz", &[]).status, 200);
}

#[test]
fn epochs_and_states_are_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let session = Session::new();
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let requests = reader.load().expect("good options");
    let writer = requests
        .map(|_| 1)
        .make_reply()
        .write_stream()
        .option("checkpointLocation", directory.path().display())
        .trigger(Continuous::millis(5));
    let service = serve(writer);
    let admin = session.admin_address().expect("it is open");
    assert_eq!(service.client().post("/api", "x").status, 200);
    let samples = scrape_until(admin, "an epoch is committed", |samples| {
        of_api(samples, "snapback_epoch_duration_seconds_count", "") >= 1.0
            && of_api(samples, "snapback_checkpoint_lag_seconds", "") == 0.0
    });
    assert_eq!(of_api(&samples, "snapback_checkpoint_lag_epochs", ""), 0.0);
    assert_eq!(of_api(&samples, "snapback_epoch_failures_total", ""), 0.0);
    assert_eq!(of_api(&samples, "snapback_query_ready", ""), 1.0);
    let info = format!(
        ",query_id=\"{}\",run_id=\"{}\",service=\"api\"",
        service.id(),
        service.run_id()
    );
    assert_eq!(of_api(&samples, "snapback_query_info", &info), 1.0);
    service.stop().expect("in order");
    let samples = scrape(admin);
    assert_eq!(of_api(&samples, "snapback_query_ready", ""), 0.0);
    // What it did stays to be read.
    assert_eq!(
        of_api(&samples, "snapback_requests_total", ",partition=\"0\""),
        1.0
    );
    assert!(samples["process_open_fds"] >= 3.0);
    assert!(samples["process_resident_memory_bytes"] > 1e6);
}

#[test]
fn scrapes_while_serving_only_grow() {
    let watched = watched(&[]);
    let admin = watched.admin();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let load: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = watched.service.client();
                    let mut requests = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(client.post("/api", "abc").body, b"3");
                        requests += 1;
                    }
                    requests
                })
            })
            .collect();
        let is_counter = |name: &str| {
            let name = name.split('{').next().unwrap_or_default();
            ["_total", "_count", "_bucket", "_sum"]
                .iter()
                .any(|end| name.ends_with(end))
        };
        let mut before = scrape(admin);
        for _ in 0..50 {
            let now = scrape(admin);
            for (name, value) in before.iter().filter(|(name, _)| is_counter(name)) {
                assert!(now[name] >= *value, "{name}: {value} became {}", now[name]);
            }
            let duration = "http_server_request_duration_seconds";
            let count = of_api(&now, &format!("{duration}_count"), "");
            let inf = of_api(&now, &format!("{duration}_bucket"), ",le=\"+Inf\"");
            assert_eq!(count, inf);
            before = now;
        }
        done.store(true, Ordering::Relaxed);
        let total: u64 = load
            .into_iter()
            .map(|load| load.join().expect("no panic"))
            .sum();
        assert!(total > 0);
        scrape_until(admin, "all are counted", |samples| {
            of_api(samples, "http_server_request_duration_seconds_count", "") == total as f64
        });
    });
}

#[test]
fn openmetrics_comes_to_those_who_ask() {
    let watched = watched(&[]);
    let accept = [(
        "Accept",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
    )];
    let answer = ask(watched.admin(), "GET", "/metrics", &accept);
    let content_type = answer.header("content-type");
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(content_type, Some(expected));
    assert!(answer.text().ends_with("# EOF\n"));
    assert!(answer.text().contains("# UNIT snapback_sent_bytes bytes\n"));
    let never = [("Accept", "application/openmetrics-text;q=0, */*")];
    let answer = ask(watched.admin(), "GET", "/metrics", &never);
    assert!(!answer.text().contains("# EOF"));
}

/// A service that has met requests of all kinds, and its metrics.
#[test]
fn promtool_accepts_the_metrics() {
    let version = Command::new("promtool").arg("--version").output();
    if version.is_err() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: promtool_accepts_the_metrics: promtool is not installed"
        );
        return;
    }
    let session = Session::new();
    let _plain = echo_in(&session, "api", &[("shutdownTimeout", "100ms")]);
    let reader = reader_in(&session, "deferred");
    let requests = reader.load().expect("good options");
    let writer = requests
        .map(|request| request.body().len())
        .try_map(|bytes| {
            if bytes == 2 {
                Err((422, "two"))
            } else {
                Ok(bytes)
            }
        })
        .map_async(|bytes| async move { bytes })
        .batch(
            BatchOptions::default().max_batch_delay(Duration::from_millis(1)),
            |rows, out| {
                out.extend_from_slice(rows);
            },
        )
        .make_reply();
    let odd_name = "an \"odd\" \\ name";
    let deferred = serve(writer.write_stream().query_name(odd_name));
    let mut client = deferred.client();
    for (body, status) in [("", 200), ("ab", 422), ("abc", 200)] {
        assert_eq!(client.post("/deferred", body).status, status);
    }
    assert_eq!(client.get("/nobody").status, 404);
    client.send("garbage\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    let admin = session.admin_address().expect("it is open");
    let metrics = ask(admin, "GET", "/metrics", &[]);
    assert!(metrics.text().contains(r#"query="an \"odd\" \\ name""#));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(&metrics.body).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
