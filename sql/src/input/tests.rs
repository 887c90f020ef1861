//! What a batch is made of, and what leaves no trace in it.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::Int32Type;
use snapback::test::TestReply;
use snapback_operators::{Peer, ReplyHead, Run};

use super::*;
use crate::ddl;
use crate::parsing_check::ParsingCheck;
use crate::schema::of_requests;

fn input(schema: &str, check: ParsingCheck, used: &[usize]) -> Input {
    let fields = of_requests(&ddl::parse(schema).expect("a schema"), check).expect("types");
    let sources = Sources {
        body: Body::Json {
            fields,
            check,
            rows: RowsOf::One,
        },
        ..Sources::default()
    };
    let indices: Vec<usize> = used.iter().map(|index| index + 2).collect();
    Input::new(&Arc::new(Reads {
        schema: Arc::new(sources.schema().project(&indices).expect("columns")),
        columns: used.iter().map(|index| Source::Body(*index)).collect(),
        sources,
    }))
}

/// Offers a body; the status that it is refused with.
fn offer(input: &mut Input, body: &[u8], keep: bool) -> Option<u16> {
    let run = Run::new("test", "test");
    let request = Request::new(run.request_id(0, 0), "POST", "/", &Peer::Unix).with_body(body);
    let (mut out, mut head) = (Vec::new(), ReplyHead::default());
    let fits = input.offer(&request, &mut Reply::new(&mut out, &mut head));
    match (fits, keep) {
        (true, true) => input.keep(&request),
        (true, false) => input.take_back(),
        (false, _) => return Some(head.status()),
    }
    None
}

#[test]
fn a_row_that_is_refused_or_taken_back_leaves_no_trace() {
    let schema = "s STRING, l ARRAY<STRUCT<a: INT>>, m MAP<STRING, BINARY>, b BOOLEAN, n INT";
    let mut input = input(schema, ParsingCheck::Full, &[0, 1, 2, 3, 4]);
    let body = |n: i32| {
        format!(r#"{{"s":"é{n}","l":[{{"a":{n}}},null],"m":{{"k":"aGk="}},"b":true,"n":{n}}}"#)
    };
    // Each of these fails one column later than the one before it.
    let bad = [
        r#"{"s":1,"l":[{"a":1}],"m":{"k":"aGk="},"b":true,"n":1}"#,
        r#"{"s":"x","l":[{"a":1},{"a":"x"}],"m":{"k":"aGk="},"b":true,"n":1}"#,
        r#"{"s":"x","l":[{"a":1}],"m":{"j":"aGk=","k":"?"},"b":true,"n":1}"#,
        r#"{"s":"x","l":[{"a":1}],"m":{"k":"aGk="},"b":1,"n":1}"#,
        r#"{"s":"x","l":[{"a":1}],"m":{"k":"aGk="},"b":null,"n":1.5}"#,
        r#"{"s":"x","l":[{"a":1}],"m":{"k":"aGk="},"b":true}"#,
        "junk",
    ];
    for turn in 0..3 {
        for n in 0..20 {
            for bad in bad {
                assert_eq!(offer(&mut input, bad.as_bytes(), true), Some(400), "{bad}");
            }
            assert_eq!(offer(&mut input, body(-1).as_bytes(), false), None);
            assert_eq!(offer(&mut input, body(n).as_bytes(), true), None);
        }
        let batch = input.finish().rows;
        assert_eq!(batch.num_rows(), 20, "turn {turn}");
        let numbers: Vec<i32> = batch
            .column(4)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        let texts = batch.column(0).as_string::<i32>();
        assert!((0..20).all(|n| texts.value(n) == format!("é{n}")));
        let inner = batch
            .column(1)
            .as_list::<i32>()
            .values()
            .as_struct()
            .column(0)
            .clone();
        assert_eq!(inner.len(), 40);
        let keys = batch.column(2).as_map().keys().clone();
        assert_eq!(keys.len(), 20);
        assert_eq!(batch.column(3).as_boolean().true_count(), 20);
    }
}

#[test]
fn columns_that_the_plan_does_not_read_are_not_built() {
    let mut input = input("a STRING, b INT", ParsingCheck::Full, &[1]);
    for n in 0..5 {
        let body = format!(r#"{{"a":"{}","b":{n}}}"#, "x".repeat(1000));
        assert_eq!(offer(&mut input, body.as_bytes(), true), None);
    }
    assert_eq!(offer(&mut input, br#"{"a":5,"b":1}"#, true), Some(400));
    let batch = input.finish().rows;
    assert_eq!((batch.num_columns(), batch.num_rows()), (1, 5));
}

#[test]
fn a_batch_of_no_columns_has_its_rows() {
    let mut input = input("a STRING", ParsingCheck::None, &[]);
    for body in ["junk", r#"{"a":"x"}"#, ""] {
        assert_eq!(offer(&mut input, body.as_bytes(), true), None);
    }
    assert_eq!(input.finish().rows.num_rows(), 3);
    assert_eq!(input.finish().rows.num_rows(), 0);
}

#[test]
fn a_problem_names_field_expected_and_received() {
    let mut service = crate::Columns::columns(snapback::Pipeline::detached())
        .parse_request("foo STRING, bar ARRAY<STRUCT<n: INT>>")
        .and_then(|stream| stream.make_reply(crate::col("foo")))
        .expect("a pipeline")
        .test();
    let mut problem = |body: &str| -> serde_json::Value {
        let reply: TestReply = service.post(body);
        assert_eq!(reply.status, 400);
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        serde_json::from_slice(&reply.body).expect("JSON")
    };
    let fault = problem(r#"{"foo":"x","bar":[{"n":1},{"n":"2"}]}"#);
    assert_eq!(fault["field"], "bar[1].n");
    assert_eq!(fault["expected"], "INT");
    assert_eq!(fault["received"], "\"2\"");
    let fault = problem("junk");
    assert_eq!(fault["expected"], "foo STRING, bar ARRAY<STRUCT<n: INT>>");
    assert_eq!(fault["received"], "junk");
    let long = problem(&format!(r#"{{"foo":["{}"],"bar":[]}}"#, "x".repeat(10_000)));
    assert!(
        long.to_string().len() < 1000,
        "a reply quotes within bounds"
    );
    let long = problem(&format!("{{{}", "é".repeat(10_000)));
    assert!(
        long.to_string().len() < 1500,
        "a reply quotes within bounds"
    );
}
