//! Bodies that parse, and how the others are refused.

use std::borrow::Cow;
use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde::Deserialize;
use serde_json::Value;
use snapback::test::{TestReply, TestService};
use snapback::{ParseRow, Pipeline, Row};

#[derive(Deserialize, Row)]
struct Hello {
    foo: String,
    bar: i64,
}

#[derive(Deserialize, Row)]
struct Note<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Item {
    price: f64,
}

#[derive(Deserialize, Row)]
struct Cart {
    items: Vec<Item>,
    #[serde(default)]
    coupons: BTreeMap<String, u8>,
}

#[derive(Deserialize, Row)]
struct Anything {
    #[expect(dead_code, reason = "parsed for its nesting")]
    value: Value,
}

#[derive(Deserialize, Row)]
#[serde(deny_unknown_fields)]
struct Strict {
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Small,
    Large,
}

/// The number of rows that came through.
fn service<T: ParseRow>() -> TestService {
    Pipeline::detached()
        .parse_request::<T>()
        .map(|_| "parsed")
        .make_reply()
        .test()
}

fn problem(reply: &TestReply) -> Value {
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(
        (&problem["status"], &problem["title"]),
        (&400.into(), &"Bad Request".into())
    );
    assert!(problem["received"].is_string(), "{problem}");
    problem
}

/// Refuses the body with this field and this detail.
#[track_caller]
fn refuses<T: ParseRow>(body: &str, field: Option<&str>, detail: Expect) {
    let problem = problem(&service::<T>().post(body));
    assert_eq!(problem["field"].as_str(), field, "{problem}");
    assert_eq!(problem["expected"].as_str().unwrap_or_default(), T::FIELDS);
    assert_eq!(problem["received"], body);
    detail.assert_eq(problem["detail"].as_str().expect("a detail"));
}

