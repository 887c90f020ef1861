//! Ids of requests and traces over sockets: taken, made, told.

mod support;

use snapback::{BatchOptions, CorrelationId, Reply, ServerReader};
use support::{Answer, Client, Service, get, reader, requests, serve};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Answers with the ids under which the pipeline knows the request.
fn ids(reader: ServerReader) -> Service {
    let requests = reader.load().expect("the options are good");
    let ids = requests.map(|request| {
        let trace = request.trace();
        format!(
            "{} {} {}",
            request.correlation_id(),
            request.id(),
            trace.traceparent()
        )
    });
    serve(ids.make_reply().write_stream())
}

fn ask(client: &mut Client, target: &str, headers: &str) -> Answer {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
    client.answer()
}

/// The parts of what [`ids`] answers.
fn parts(answer: &Answer) -> [&str; 3] {
    let parts: Vec<_> = answer.text().split(' ').collect();
    parts.try_into().expect("three ids")
}

fn told(answer: &Answer) -> Vec<&str> {
    let ids = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "x-request-id");
    ids.map(|(_, id)| id.as_str()).collect()
}

#[test]
fn a_reply_tells_the_id_that_the_pipeline_sees() {
    let service = ids(reader("api"));
    let mut client = service.client();
    let long = "x".repeat(129);
    for offset in 0..12 {
        // Replies with ids of both kinds come one behind the other.
        let answer = ask(&mut client, "/api", "");
        let [seen, own, _] = parts(&answer);
        assert_eq!((seen, told(&answer)), (own, vec![own]));
        assert!(own.ends_with(&format!("-0-{}", 3 * offset)), "{own}");

        let answer = ask(&mut client, "/api", "X-Request-ID: of/the+client=1\r\n");
        let [seen, own, _] = parts(&answer);
        assert_eq!((seen, told(&answer)), ("of/the+client=1", vec![seen]));
        assert_ne!(seen, own);

        let answer = ask(&mut client, "/api", &format!("X-Request-ID: {long}\r\n"));
        let [seen, own, _] = parts(&answer);
        assert_eq!((seen, told(&answer)), (own, vec![own]));
    }
}

#[test]
fn the_header_may_have_another_name_or_none() {
    let other = ids(reader("api").option("requestIdHeader", "X-Correlation-ID"));
    let mut client = other.client();
    let answer = ask(
        &mut client,
        "/api",
        "x-correlation-id: mine\r\nx-request-id: no\r\n",
    );
    assert_eq!(parts(&answer)[0], "mine");
    assert_eq!(
        (answer.header("x-correlation-id"), told(&answer)),
        (Some("mine"), vec![])
    );
    let answer = ask(&mut client, "/api", "");
    assert_eq!(answer.header("x-correlation-id"), Some(parts(&answer)[1]));

    let none = ids(reader("api").option("requestIdHeader", "none"));
    let mut client = none.client();
    let answer = ask(&mut client, "/api", "x-request-id: mine\r\n");
    assert_eq!(parts(&answer)[0], parts(&answer)[1]);
    assert_eq!(told(&answer), Vec::<&str>::new());
}

#[test]
fn the_pipeline_has_the_last_word() {
    let replies = requests("api").make_reply_with(|request, reply: &mut Reply<'_>| {
        reply.header("X-Request-Id", "the pipeline's");
        reply.text(request.path());
    });
    let service = serve(replies.write_stream());
    let mut client = service.client();
    for headers in ["", "X-Request-ID: mine\r\n"] {
        let answer = ask(&mut client, "/api", headers);
        assert_eq!(told(&answer), ["the pipeline's"], "{headers:?}");
    }
}

