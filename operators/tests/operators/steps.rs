//! Each operator between the request and its reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use snapback::test::TestService;
use snapback::{IntoRefusal, Pipeline, Refusal, Requests, Row, Start, Table};

/// Posts each body and compares status and body of the reply.
#[track_caller]
fn check(mut service: TestService, cases: &[(&str, u16, &str)]) {
    for (body, status, reply) in cases {
        service.post(body).expect(*status, reply);
    }
}

type Detached = Pipeline<snapback::Detached, Requests, Start>;

fn pipeline() -> Detached {
    Pipeline::detached()
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).expect("text")
}

#[derive(Row)]
struct Words<'a> {
    first: &'a str,
    rest: &'a str,
}

fn words(body: &[u8]) -> Words<'_> {
    let (first, rest) = text(body).split_once(' ').unwrap_or((text(body), ""));
    Words { first, rest }
}

#[derive(Deserialize, Row)]
struct Order {
    sku: String,
    count: i64,
}

#[test]
fn map_turns_a_row_into_another() {
    let length = pipeline().map(|request| request.body().len());
    check(
        length.map(|bytes| bytes * 2).make_reply().test(),
        &[("", 200, "0"), ("abc", 200, "6")],
    );
}

#[test]
fn map_keeps_state_of_its_own() {
    let mut seen = 0;
    let counting = pipeline().map(move |_| {
        seen += 1;
        seen
    });
    check(
        counting.make_reply().test(),
        &[("", 200, "1"), ("", 200, "2"), ("", 200, "3")],
    );
}

#[test]
fn instances_do_not_share_the_state_of_closures() {
    let mut seen = 0;
    let chain = pipeline()
        .map(move |_| {
            seen += 1;
            seen
        })
        .make_reply()
        .into_chain();
    let (mut first, mut second) = (chain.instance(), chain.instance());
    for (chain, reply) in [(&mut first, "1"), (&mut second, "1")] {
        assert_eq!(super::panics::drive(chain).as_deref(), Ok(reply));
    }
    assert_eq!(super::panics::drive(&mut first).as_deref(), Ok("2"));
}

#[test]
fn map_with_sees_the_request() {
    let mut service = pipeline()
        .map(|request| request.body().len())
        .map_with(|bytes, request| format!("{} {} {bytes}", request.method(), request.path()))
        .make_reply()
        .test();
    service.post("abc").expect(200, "POST / 3");
    service.get("/x/y?z=1").expect(200, "GET /x/y 0");
}

#[test]
fn map_row_borrows_from_the_request_and_from_the_row_before() {
    let swapped = pipeline()
        .map_row::<Words, _>(|request| words(request.body()))
        .map_row::<Words, _>(|row| Words {
            first: row.rest,
            rest: row.first,
        })
        .map(|row| format!("{}|{}", row.first, row.rest));
    check(
        swapped.make_reply().test(),
        &[("a b c", 200, "b c|a"), ("", 200, "|")],
    );
}

#[derive(Debug)]
struct TooMany(i64);

impl IntoRefusal for TooMany {
    fn into_refusal(self) -> Refusal {
        Refusal::new(409, format!("{} are too many", self.0))
    }
}

