//! What `make_reply` makes of every kind of row.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use snapback::test::TestReply;
use snapback::{Pipeline, Row};

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const BYTES: Option<&str> = Some("application/octet-stream");
const JSON: Option<&str> = Some("application/json");

fn reply_to<T: Serialize + Clone + Send + 'static>(row: T) -> TestReply {
    let service = Pipeline::detached().map(move |_| row.clone());
    service.make_reply().test().post("")
}

/// Expects this body, of this type, with status 200.
#[track_caller]
fn check<T: Serialize + Clone + Send + 'static>(
    row: T,
    content_type: Option<&str>,
    body: impl AsRef<[u8]>,
) {
    let reply = reply_to(row);
    assert_eq!(reply.body, body.as_ref(), "{}", reply.text());
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, content_type)
    );
}

/// Expects what serde_json writes.
#[track_caller]
fn check_json<T: Serialize + Clone + Send + 'static>(row: T) {
    let expected = serde_json::to_vec(&row).expect("JSON");
    check(row, JSON, expected);
}

#[test]
fn text_is_sent_as_it_is() {
    check("say \"hi\"\n", TEXT, "say \"hi\"\n");
    check("ö".to_owned(), TEXT, "ö");
    check(String::new(), TEXT, "");
    check(Cow::Borrowed("cow"), TEXT, "cow");
    check(Cow::<'static, str>::Owned("cow".to_owned()), TEXT, "cow");
    check(Box::<str>::from("box"), TEXT, "box");
    check('x', TEXT, "x");
    check('𝄞', TEXT, "𝄞");
}

#[derive(Clone)]
struct Blob(&'static [u8]);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn bytes_are_sent_as_they_are() {
    check(vec![0_u8, 255, b'\n'], BYTES, [0, 255, b'\n']);
    check(Vec::<u8>::new(), BYTES, []);
    check(Blob(b"\0\xff"), BYTES, b"\0\xff");
    check(Some(Blob(b"x")), BYTES, b"x");
    // Bytes that are a part of a row are JSON, as serde has it.
    check_json(vec![vec![1_u8], vec![]]);
    check_json([1_u8, 2]);
    check(vec![Blob(b"a")], JSON, "[[97]]");
}

#[derive(Clone, Serialize)]
struct Unit;

#[test]
fn nothing_is_an_empty_reply() {
    check((), None, "");
    check(None::<u8>, None, "");
    check(Some(None::<u8>), None, "");
    check(Some(()), None, "");
    check(Unit, None, "");
    check(serde_json::Value::Null, None, "");
}

#[test]
fn scalars_are_json() {
    check(true, JSON, "true");
    check(false, JSON, "false");
    check(i8::MIN, JSON, "-128");
    check_json(i16::MIN);
    check_json(i32::MIN);
    check(i64::MIN, JSON, "-9223372036854775808");
    check_json(i128::MIN);
    check_json(u8::MAX);
    check_json(u16::MAX);
    check_json(u32::MAX);
    check(u64::MAX, JSON, "18446744073709551615");
    check_json(u128::MAX);
    check_json(1.5_f32);
    check(0.1_f64, JSON, "0.1");
    check_json(f64::MAX);
    check_json(-0.0_f64);
    // JSON has no such numbers; serde_json writes null.
    check(f64::NAN, JSON, "null");
    check(f64::INFINITY, JSON, "null");
    check(f32::NEG_INFINITY, JSON, "null");
    check(Some(1), JSON, "1");
}

#[derive(Clone, Serialize)]
struct Point {
    x: i32,
    #[serde(rename = "Y")]
    y: Option<f64>,
}

#[derive(Clone, Serialize)]
struct Name(&'static str);

#[derive(Clone, Serialize)]
struct Pair(i32, &'static str);

#[derive(Clone, Serialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Line(i32, i32),
    Box { w: u8 },
}

#[derive(Clone, Serialize)]
#[serde(tag = "kind")]
enum Tagged {
    Empty,
    Full { of: Vec<Name> },
}

#[test]
fn structs_and_enums_are_json() {
    check(Point { x: 1, y: None }, JSON, r#"{"x":1,"Y":null}"#);
    check_json(Some(Point {
        x: 1,
        y: Some(f64::NAN),
    }));
    // A newtype is what it wraps.
    check(Name("a\"b"), TEXT, "a\"b");
    check(Pair(1, "a\"b"), JSON, r#"[1,"a\"b"]"#);
    check(Shape::Nothing, TEXT, "Nothing");
    check(Shape::Circle(1.0), JSON, r#"{"Circle":1.0}"#);
    check(Shape::Line(1, 2), JSON, r#"{"Line":[1,2]}"#);
    check(Shape::Box { w: 1 }, JSON, r#"{"Box":{"w":1}}"#);
    check(Tagged::Empty, JSON, r#"{"kind":"Empty"}"#);
    check(
        Tagged::Full {
            of: vec![Name("n")],
        },
        JSON,
        r#"{"kind":"Full","of":["n"]}"#,
    );
}

#[test]
fn collections_are_json() {
    check(vec!["a", "b"], JSON, r#"["a","b"]"#);
    check(Vec::<&str>::new(), JSON, "[]");
    check((1, "a", [true], ()), JSON, r#"[1,"a",[true],null]"#);
    check(BTreeMap::from([("k", vec![1, 2])]), JSON, r#"{"k":[1,2]}"#);
    check(BTreeMap::from([(7, None::<u8>)]), JSON, r#"{"7":null}"#);
    check(BTreeMap::<String, u8>::new(), JSON, "{}");
    check_json(vec![BTreeMap::from([("deep", vec![(1, Some("x"))])])]);
    check_json(serde_json::json!({"a": [1, 2.5, "x", null, {"b": {}}]}));
}

#[derive(Clone)]
struct Unsized;

impl Serialize for Unsized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        seq.serialize_element("a")?;
        seq.end()
    }
}

#[test]
fn lengths_need_not_be_known() {
    check(Unsized, JSON, r#"["a"]"#);
}

#[derive(Clone)]
struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("half", "written")?;
        Err(S::Error::custom("no more"))
    }
}

#[test]
fn a_row_that_fails_to_serialize_is_a_500_without_its_beginning() {
    for reply in [
        reply_to(Fails),
        reply_to(vec![Some(Fails)]),
        reply_to(BTreeMap::from([(vec![1], 2)])),
    ] {
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (500, Some("application/problem+json"))
        );
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("a problem");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(
            detail.starts_with("the reply could not be serialized: "),
            "{detail}"
        );
    }
}

#[derive(Deserialize, Serialize, Row)]
struct Note<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Serialize, Row)]
struct Tail<'a>(&'a str);

#[test]
fn borrowed_rows_are_sent_from_where_they_lie() {
    let echo = Pipeline::detached().parse_request::<Note>().make_reply();
    let mut echo = echo.test();
    echo.post(r#" {"text" : "a"} "#)
        .expect(200, r#"{"text":"a"}"#);
    echo.post(r#"{"text":"\u0061\n"}"#)
        .expect(200, r#"{"text":"a\n"}"#);

    let tail = Pipeline::detached()
        .map_row::<Tail, _>(|request| Tail(request.path().trim_start_matches('/')));
    tail.make_reply().test().get("/abc?d").expect(200, "abc");
}