#[test]
fn a_trace_that_was_taken_is_told() {
    let service = ids(reader("api"));
    let mut client = service.client();
    let answer = ask(&mut client, "/api", &format!("traceparent: {PARENT}\r\n"));
    let [seen, own, trace] = parts(&answer);
    assert_eq!(answer.header("traceresponse"), Some(trace));
    assert!(
        trace.starts_with(&PARENT[..36]) && trace != PARENT,
        "{trace}"
    );
    assert_eq!(
        (seen, told(&answer)),
        (own, vec![own]),
        "the id is the request's own"
    );

    let none = ask(&mut client, "/api", "");
    let bad = ask(&mut client, "/api", "traceparent: 00-0-0-00\r\n");
    for answer in [none, bad] {
        assert_eq!(answer.header("traceresponse"), None);
        let [_, _, trace] = parts(&answer);
        assert!(
            !trace.starts_with(&PARENT[..36]) && trace.len() == PARENT.len(),
            "{trace}"
        );
    }
    let off = ids(reader("api").option("traceContext", "off"));
    let answer = ask(
        &mut off.client(),
        "/api",
        &format!("traceparent: {PARENT}\r\n"),
    );
    assert_eq!(answer.header("traceresponse"), None);
    assert!(!parts(&answer)[2].starts_with(&PARENT[..36]));
}

#[test]
fn refusals_and_failures_tell_the_clients_id() {
    let lengths = requests("api").map(|request| {
        assert!(request.query("panic").is_none());
        request.body().len()
    });
    let writer = lengths.make_reply().write_stream();
    let service = serve(writer.option("maxAttempts", 1));
    let mut client = service.client();
    let mine = "X-Request-Id: mine\r\n";
    let missing = ask(&mut client, "/elsewhere", mine);
    assert_eq!((missing.status, told(&missing)), (404, vec!["mine"]));
    let failed = ask(&mut client, "/api?panic=1", mine);
    assert_eq!((failed.status, told(&failed)), (500, vec!["mine"]));
    assert_eq!(failed.json()["correlationId"], "mine");
    let failed = ask(&mut client, "/api?panic=1", "");
    assert_eq!(failed.status, 500);
    assert!(
        failed.json()["detail"]
            .as_str()
            .unwrap()
            .ends_with(told(&failed)[0])
    );
    assert_eq!(failed.json().get("correlationId"), None);
    // What is no request of the pipeline has no id of ours.
    assert_eq!(
        told(&ask(&mut client, "/elsewhere", "")),
        Vec::<&str>::new()
    );
}

#[test]
fn replies_that_come_later_tell_the_same() {
    let rows = requests("api").map(|request| request.correlation_id().to_string());
    let ids = rows.batch(BatchOptions::default(), |rows, out| {
        out.extend(rows.iter().cloned())
    });
    let service = serve(ids.make_reply().write_stream());
    let mut client = service.client();
    let mine = format!(
        "GET /api HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\ntraceparent: {PARENT}\r\n\r\n"
    );
    client.send([get("/api"), mine.into_bytes(), get("/api")].concat());
    let [first, second, third] = [(); 3].map(|()| client.answer());
    assert_eq!(told(&first), [first.text()]);
    assert!(first.text().ends_with("-0-0"));
    assert_eq!((told(&second), second.text()), (vec!["mine"], "mine"));
    assert!(second.header("traceresponse").is_some());
    assert!(told(&third)[0].ends_with("-0-2"));
    assert_eq!(third.header("traceresponse"), None);
}

#[test]
fn a_request_that_is_late_is_answered_with_its_id() {
    let never = requests("api").map(|request| match request.correlation_id() {
        CorrelationId::Taken(id) => id.len(),
        CorrelationId::Made(_) => 0,
    });
    let never = never.map_async(|_| std::future::pending::<u32>());
    let writer = never.make_reply().write_stream();
    let service = serve(writer.option("requestTimeout", "20ms"));
    let mut client = service.client();
    let answer = ask(&mut client, "/api", "X-Request-Id: mine\r\n");
    assert_eq!((answer.status, told(&answer)), (504, vec!["mine"]));
    let answer = ask(&mut client, "/api", "");
    assert_eq!(answer.status, 504);
    assert!(told(&answer)[0].ends_with("-0-1"));
}
