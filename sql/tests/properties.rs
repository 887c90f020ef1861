//! Bodies of all shapes against a model of what fits, and values on their way in and out.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use snapback::Pipeline;
use snapback::test::TestService;
use snapback_sql::prelude::*;

const ROW: &str = "b BOOLEAN, i BIGINT, t TINYINT, x DOUBLE, s STRING, l ARRAY<INT>, \
    m MAP<STRING, DOUBLE>, n STRUCT<a: STRING, d: ARRAY<STRUCT<k: INT>>>";

fn row() -> impl Strategy<Value = Value> {
    let text = || option::of("\\PC{0,12}|[a\"\\\\/\u{0}-\u{1f}\u{1F600}é]{0,6}");
    let struct_n = (text(), option::of(vec(option::of(any::<i32>()), 0..4))).prop_map(|(a, d)| {
        let d = d.map(|d| d.into_iter().map(|k| json!({ "k": k })).collect::<Vec<_>>());
        json!({ "a": a, "d": d })
    });
    (
        option::of(any::<bool>()),
        option::of(any::<i64>()),
        option::of(any::<i8>()),
        option::of(quarters()),
        text(),
        option::of(vec(option::of(any::<i32>()), 0..5)),
        option::of(btree_map("[a-zé\"]{0,3}", option::of(quarters()), 0..4)),
        option::of(struct_n),
    )
        .prop_map(|(b, i, t, x, s, l, m, n)| {
            json!({"b": b, "i": i, "t": t, "x": x, "s": s, "l": l, "m": m, "n": n})
        })
}

/// Doubles of few digits: serde_json, which reads the replies here, is off by the last bit in others.
fn quarters() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|quarters| f64::from(quarters) / 4.0)
}

/// What comes back: fields of structs that are null are left out, all else stays.
fn without_null_fields(value: &Value, is_map: bool) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(_, value)| is_map || !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_null_fields(value, name == "m")))
                .collect()
        }
        Value::Array(elements) => elements
            .iter()
            .map(|element| without_null_fields(element, false))
            .collect(),
        other => other.clone(),
    }
}

fn round_trip() -> TestService {
    let names = ["b", "i", "t", "x", "s", "l", "m", "n"];
    let fields = names.iter().flat_map(|name| [lit(*name), col(*name)]);
    let stream = Pipeline::detached().columns().parse_request(ROW);
    let stream = stream.and_then(|stream| stream.make_reply(named_struct(fields.collect())));
    stream.expect("a pipeline").test()
}

/// Any JSON, small; often an object with the fields that the schema asks for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-200_i64..200).prop_map(Value::from),
        (-1e3..1e3).prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    let leaf = leaf.boxed();
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof!["value", "name", "list", "[a-z]{1,2}"];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key, inner, 0..4)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

const FIELDS: &str = "value TINYINT, name STRING, list ARRAY<TINYINT>";

fn tiny(value: &Value) -> bool {
    value
        .as_i64()
        .is_some_and(|value| i8::try_from(value).is_ok())
}

/// The model: what a field becomes, `None` when it does not fit.
fn model(name: &str, value: &Value, lenient: bool) -> Option<Value> {
    let fits = |value: &Value| value.is_null() || tiny(value);
    match (name, value) {
        (_, Value::Null) => Some(Value::Null),
        ("value", value) if tiny(value) => Some(value.clone()),
        ("name", Value::String(_)) => Some(value.clone()),
        ("list", Value::Array(elements)) if elements.iter().all(fits) => Some(value.clone()),
        ("list", Value::Array(elements)) if lenient => Some(
            elements
                .iter()
                .map(|element| {
                    if tiny(element) {
                        element.clone()
                    } else {
                        Value::Null
                    }
                })
                .collect(),
        ),
        _ => None,
    }
}

