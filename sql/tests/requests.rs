//! What a request is beside its JSON body: columns for the query, the headers, the whole of it.

use serde_json::{Value, json};
use snapback::Pipeline;
use snapback::test::{TestReply, TestService};
use snapback_sql::prelude::*;
use snapback_sql::{ColumnOperator, Result, SqlError};

/// A service whose reply is the column `r` of a query.
fn service(
    columns: ColumnStream<snapback_operators::Detached, snapback_operators::Start>,
    query: &str,
) -> Result<TestService> {
    Ok(columns.sql(query)?.make_reply(col("r"))?.test())
}

fn columns() -> ColumnStream<snapback_operators::Detached, snapback_operators::Start> {
    Pipeline::detached().columns()
}

fn problem(reply: &TestReply) -> (u16, Value) {
    let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    (reply.status, problem["detail"].clone())
}

#[test]
fn query_parameters_have_types() -> Result<()> {
    let schema = "text STRING, n INT NOT NULL, big BIGINT, x DOUBLE, b BOOLEAN, d DATE, \
        t TIMESTAMP, m DECIMAL(5,2)";
    let query = "SELECT named_struct('text', text, 'n', n, 'big', big, 'x', x, 'b', b, 'd', d, \
        't', t, 'm', m) AS r FROM requests";
    let mut service = service(columns().parse_query(schema)?, query)?;
    let all = "/?text=gr%C3%BC%C3%9Fe+du&n=-7&big=9223372036854775807&x=1.5&b=true&d=2020-02-29\
        &t=2020-01-02T03:04:05Z&m=12.30";
    let expected = r#"{"text":"grüße du","n":-7,"big":9223372036854775807,"x":1.5,"b":true,"d":"2020-02-29","t":"2020-01-02T03:04:05.000Z","m":12.30}"#;
    service.get(all).expect(200, expected);
    // What is missing is null; of two the first counts; an empty text is one.
    service
        .get("/?n=1&n=2&text=")
        .expect(200, r#"{"text":"","n":1}"#);
    for (target, detail) in [
        (
            "/",
            "the request does not fit: query parameter `n`: expected INT, but it is missing",
        ),
        (
            "/?n=one",
            "the request does not fit: query parameter `n`: expected INT, received \"one\"",
        ),
        (
            "/?n=2147483648",
            "the request does not fit: query parameter `n`: expected INT, received \"2147483648\"",
        ),
        (
            "/?n=1&b=1",
            "the request does not fit: query parameter `b`: expected BOOLEAN, received \"1\"",
        ),
        (
            "/?n=1&x=inf",
            "the request does not fit: query parameter `x`: expected DOUBLE, received \"inf\"",
        ),
        (
            "/?n=1&d=soon",
            "the request does not fit: query parameter `d`: expected DATE, received \"soon\"",
        ),
    ] {
        assert_eq!(problem(&service.get(target)), (400, json!(detail)));
    }
    Ok(())
}

#[test]
fn body_query_and_headers_together() -> Result<()> {
    let columns = columns()
        .parse_request("foo STRING")?
        .parse_query("times INT")?
        .parse_headers("x_user STRING, content_length INT")?;
    let query =
        "SELECT concat(repeat(foo, times), '/', coalesce(x_user, 'nobody')) AS r FROM requests";
    let mut service = service(columns, query)?;
    let reply = service.send(
        "POST",
        "/?times=2",
        &[("X-User", "ada")],
        br#"{"foo":"ab"}"#,
    );
    reply.expect(200, "abab/ada");
    let reply = service.send("POST", "/?times=2", &[], br#"{"foo":"ab"}"#);
    reply.expect(200, "abab/nobody");
    assert_eq!(
        service
            .send("POST", "/?times=x", &[], br#"{"foo":"ab"}"#)
            .status,
        400
    );
    assert_eq!(
        service
            .send("POST", "/?times=2", &[], br#"{"foo":1}"#)
            .status,
        400
    );
    // What was refused left nothing behind.
    let reply = service.send("POST", "/?times=1", &[("x-user", "bob")], br#"{"foo":"c"}"#);
    reply.expect(200, "c/bob");
    Ok(())
}

#[test]
fn the_whole_request_as_spark_has_it() -> Result<()> {
    let mut service = service(columns(), "SELECT request AS r FROM requests")?;
    let headers = [("Content-Type", "text/plain"), ("x-a", "1")];
    let reply = service.send("PUT", "/a?b=c", &headers, b"hi");
    let got: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(
        got["requestLine"],
        json!({"method": "PUT", "uri": "/a?b=c", "protocolVersion": {"protocol": "HTTP", "major": 1, "minor": 1}})
    );
    assert!(
        got["headers"]
            .as_array()
            .is_some_and(|headers| { headers.contains(&json!({"name": "x-a", "value": "1"})) })
    );
    let entity = &got["entity"];
    assert_eq!(entity["content"], "aGk=");
    assert_eq!(entity["contentLength"], 2);
    assert_eq!(
        entity["contentType"],
        json!({"name": "Content-Type", "value": "text/plain"})
    );
    assert_eq!(entity.get("contentEncoding"), None);
    assert_eq!(entity["isChunked"], false);
    Ok(())
}

#[test]
fn its_parts_in_sql() -> Result<()> {
    let query = "SELECT concat(request['requestLine']['method'], ' ', \
        request['requestLine']['uri'], ' ', request_to_string(request)) AS r FROM requests";
    let mut service = service(columns(), query)?;
    service
        .send("POST", "/x", &[], "grüße".as_bytes())
        .expect(200, "POST /x grüße");
    assert_eq!(service.send("POST", "/x", &[], b"\xff").status, 400);
    Ok(())
}

#[test]
fn responses_with_a_status_of_their_own() -> Result<()> {
    let query = "SELECT CASE WHEN n = 0 THEN empty_response(404) \
        WHEN n = 1 THEN string_to_response('made', 201, 'Created') \
        WHEN n = 2 THEN binary_to_response(X'00ff', 202) \
        WHEN n = 3 THEN string_to_response('plain') \
        WHEN n = 4 THEN string_to_response('odd', 77) \
        WHEN n = 5 THEN string_to_response(NULL, CAST(NULL AS INT)) END AS r FROM requests";
    let mut service = service(columns().parse_query("n INT")?, query)?;
    let mut get = |n: i32| {
        let reply = service.get(&format!("/?n={n}"));
        let content_type = reply.header("content-type").map(str::to_owned);
        (reply.status, content_type, reply.body)
    };
    let text = Some("text/plain; charset=utf-8".to_owned());
    assert_eq!(get(0), (404, None, vec![]));
    assert_eq!(get(1), (201, text.clone(), b"made".to_vec()));
    let bytes = Some("application/octet-stream".to_owned());
    assert_eq!(get(2), (202, bytes, vec![0, 0xff]));
    assert_eq!(get(3), (200, text, b"plain".to_vec()));
    assert_eq!(get(4).0, 500, "77 is no status");
    assert_eq!(get(5).0, 200);
    assert_eq!(get(6), (200, None, vec![]), "no response is an empty one");
    Ok(())
}

#[test]
fn bodies_as_they_are() -> Result<()> {
    let mut bytes = service(columns().parse_bytes()?, "SELECT bytes AS r FROM requests")?;
    let reply = bytes.post([0, 1, 0xff]);
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, &[0, 1, 0xff][..])
    );
    let mut text = service(
        columns().parse_text()?,
        "SELECT reverse(text) AS r FROM requests",
    )?;
    text.post("grüße").expect(200, "eßürg");
    assert_eq!(
        problem(&text.post([0xff])),
        (400, json!("the request body does not fit: it is not UTF-8"))
    );
    text.post("ok").expect(200, "ko");
    Ok(())
}

#[test]
fn names_are_distinct_and_types_are_single() {
    let twice = columns()
        .parse_request("a INT")
        .and_then(|it| it.parse_query("a INT"))
        .err();
    assert!(matches!(twice, Some(SqlError::Twice { .. })), "{twice:?}");
    let reserved = columns().parse_query("request STRING").err();
    assert!(
        matches!(reserved, Some(SqlError::Twice { .. })),
        "{reserved:?}"
    );
    let nested = columns().parse_query("a ARRAY<INT>").err();
    assert!(
        matches!(nested, Some(SqlError::NotOneText { .. })),
        "{nested:?}"
    );
    let late = columns()
        .filter(lit(true))
        .and_then(|it| it.parse_query("a INT"))
        .err();
    assert!(matches!(late, Some(SqlError::Parsed { .. })), "{late:?}");
}

/// The operator's type can be named.
#[test]
fn an_operator_shows_no_values() -> Result<()> {
    fn operator<S, R, O>(_: &Pipeline<S, R, snapback_operators::Then<O, ColumnOperator>>) {}
    let replies = columns().parse_text()?.make_reply(col("text"))?;
    operator(&replies);
    Ok(())
}
