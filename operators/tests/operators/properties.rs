//! What holds for every input.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};
use snapback::test::TestService;
use snapback::{Pipeline, Reply, ReplyHead, Row};

/// Any JSON value; objects often have the fields of [`Sample`].
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let name = prop_oneof![
            prop::sample::select(vec!["text", "count", "items"]).prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name, inner), 0..6).prop_map(|fields| Value::from(Map::from_iter(fields))),
        ]
    })
}

#[derive(Deserialize, Row)]
struct Sample<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    count: Option<i64>,
    #[serde(borrow, default)]
    items: Vec<Sample<'a>>,
}

impl Sample<'_> {
    fn weight(&self) -> usize {
        let items: usize = self.items.iter().map(Sample::weight).sum();
        self.text.len() + usize::from(self.count.is_some()) + items
    }
}

fn parser() -> TestService {
    Pipeline::detached()
        .parse_request::<Sample>()
        .map(|row| row.weight())
        .make_reply()
        .test()
}

/// The body parses as serde_json says, or is refused in a few words.
fn check_parse(body: &[u8]) {
    let reply = parser().post(body);
    match serde_json::from_slice::<Sample<'_>>(body) {
        Ok(sample) => {
            reply.expect(200, sample.weight().to_string());
        }
        Err(error) => {
            assert_eq!(reply.status, 400, "{error}");
            let problem: Value = serde_json::from_slice(&reply.body).expect("a problem");
            let detail = problem["detail"].as_str().expect("a detail");
            assert!(
                detail.len() > "the request body does not fit: ".len(),
                "{detail}"
            );
            assert!(reply.body.len() < 8_000, "{} bytes", reply.body.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_json_is_parsed_or_refused(value in json()) {
        check_parse(value.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        check_parse(&bytes);
    }

    #[test]
    fn json_that_was_damaged_is_parsed_or_refused(
        value in json(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = value.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        check_parse(&body);
        body.truncate(at);
        check_parse(&body);
    }

    #[test]
    fn a_value_comes_back_as_it_went_out(value in json()) {
        let row = value.clone();
        let reply = Pipeline::detached().map(move |_| row.clone()).make_reply().test().post("");
        prop_assert_eq!(reply.status, 200);
        match &value {
            Value::Null => prop_assert_eq!(reply.text(), ""),
            Value::String(text) => prop_assert_eq!(&reply.text(), text),
            // The parser rounds some floats by one step, so numbers are compared as text.
            _ => prop_assert_eq!(reply.text(), value.to_string()),
        }
    }

    #[test]
    fn no_header_can_split_a_reply(
        fields in vec((any::<String>(), "[ -~\r\n\t\0ö]{0,12}"), 0..5),
        names in vec("[a-zA-Z-]{1,10}", 5),
    ) {
        let (mut out, mut head) = (Vec::new(), ReplyHead::default());
        let mut reply = Reply::new(&mut out, &mut head);
        for ((wild, value), name) in fields.iter().zip(&names) {
            reply.header(name, value).header(name, wild).header(wild, value);
        }
        reply.text("t");
        let lines = std::str::from_utf8(head.header_lines()).expect("text");
        let mut rest = lines;
        while let Some((line, behind)) = rest.split_once("\r\n") {
            rest = behind;
            let (name, value) = line.split_once(": ").expect("a name and a value");
            prop_assert!(!name.is_empty() && name.is_ascii());
            let is_control = |c: char| c != '\t' && c.is_ascii_control();
            prop_assert!(!line.contains(is_control), "{:?}", line);
            let given = |text: &String| text.trim_matches([' ', '\t']) == value;
            prop_assert!(fields.iter().any(|(wild, safe)| given(wild) || given(safe)));
        }
        prop_assert_eq!(rest, "");
        let suspect = fields.iter().any(|(wild, value)| [wild, value].iter().any(|text| text.contains(['\r', '\n'])));
        prop_assert!(!suspect || head.fault().is_some());
    }
}