/// The body of a problem document.
fn problem(status: u16, title: &str, detail: &str) -> String {
    format!(r#"{{"detail":"{detail}","status":{status},"title":"{title}","type":"about:blank"}}"#)
}

#[test]
fn try_map_refuses_with_the_status_of_the_error() {
    let conflict = problem(409, "Conflict", "11 are too many");
    let own = pipeline().parse_request::<Order>().try_map(|order| {
        let count = order.count;
        (count <= 10).then_some(count).ok_or(TooMany(count))
    });
    check(
        own.make_reply().test(),
        &[
            (r#"{"sku":"a","count":10}"#, 200, "10"),
            (r#"{"sku":"a","count":11}"#, 409, &conflict),
        ],
    );

    let missing = problem(404, "Not Found", "no x");
    let pair = pipeline().try_map(|request| match text(request.body()) {
        "x" => Err((404, "no x")),
        other => Ok(other.len()),
    });
    check(
        pair.make_reply().test(),
        &[("y", 200, "1"), ("x", 404, &missing)],
    );

    let unfit = problem(
        422,
        "Unprocessable Content",
        "invalid digit found in string",
    );
    let number = pipeline().try_map(|request| {
        let number = text(request.body()).parse::<i64>();
        number.map_err(|error| error.to_string())
    });
    check(
        number.make_reply().test(),
        &[("-7", 200, "-7"), ("x", 422, &unfit)],
    );

    let refused = pipeline().try_map(|_| -> Result<(), _> { Err("never") });
    let mut service = refused.make_reply().test();
    let reply = service.post("");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (422, Some("application/problem+json"))
    );
}

#[test]
fn a_refused_row_goes_no_further() {
    let reached = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reached);
    let mut service = pipeline()
        .try_map(|request| match request.body() {
            b"no" => Err((403, "no")),
            _ => Ok(()),
        })
        .inspect(move |()| {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .make_reply()
        .test();
    assert_eq!(service.post("no").status, 403);
    assert_eq!(reached.load(Ordering::Relaxed), 0);
    assert_eq!(service.post("yes").status, 200);
    assert_eq!(reached.load(Ordering::Relaxed), 1);
}

#[test]
fn try_map_with_sees_the_request() {
    let mut service = pipeline()
        .try_map_with(|_, request| {
            let token = request.headers().get_str("authorization");
            token
                .map(str::to_owned)
                .ok_or((401, "give an Authorization header"))
        })
        .make_reply()
        .test();
    service
        .send("GET", "/", &[("Authorization", "Bearer x")], "")
        .expect(200, "Bearer x");
    assert_eq!(service.get("/").status, 401);
}

#[test]
fn filter_lets_some_rows_pass() {
    let even = pipeline()
        .map(|request| request.body().len())
        .filter(|bytes| bytes % 2 == 0);
    check(
        even.make_reply().test(),
        &[("", 200, "0"), ("a", 204, ""), ("ab", 200, "2")],
    );

    let mut posts = pipeline()
        .filter_with(|_, request| request.method() == "POST")
        .map(|_| "posted")
        .make_reply()
        .test();
    posts.post("").expect(200, "posted");
    posts.get("/").expect(204, "");
}

#[test]
fn update_changes_a_row_in_place() {
    let mut service = pipeline()
        .parse_request::<Order>()
        .update(|order| order.count += 1)
        .update_with(|order, request| order.sku.push_str(request.method()))
        .map(|order| (order.sku, order.count))
        .make_reply()
        .test();
    service
        .post(r#"{"sku":"a","count":1}"#)
        .expect(200, r#"["aPOST",2]"#);
}

#[test]
fn update_changes_a_borrowed_row() {
    let trimmed = pipeline()
        .map_row::<Words, _>(|request| words(request.body()))
        .update(|row| row.rest = row.rest.trim())
        .map(|row| row.rest.to_owned());
    check(trimmed.make_reply().test(), &[("a   b  ", 200, "b")]);
}

#[test]
fn inspect_sees_each_row_and_lets_it_pass() {
    let bytes = Arc::new(AtomicUsize::new(0));
    let (by_row, by_request) = (Arc::clone(&bytes), Arc::clone(&bytes));
    let mut service = pipeline()
        .map(|request| request.body().len())
        .inspect(move |row| {
            by_row.fetch_add(*row, Ordering::Relaxed);
        })
        .inspect_with(move |_, request| {
            by_request.fetch_add(100 * request.body().len(), Ordering::Relaxed);
        })
        .make_reply()
        .test();
    service.post("abc").expect(200, "3");
    service.post("d").expect(200, "1");
    assert_eq!(bytes.load(Ordering::Relaxed), 404);
}

#[test]
fn lookup_joins_by_text_and_tells_what_is_missing() {
    let prices = Table::from_iter([("a".to_owned(), 3_i64), ("ö".to_owned(), 5)]);
    let total = pipeline().parse_request::<Order>().lookup(
        &prices,
        |order| order.sku.as_str(),
        |order, price| price.map(|price| price * order.count),
    );
    check(
        total.make_reply().test(),
        &[
            (r#"{"sku":"a","count":2}"#, 200, "6"),
            (r#"{"sku":"ö","count":-1}"#, 200, "-5"),
            (r#"{"sku":"A","count":2}"#, 200, ""),
        ],
    );
}

#[test]
fn lookup_joins_by_keys_of_other_types() {
    let static_text = Table::from_iter([("a", 1)]);
    let borrowed = pipeline()
        .map_row::<Words, _>(|request| words(request.body()))
        .lookup(&static_text, |row| row.first, |_, found| found.copied());
    check(
        borrowed.make_reply().test(),
        &[("a b", 200, "1"), ("b a", 200, "")],
    );

    let numbers = Table::from_iter([(i64::MIN, "least"), (7, "seven")]);
    let by_number = pipeline().parse_request::<Order>().lookup(
        &numbers,
        |order| &order.count,
        |_, name| name.map_or("none", |name| *name),
    );
    check(
        by_number.make_reply().test(),
        &[
            (r#"{"sku":"","count":7}"#, 200, "seven"),
            (r#"{"sku":"","count":-9223372036854775808}"#, 200, "least"),
            (r#"{"sku":"","count":8}"#, 200, "none"),
        ],
    );
}

#[test]
fn a_reloaded_table_is_seen_by_the_next_request() {
    let table = Table::from_iter([("a".to_owned(), 1)]);
    let shared = table.clone();
    let chain = || {
        pipeline()
            .map(|request| text(request.body()).to_owned())
            .lookup(&table, |key| key, |_, found| found.copied())
            .make_reply()
            .test()
    };
    let (mut first, mut second) = (chain(), chain());
    first.post("a").expect(200, "1");
    shared.reload([
        ("a".to_owned(), 2),
        ("b".to_owned(), 3),
        ("b".to_owned(), 4),
    ]);
    for service in [&mut first, &mut second] {
        service.post("a").expect(200, "2");
        service.post("b").expect(200, "4");
    }
    shared.reload([]);
    first.post("a").expect(200, "");
    assert!(table.is_empty());
}

#[test]
fn the_first_reply_wins_and_the_row_goes_on() {
    let reached = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reached);
    let mut service = pipeline()
        .map(|request| text(request.body()).to_owned())
        .send_reply(|row| (row == "early").then_some((202, "taken")))
        .send_reply(|row| (row == "early").then_some("too late"))
        .inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .make_reply_with(|row, reply| {
            reply.status(201).header("x-late", "1");
            reply.text(&row);
        })
        .test();
    let early = service.post("early");
    early.expect(202, "taken");
    assert_eq!(early.header("x-late"), None);
    assert_eq!(reached.load(Ordering::Relaxed), 1);
    let late = service.post("late");
    late.expect(201, "late");
    assert_eq!(late.header("x-late"), Some("1"));
}

#[test]
fn what_was_answered_stays_answered_when_the_row_stops() {
    let mut service = pipeline()
        .send_reply(|_| Some("sent"))
        .filter(|_| false)
        .map(|_| "late")
        .make_reply()
        .test();
    service.post("").expect(200, "sent");
}

#[test]
fn an_error_behind_an_early_reply_is_not_sent() {
    let refused = pipeline()
        .send_reply(|_| Some("sent"))
        .try_map(|_| -> Result<(), _> { Err((500, "late")) });
    refused.make_reply().test().post("").expect(200, "sent");
}

#[test]
fn everything_that_can_be_sent() {
    let gone = problem(410, "Gone", "it is gone");
    let refusal = pipeline().send_reply(|_| Some(Refusal::new(410, "it is gone")));
    check(refusal.map(|_| ()).make_reply().test(), &[("", 410, &gone)]);

    let owned = pipeline().send_reply_with(|_, request| {
        (request.method() == "POST").then(|| (203, format!("{} bytes", request.body().len())))
    });
    let mut service = owned.map(|_| "else").make_reply().test();
    let reply = service.post("abc");
    reply.expect(203, "3 bytes");
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    service.get("/").expect(200, "else");
}

#[test]
fn process_has_the_request_and_the_reply_in_hand() {
    let mut service = pipeline()
        .process(|request, cx| match request.method() {
            "GET" => {
                cx.reply().status(405).header("allow", "POST").empty();
                None
            }
            "HEAD" => None,
            _ => {
                cx.reply().header("x-seen", request.path());
                Some(request.body().len())
            }
        })
        .map(|bytes| bytes + 1)
        .make_reply()
        .test();
    let refused = service.get("/");
    refused.expect(405, "");
    assert_eq!(refused.header("allow"), Some("POST"));
    let reply = service.send("PUT", "/p?q", &[], "abc");
    reply.expect(200, "4");
    assert_eq!(reply.header("x-seen"), Some("/p"));
    service.send("HEAD", "/", &[], "").expect(204, "");
}