fn expected(body: &Value, check: ParsingCheck) -> Option<Value> {
    let names = ["value", "name", "list"];
    let lenient = check != ParsingCheck::Full;
    let empty = Map::new();
    let fields = match (body, check) {
        (Value::Object(fields), _) => fields,
        (_, ParsingCheck::None) => &empty,
        _ => return None,
    };
    let mut row = Map::new();
    for name in names {
        let value = fields
            .get(name)
            .and_then(|value| model(name, value, lenient));
        match value {
            Some(value) => row.insert(name.to_owned(), value),
            None if lenient => row.insert(name.to_owned(), Value::Null),
            None => return None,
        };
    }
    let fits = check != ParsingCheck::Partial || row.values().any(|value| !value.is_null());
    fits.then(|| without_null_fields(&Value::Object(row), false))
}

fn checked(check: ParsingCheck) -> TestService {
    let fields = ["value", "name", "list"]
        .iter()
        .flat_map(|name| [lit(*name), col(*name)]);
    let stream = Pipeline::detached()
        .columns()
        .parse_request_with(FIELDS, check);
    let stream = stream.and_then(|stream| stream.make_reply(named_struct(fields.collect())));
    stream.expect("a pipeline").test()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out(rows in vec(row(), 1..16)) {
        let mut service = round_trip();
        for row in rows {
            let reply = service.post(row.to_string());
            prop_assert_eq!(reply.status, 200, "{}: {}", row, reply.text());
            let came: Value = serde_json::from_slice(&reply.body).expect("JSON");
            prop_assert_eq!(came, without_null_fields(&row, false));
        }
    }

    #[test]
    fn every_double_comes_back_as_it_is(doubles in vec(any::<f64>(), 1..64)) {
        let stream = Pipeline::detached().columns().parse_request("x DOUBLE");
        let mut service = stream.and_then(|stream| stream.make_reply(col("x"))).expect("a pipeline").test();
        for x in doubles.into_iter().filter(|x| x.is_finite()) {
            let body = json!({ "x": x }).to_string();
            let reply = service.post(&body).text();
            let came: f64 = reply[5..reply.len() - 1].parse().expect("a number");
            prop_assert_eq!(came.to_bits(), x.to_bits(), "{} {}", body, reply);
        }
    }

    #[test]
    fn bodies_fit_as_the_model_says(bodies in vec(any_json(), 1..32)) {
        for check in [ParsingCheck::None, ParsingCheck::Partial, ParsingCheck::Full] {
            let mut service = checked(check);
            for body in &bodies {
                let reply = service.post(body.to_string());
                match expected(body, check) {
                    Some(row) => {
                        prop_assert_eq!(reply.status, 200, "{:?} {}: {}", check, body, reply.text());
                        let came: Value = serde_json::from_slice(&reply.body).expect("JSON");
                        prop_assert_eq!(came, row, "{:?} {}", check, body);
                    }
                    None => prop_assert_eq!(reply.status, 400, "{:?} {}", check, body),
                }
            }
        }
    }

    #[test]
    fn no_bytes_at_all_are_more_than_a_bad_request(bytes in vec(any::<u8>(), 0..200)) {
        let mut service = checked(ParsingCheck::Full);
        let status = service.post(&bytes).status;
        prop_assert!(status == 400 || status == 200);
        let good = r#"{"value":1,"name":"x","list":[]}"#;
        prop_assert_eq!(service.post(good).status, 200);
    }
}

#[test]
fn nesting_that_the_schema_does_not_have_is_bounded_by_the_parser() {
    let mut service = checked(ParsingCheck::Full);
    for depth in [10, 500, 100_000] {
        let body = format!(
            r#"{{"value":1,"name":"x","list":[],"deep":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let status = service.post(&body).status;
        assert!(
            status == 200 || (depth > 500 && status == 400),
            "{depth}: {status}"
        );
    }
    service
        .post(r#"{"value":1,"name":"x","list":[]}"#)
        .expect(200, r#"{"value":1,"name":"x","list":[]}"#);
}
