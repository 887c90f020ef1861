//! The cases of Spark Serving's HTTPv2Suite that stand in continuous mode, on columns, with that
//! suite's own bounds on time.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use snapback::{Continuous, Session, StreamingQuery};
use snapback_sql::Result;
use snapback_sql::datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};
use snapback_sql::datafusion::arrow::datatypes::DataType;
use snapback_sql::datafusion::logical_expr::{ColumnarValue, Volatility};
use snapback_sql::prelude::*;
use support::{Client, Service, reader_in};

/// The hello world of its documentation.
fn hello(session: &Session, path: &str, port: u16) -> Result<Service> {
    let reader = reader_in(session, path).option("port", port);
    let replies = reader
        .load()
        .expect("good options")
        .columns()
        .parse_request("foo STRING, bar INT")?
        .with_column("fooLength", character_length(col("foo")))?
        .make_reply(col("fooLength"))?;
    let writer = replies
        .write_stream()
        .query_name(path)
        .trigger(Continuous::secs(1));
    let query: StreamingQuery = writer.start().expect("it starts");
    Ok(Service { query })
}

/// How long each of `count` calls takes, in the middle.
fn median(count: usize, mut call: impl FnMut(usize)) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|n| {
            let start = Instant::now();
            call(n);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[count / 2]
}

fn greet(client: &mut Client, path: &str, text: &str) {
    let body = format!(r#"{{"foo":"{text}","bar":1}}"#);
    let answer = client.post(&format!("/{path}"), body);
    let expected = format!(r#"{{"fooLength":{}}}"#, text.len());
    assert_eq!((answer.status, answer.text()), (200, expected.as_str()));
}

#[test]
fn continuous() -> Result<()> {
    let service = hello(&Session::new(), "continuous", 0)?;
    let mut client = service.client();
    let median = median(400, |n| {
        greet(&mut client, "continuous", &"x".repeat(n % 50))
    });
    assert!(median < Duration::from_millis(10), "{median:?}");
    Ok(())
}

#[test]
fn async_continuous() -> Result<()> {
    let service = hello(&Session::new(), "async", 0)?;
    let port = service.port();
    let clients: Vec<_> = (0..100)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = Client::connect(("127.0.0.1", port));
                greet(&mut client, "async", &"y".repeat(n));
            })
        })
        .collect();
    for client in clients {
        client.join().expect("it is answered");
    }
    Ok(())
}

#[test]
fn double_pipeline() -> Result<()> {
    let session = Session::new();
    let first = hello(&session, "double", 0)?;
    let port = first.port();
    let mut client = first.client();
    (0..100).for_each(|_| greet(&mut client, "double", "abc"));
    drop(client);
    drop(first);
    let second = hello(&session, "double", port)?;
    assert_eq!(second.port(), port);
    let mut client = second.client();
    (0..100).for_each(|_| greet(&mut client, "double", "abcd"));
    Ok(())
}

#[test]
fn two_services_run_independently() -> Result<()> {
    let session = Session::new();
    let (foo, bar) = (hello(&session, "foo", 0)?, hello(&session, "bar", 0)?);
    let (mut to_foo, mut to_bar) = (foo.client(), bar.client());
    let median = median(100, |_| {
        greet(&mut to_foo, "foo", "a");
        greet(&mut to_bar, "bar", "bc");
    });
    assert!(median < Duration::from_millis(20), "{median:?}");
    assert_eq!(to_foo.post("/bar", "{}").status, 404);
    Ok(())
}

#[test]
fn bad_requests_are_answered_at_once() -> Result<()> {
    let service = hello(&Session::new(), "strict", 0)?;
    let mut client = service.client();
    for (body, status) in [
        (r#"{"foo":"hello","bar":1}"#, 200),
        (r#"{"wrong":"hello","bar":1}"#, 400),
        ("junk", 400),
    ] {
        let median = median(10, |_| {
            assert_eq!(client.post("/strict", body).status, status, "{body}");
        });
        assert!(median < Duration::from_millis(60), "{body}: {median:?}");
    }
    Ok(())
}

/// Its function throws with a probability of 0.02; this one panics at every 50th call, so that the
/// guilty requests are known.
#[test]
fn fault_tolerance() -> Result<()> {
    let calls = Arc::new(AtomicU64::new(0));
    let faulty = {
        let calls = Arc::clone(&calls);
        create_udf(
            "faulty",
            vec![DataType::Utf8],
            DataType::Utf8,
            Volatility::Volatile,
            Arc::new(move |arguments| {
                let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(!call.is_multiple_of(50), "the function of the test fails");
                Ok(ColumnarValue::clone(&arguments[0]))
            }),
        )
    };
    let session = Session::new();
    let replies = reader_in(&session, "faulty")
        .load()
        .expect("good options")
        .columns()
        .parse_request("foo STRING")?
        .make_reply(faulty.call(vec![col("foo")]))?;
    let service = support::serve(replies.write_stream());
    let mut client = service.client();
    let statuses: Vec<u16> = (0..300)
        .map(|_| client.post("/faulty", r#"{"foo":"x"}"#).status)
        .collect();
    let failed = statuses.iter().filter(|status| **status == 500).count();
    assert_eq!(failed, 6, "each 50th call");
    assert!(statuses.iter().all(|status| [200, 500].contains(status)));
    assert!(service.is_active());
    Ok(())
}

#[test]
fn joins() -> Result<()> {
    let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
    let names = (0..1000).map(|n| format!("value {n}"));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
    let table = DataFrame::from_columns(vec![("key", keys), ("name", names)])?;
    let session = Session::new();
    let replies = reader_in(&session, "joins")
        .load()
        .expect("good options")
        .columns()
        .parse_request("value INT")?
        .join(table, JoinType::Inner, &[("value", "key")])?
        .make_reply(col("name"))?;
    let service = support::serve(replies.write_stream());
    let mut client = service.client();
    let start = Instant::now();
    for n in 0..100 {
        let answer = client.post("/joins", format!(r#"{{"value":{}}}"#, n * 10));
        assert_eq!(answer.text(), format!("value {}", n * 10));
    }
    let mean = start.elapsed() / 100;
    assert!(mean < Duration::from_millis(30), "{mean:?}");
    assert_eq!(client.post("/joins", r#"{"value":1000}"#).status, 204);
    Ok(())
}

#[test]
fn each_request_has_an_id_of_its_own() -> Result<()> {
    let session = Session::new();
    let replies = reader_in(&session, "ids")
        .load()
        .expect("good options")
        .columns()
        .make_reply(get_field(col("id"), "requestId"))?;
    let service = support::serve(replies.write_stream());
    let mut client = service.client();
    let ids: HashSet<String> = (0..500)
        .map(|_| client.post("/ids", "foo").text().to_owned())
        .collect();
    assert_eq!(ids.len(), 500);
    Ok(())
}
