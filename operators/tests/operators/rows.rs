//! What the derive of `Row` makes of a type.

use std::borrow::Cow;

use serde::Deserialize;
use snapback::{Owned, Pipeline, Row};

#[derive(Deserialize, Row)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Event {
    Click { x: u32, y: u32 },
    Key { code: String },
    Idle,
}

#[derive(Deserialize, Row)]
#[serde(untagged)]
enum Id<'a> {
    Number(u64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

#[derive(Deserialize, Row)]
struct Renamed<'a> {
    #[serde(rename = "fooLength")]
    _foo_length: Vec<Option<u8>>,
    #[serde(borrow, rename = "the text")]
    _text: Cow<'a, str>,
    #[serde(default = "seven", rename = "n")]
    _number: i64,
}

fn seven() -> i64 {
    7
}

#[derive(Deserialize, Row)]
#[serde(rename_all(deserialize = "camelCase"))]
struct Cased {
    _zip_code: String,
    r#_type_name: u8,
    #[serde(skip_deserializing)]
    _row_number: u64,
    #[serde(flatten)]
    _position: Position,
}

#[derive(Deserialize)]
struct Position {
    _x: i32,
}

#[derive(Deserialize, Row)]
#[serde(rename_all = "kebab-case", rename_all_fields = "SCREAMING-KEBAB-CASE")]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Command {
    SetValue {
        new_value: u8,
    },
    Get(u64),
    #[serde(skip)]
    Local,
}

#[derive(Row)]
struct Nothing;

#[derive(Row)]
struct Bytes<'a>(&'a [u8]);

#[test]
fn the_fields_are_told_as_the_caller_names_them() {
    let fields = [
        <Renamed as Row>::FIELDS,
        <Event as Row>::FIELDS,
        <Id as Row>::FIELDS,
        <Cased as Row>::FIELDS,
        <Command as Row>::FIELDS,
        <Nothing as Row>::FIELDS,
        <Bytes as Row>::FIELDS,
        <Owned<u8> as Row>::FIELDS,
    ];
    let expected = [
        "{fooLength: Vec<Option<u8>>, the text: Cow<'a,str>, n: i64}",
        "click {x: u32, y: u32} | key {code: String} | idle",
        "u64 | Cow<'a,str>",
        "{zipCode: String, typeName: u8, …Position}",
        "set-value {NEW-VALUE: u8} | get (u64)",
        "",
        "",
        "",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn an_enum_is_a_row() {
    let mut service = Pipeline::detached()
        .parse_request::<Event>()
        .filter(|event| !matches!(event, Event::Idle))
        .map(|event| match event {
            Event::Click { x, y } => format!("{x}/{y}"),
            Event::Key { code } => code,
            Event::Idle => "idle".to_owned(),
        })
        .make_reply()
        .test();
    service
        .post(r#"{"kind":"click","x":1,"y":2}"#)
        .expect(200, "1/2");
    service
        .post(r#"{"kind":"key","code":"Esc"}"#)
        .expect(200, "Esc");
    service.post(r#"{"kind":"idle"}"#).expect(204, "");
    assert_eq!(service.post(r#"{"kind":"drag"}"#).status, 400);
    let reply = service.post(r#"{"kind":"click","x":1}"#);
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("a problem");
    assert_eq!((reply.status, &problem["field"]), (400, &"y".into()));
}

#[test]
fn an_enum_borrows() {
    let mut service = Pipeline::detached()
        .parse_request::<Id>()
        .map(|id| match id {
            Id::Number(number) => format!("number {number}"),
            Id::Text(Cow::Borrowed(text)) => format!("borrowed {text}"),
            Id::Text(Cow::Owned(text)) => format!("owned {text}"),
        })
        .make_reply()
        .test();
    service.post("7").expect(200, "number 7");
    service.post("\"a\"").expect(200, "borrowed a");
    service.post(r#""\u0061""#).expect(200, "owned a");
}

#[test]
fn rows_of_every_shape_flow() {
    let pipeline = Pipeline::detached()
        .map_row::<Bytes, _>(|request| Bytes(request.body()))
        .filter(|Bytes(bytes)| !bytes.is_empty())
        .map_row::<Nothing, _>(|Bytes(_)| Nothing)
        .map(|Nothing| "nothing");
    let mut service = pipeline.make_reply().test();
    service.post("x").expect(200, "nothing");
    service.post("").expect(204, "");
}
