//! Queries as JSON and as a page, and their end over HTTP.

use serde_json::json;
use snapback::Continuous;

use crate::support::{eventually, reader_in, serve};
use crate::{ask, echo_in, json, watched};

#[test]
fn a_query_is_found_by_name_id_and_run_id() {
    let watched = watched(&[]);
    let other = echo_in(&watched.session, "v1/other", &[]);
    let query = &watched.service.query;
    let list = json(&watched.get("/api/v1/queries"));
    assert_eq!(list["queries"].as_array().map(Vec::len), Some(2));
    for name in ["api", query.id(), query.run_id()] {
        let found = json(&watched.get(&format!("/api/v1/queries/{name}")));
        assert_eq!(found["id"], query.id());
        assert_eq!(found["runId"], query.run_id());
        assert_eq!(found["state"], "active");
        assert_eq!(found["isReady"], true);
        assert_eq!(found["notReady"], json!([]));
        assert_eq!(found["exception"], json!(null));
        assert_eq!(found["serviceInfo"][0]["port"], watched.service.port());
        assert_eq!(found["serviceInfo"][0]["host"], "127.0.0.1");
        assert!(found["startedAtMs"].as_u64() > Some(1_600_000_000_000));
    }
    let found = json(&watched.get("/api/v1/queries/v1%2Fother"));
    assert_eq!(found["runId"], other.query.run_id());
    for nothing in [
        "/api/v1/queries/nobody",
        "/api/v1/queries/nobody/stop",
        "/api/v1/queries/api/nothing",
        "/api/v1/queries/api/stop/now",
        "/api/v1/queriesapi",
        "/api/v2/queries",
        "/nothing",
    ] {
        assert_eq!(watched.get(nothing).status, 404, "{nothing}");
    }
}

#[test]
fn progress_is_that_of_the_handle() {
    let session = snapback::Session::new();
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let requests = reader.load().expect("good options");
    let writer = requests
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .option("recentProgress", 3)
        .trigger(Continuous::millis(5));
    let service = serve(writer);
    let admin = session.admin_address().expect("it is open");
    eventually("three intervals are over", || {
        (service.recent_progress().len() == 3).then_some(())
    });
    let answer = json(&ask(admin, "GET", "/api/v1/queries/api/progress", &[]));
    let records = answer["progress"].as_array().expect("a list");
    assert_eq!(records.len(), 3);
    let record = &records[2];
    assert_eq!(record["name"], "api");
    assert_eq!(record["runId"], service.run_id());
    assert_eq!(record["partitions"][0]["partition"], 0);
    let query = json(&ask(admin, "GET", "/api/v1/queries/api", &[]));
    assert!(query["lastProgress"]["timestampMs"].as_u64() >= record["timestampMs"].as_u64());
}

#[test]
fn stop_waits_for_the_end_and_only_post_stops() {
    let watched = watched(&[]);
    for target in ["/api/v1/queries/api/stop", "/api/v1/queries/api/drain"] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let answer = ask(watched.admin(), method, target, &[]);
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        }
    }
    assert!(watched.service.is_active());
    let answer = watched.post("/api/v1/queries/api/stop");
    assert_eq!(answer.status, 200);
    let ended = json(&answer);
    assert_eq!(ended["state"], "ended");
    assert_eq!(ended["notReady"][0]["reason"], "stopped");
    assert!(!watched.service.is_active());
    // Once more changes nothing.
    let again = watched.post("/api/v1/queries/api/stop");
    assert_eq!(
        (again.status, json(&again)["state"] == "ended"),
        (200, true)
    );
}

#[test]
fn the_page_lists_the_queries_and_loads_nothing() {
    let watched = watched(&[]);
    let page = watched.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let text = page.text();
    let url = format!("http://127.0.0.1:{}/api", watched.service.port());
    assert!(
        text.contains(&url) && text.contains("answering requests"),
        "{text}"
    );
    assert!(
        !text.contains("<script") && !text.contains("src="),
        "{text}"
    );
}

/// The admin listener has the description of every service, also of those whose own path hides it.
#[test]
fn a_service_is_described_to_those_who_run_it() {
    let watched = watched(&[("path", ""), ("name", "api"), ("openApi", "off")]);
    let described = watched.get("/api/v1/queries/api/openapi.json");
    assert_eq!(
        (described.status, described.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(described.text(), watched.service.openapi_json());
    assert_eq!(
        json(&described)["paths"]["/"]["get"]["operationId"],
        "get_api"
    );
    let link = format!(
        "<a href=\"/api/v1/queries/{}/reference\">",
        watched.service.run_id()
    );
    assert!(watched.get("/").text().contains(&link));
    assert_eq!(watched.post("/api/v1/queries/api/openapi.json").status, 405);
    let read_aloud = watched.get("/api/v1/queries/api/reference");
    assert_eq!(read_aloud.status, 200);
    let policy = read_aloud.header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")));
    let text = read_aloud.text();
    assert!(
        text.contains("<h2>GET /</h2>") && text.contains("<h3>Replies</h3>"),
        "{text}"
    );
    assert_eq!(watched.post("/api/v1/queries/api/reference").status, 405);
}