#[test]
fn a_body_that_fits_becomes_a_row() {
    let mut service = Pipeline::detached()
        .parse_request::<Hello>()
        .map(|row| format!("{}|{}", row.foo, row.bar))
        .make_reply()
        .test();
    for (body, reply) in [
        (r#"{"foo":"a","bar":1}"#, "a|1"),
        (r#" { "bar" : -1 , "foo" : "" } "#, "|-1"),
        (
            r#"{"foo":"\u00f6\n\"","bar":9223372036854775807,"more":[{}]}"#,
            "ö\n\"|9223372036854775807",
        ),
        (r#"["a",2]"#, "a|2"),
    ] {
        service.post(body).expect(200, reply);
    }
}

#[test]
fn text_without_escapes_is_borrowed_from_the_body() {
    let mut service = Pipeline::detached()
        .parse_request::<Note>()
        .map(|note| {
            let is_borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
            let text = (is_borrowed(&note.text), note.text.into_owned());
            (text, note.tag.map(|tag| is_borrowed(&tag)))
        })
        .make_reply()
        .test();
    for (body, reply) in [
        (r#"{"text":"plain ö"}"#, r#"[[true,"plain ö"],null]"#),
        (r#"{"text":"a\nb"}"#, r#"[[false,"a\nb"],null]"#),
        (r#"{"text":"","tag":null}"#, r#"[[true,""],null]"#),
    ] {
        service.post(body).expect(200, reply);
    }
}

#[test]
fn a_borrowed_row_refers_to_the_very_bytes_of_the_body() {
    let mut service = Pipeline::detached()
        .map_row::<Both, _>(|request| Both {
            body: request.body(),
        })
        .map(|row| {
            let note = <Note as ParseRow>::parse(row.body).expect("a note");
            row.body.as_ptr_range().contains(&note.text.as_ptr())
        })
        .make_reply()
        .test();
    service.post(r#"{"text":"here"}"#).expect(200, "true");
    service.post(r#"{"text":"h\u0065re"}"#).expect(200, "false");
}

#[derive(Row)]
struct Both<'a> {
    body: &'a [u8],
}

#[test]
fn a_missing_field_is_named() {
    refuses::<Hello>(
        r#"{"foo":"a"}"#,
        Some("bar"),
        expect![
            "the request body does not fit: field `bar`: missing field `bar` at line 1 column 11"
        ],
    );
    refuses::<Hello>(
        "{}",
        Some("foo"),
        expect![
            "the request body does not fit: field `foo`: missing field `foo` at line 1 column 2"
        ],
    );
    refuses::<Note>(
        "{}",
        Some("text"),
        expect![
            "the request body does not fit: field `text`: missing field `text` at line 1 column 2"
        ],
    );
    refuses::<Cart>(
        r#"{"items":[{"price":1},{}]}"#,
        Some("items[1].price"),
        expect![
            "the request body does not fit: field `items[1].price`: missing field `price` at line 1 column 24"
        ],
    );
    refuses::<Hello>(
        r#"["a"]"#,
        None,
        expect![
            "the request body does not fit: invalid length 1, expected struct Hello with 2 elements at line 1 column 5"
        ],
    );
}

#[test]
fn a_duplicate_field_is_named() {
    refuses::<Hello>(
        r#"{"foo":"a","foo":"b","bar":1}"#,
        Some("foo"),
        expect![
            "the request body does not fit: field `foo`: duplicate field `foo` at line 1 column 16"
        ],
    );
    refuses::<Cart>(
        r#"{"items":[{"price":1,"price":2}]}"#,
        Some("items[0].price"),
        expect![
            "the request body does not fit: field `items[0].price`: duplicate field `price` at line 1 column 28"
        ],
    );
}

#[test]
fn a_wrong_type_is_named_with_its_path() {
    refuses::<Hello>(
        r#"{"foo":1,"bar":1}"#,
        Some("foo"),
        expect![
            "the request body does not fit: field `foo`: invalid type: integer `1`, expected a string at line 1 column 8"
        ],
    );
    refuses::<Hello>(
        r#"{"foo":null,"bar":1}"#,
        Some("foo"),
        expect![
            "the request body does not fit: field `foo`: invalid type: null, expected a string at line 1 column 11"
        ],
    );
    refuses::<Hello>(
        r#"{"foo":"a","bar":"1"}"#,
        Some("bar"),
        expect![[
            r#"the request body does not fit: field `bar`: invalid type: string "1", expected i64 at line 1 column 20"#
        ]],
    );
    refuses::<Hello>(
        r#"{"foo":"a","bar":1.5}"#,
        Some("bar"),
        expect![
            "the request body does not fit: field `bar`: invalid type: floating point `1.5`, expected i64 at line 1 column 20"
        ],
    );
    refuses::<Note>(
        r#"{"text":"a","tag":7}"#,
        Some("tag"),
        expect![
            "the request body does not fit: field `tag`: invalid type: integer `7`, expected a string at line 1 column 19"
        ],
    );
    refuses::<Cart>(
        r#"{"items":[{"price":1},{"price":2},{"price":"x"}]}"#,
        Some("items[2].price"),
        expect![[
            r#"the request body does not fit: field `items[2].price`: invalid type: string "x", expected f64 at line 1 column 46"#
        ]],
    );
    refuses::<Cart>(
        r#"{"items":[],"coupons":{"a b":256}}"#,
        Some("coupons.a b"),
        expect![
            "the request body does not fit: field `coupons.a b`: invalid value: integer `256`, expected u8 at line 1 column 32"
        ],
    );
    refuses::<Cart>(
        r#"{"items":{}}"#,
        Some("items"),
        expect![
            "the request body does not fit: field `items`: invalid type: map, expected a sequence at line 1 column 9"
        ],
    );
    refuses::<Strict>(
        r#"{"type":"huge"}"#,
        Some("type"),
        expect![
            "the request body does not fit: field `type`: unknown variant `huge`, expected `small` or `large` at line 1 column 14"
        ],
    );
    refuses::<Strict>(
        r#"{"kind":"small"}"#,
        Some("kind"),
        expect![
            "the request body does not fit: field `kind`: unknown field `kind`, expected `type` at line 1 column 7"
        ],
    );
    refuses::<Hello>(
        "7",
        None,
        expect![
            "the request body does not fit: invalid type: integer `7`, expected struct Hello at line 1 column 1"
        ],
    );
    refuses::<Hello>(
        "null",
        None,
        expect![
            "the request body does not fit: invalid type: null, expected struct Hello at line 1 column 4"
        ],
    );
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    refuses::<Hello>(
        r#"{"foo":"a","bar":9223372036854775808}"#,
        Some("bar"),
        expect![
            "the request body does not fit: field `bar`: invalid value: integer `9223372036854775808`, expected i64 at line 1 column 36"
        ],
    );
    refuses::<Hello>(
        r#"{"foo":"a","bar":1e400}"#,
        Some("bar"),
        expect![
            "the request body does not fit: field `bar`: number out of range at line 1 column 22"
        ],
    );
    let digits = format!(r#"{{"foo":"a","bar":{}}}"#, "9".repeat(10_000));
    assert_eq!(problem(&service::<Hello>().post(digits))["field"], "bar");
}

#[test]
fn what_is_no_json_is_refused() {
    refuses::<Hello>(
        "",
        None,
        expect!["the request body does not fit: the body is empty"],
    );
    refuses::<Hello>(
        " \r\n\t",
        None,
        expect!["the request body does not fit: the body is empty"],
    );
    refuses::<Hello>(
        "hello",
        None,
        expect!["the request body does not fit: expected value at line 1 column 1"],
    );
    refuses::<Hello>(
        r#"{"foo":"a""#,
        None,
        expect!["the request body does not fit: EOF while parsing an object at line 1 column 10"],
    );
    refuses::<Hello>(
        r#"{"foo":"a","bar":1} x"#,
        None,
        expect!["the request body does not fit: trailing characters at line 1 column 21"],
    );
    refuses::<Hello>(
        r#"{"foo":"a","bar":1}{}"#,
        None,
        expect!["the request body does not fit: trailing characters at line 1 column 20"],
    );
    refuses::<Hello>(
        r#"{"foo":"a","bar":1,}"#,
        None,
        expect!["the request body does not fit: trailing comma at line 1 column 20"],
    );
    refuses::<Hello>(
        r#"{"foo":"\ud800","bar":1}"#,
        Some("foo"),
        expect![
            "the request body does not fit: field `foo`: unexpected end of hex escape at line 1 column 15"
        ],
    );
    refuses::<Hello>(
        "\u{feff}{}",
        None,
        expect!["the request body does not fit: expected value at line 1 column 1"],
    );
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for (body, valid) in [(&b"\xff\xfe"[..], 0), (b"{\"foo\":\"\xff\",\"bar\":1}", 8)] {
        let problem = problem(&service::<Hello>().post(body));
        let detail = problem["detail"].as_str().expect("a detail");
        let reason = "the request body does not fit: the body is not UTF-8: \
                      invalid utf-8 sequence of 1 bytes from index ";
        assert_eq!(detail, format!("{reason}{valid}"));
    }
}

#[test]
fn deep_nesting_is_bounded() {
    let nested = |levels| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"value":{open}{close}}}"#)
    };
    let mut anything = service::<Anything>();
    anything.post(nested(100)).expect(200, "parsed");
    for body in [
        nested(1_000),
        nested(1 << 20),
        "[".repeat(1 << 20),
        r#"{"value":"#.repeat(1 << 17),
    ] {
        let problem = problem(&anything.post(&body));
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("recursion limit exceeded"), "{detail}");
        assert!(detail.len() < 1_000, "{} bytes", detail.len());
    }
    // What is not asked for is skipped without recursion.
    let skipped = nested(1 << 20).replacen("value", r#"foo":"a","bar":1,"more"#, 1);
    service::<Hello>().post(skipped).expect(200, "parsed");
}

#[test]
fn a_large_string_is_parsed_or_refused_in_a_few_words() {
    let large = "x".repeat(1 << 20);
    let mut hello = service::<Hello>();
    hello
        .post(format!(r#"{{"foo":"{large}","bar":1}}"#))
        .expect(200, "parsed");
    for body in [
        format!(r#"{{"foo":"a","bar":"{large}"}}"#),
        format!(r#"{{"foo":"a","bar":"{}"}}"#, "ö".repeat(1 << 19)),
        format!(r#"{{"foo":"{large}"}}"#),
        format!(r#""{large}""#),
        large.clone(),
    ] {
        let reply = hello.post(&body);
        let problem = problem(&reply);
        assert!(reply.body.len() < 2_000, "{} bytes", reply.body.len());
        let received = problem["received"].as_str().expect("what was received");
        let shown = received.strip_suffix('…').expect("an ellipsis");
        assert!(body.starts_with(shown) && shown.len() >= 197, "{received}");
    }
    let mut cart = service::<Cart>();
    let reply = cart.post(format!(r#"{{"items":[],"coupons":{{"{large}":"x"}}}}"#));
    assert!(reply.body.len() < 2_000, "{} bytes", reply.body.len());
    assert!(
        problem(&reply)["field"]
            .as_str()
            .is_some_and(|field| field.starts_with("coupons.xxx"))
    );
}

#[test]
fn control_characters_cannot_blow_a_refusal_up() {
    let reply = service::<Hello>().post("\0".repeat(1 << 20));
    problem(&reply);
    assert!(reply.body.len() < 4_000, "{} bytes", reply.body.len());
}

#[test]
fn a_refused_body_leaves_the_pipeline() {
    let mut rows = 0;
    let mut service = Pipeline::detached()
        .parse_request::<Strict>()
        .map(move |row| {
            rows += 1;
            let kind = match row.kind {
                Some(Kind::Small) => "small",
                Some(Kind::Large) => "large",
                None => "none",
            };
            format!("{rows} {kind}")
        })
        .make_reply()
        .test();
    assert_eq!(service.post("{").status, 400);
    service.post("{}").expect(200, "1 none");
    service.post(r#"{"type":"large"}"#).expect(200, "2 large");
    service.post(r#"{"type":"small"}"#).expect(200, "3 small");
}

#[test]
fn a_field_whose_name_looks_like_the_message_is_named_whole() {
    #[derive(Deserialize, Row)]
    struct Odd {
        #[serde(rename = "a` at line 1")]
        odd: u8,
    }
    refuses::<Odd>(
        "{}",
        Some("a` at line 1"),
        expect![
            "the request body does not fit: field `a` at line 1`: missing field `a` at line 1` at line 1 column 2"
        ],
    );
    let mut odd = Pipeline::detached()
        .parse_request::<Odd>()
        .map(|row| row.odd)
        .make_reply()
        .test();
    odd.post(r#"{"a` at line 1":3}"#).expect(200, "3");
}

#[test]
fn items_are_priced() {
    let mut service = Pipeline::detached()
        .parse_request::<Cart>()
        .map(|cart| {
            let total: f64 = cart.items.iter().map(|item| item.price).sum();
            (total, cart.coupons.len())
        })
        .make_reply()
        .test();
    service
        .post(r#"{"items":[{"price":1.5},{"price":2}],"coupons":{"a":1}}"#)
        .expect(200, "[3.5,1]");
}
