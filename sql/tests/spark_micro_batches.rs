//! The cases of Spark Serving's HTTPSuite, DistributedHTTPSuite and HTTPv2Suite that stand in its
//! micro-batch modes, with those suites' own bounds on time. All bodies are looked at.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use snapback::{Mode, ProcessingTime, Session, Trigger};
use snapback_sql::datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};
use snapback_sql::prelude::*;
use snapback_sql::{Result, context};
use support::{Client, Service, reader_of, serve};

const BOTH: [Mode; 2] = [Mode::Distributed, Mode::Server];

/// The suites' own file has so many bytes.
const FILE_BYTES: usize = 279_186;

/// Replies with the length of the body, as the suites do.
fn lengths(mode: Mode, partitions: usize, name: &str) -> Result<Service> {
    let replies = reader_of(mode, &Session::new(), "api")
        .option("numPartitions", partitions)
        .load()
        .expect("good options")
        .columns()
        .sql(&format!(
            "SELECT request['entity']['contentLength'] AS {name} FROM requests"
        ))?
        .make_reply(col(name))?;
    Ok(serve(
        replies.write_stream().trigger(ProcessingTime::secs(0)),
    ))
}

fn length_of(client: &mut Client, name: &str, bytes: usize) {
    let answer = client.post("/api", vec![b'x'; bytes]);
    let expected = format!(r#"{{"{name}":{bytes}}}"#);
    assert_eq!((answer.status, answer.text()), (200, expected.as_str()));
}

#[test]
fn stream_from_http() -> Result<()> {
    let service = lengths(Mode::Server, 1, "contentLength")?;
    let mut client = service.client();
    (22..=25).for_each(|bytes| length_of(&mut client, "contentLength", bytes));
    Ok(())
}

#[test]
fn standard_client() -> Result<()> {
    let service = lengths(Mode::Distributed, 3, "contentLength")?;
    let mut client = service.client();
    (22..=25).for_each(|bytes| length_of(&mut client, "contentLength", bytes));
    (0..20).for_each(|_| length_of(&mut client, "contentLength", 22));
    Ok(())
}

#[test]
fn implicits_with_a_file() -> Result<()> {
    for mode in BOTH {
        let service = lengths(mode, 3, "length")?;
        let mut client = service.client();
        (0..10).for_each(|_| length_of(&mut client, "length", FILE_BYTES));
    }
    Ok(())
}

/// Its Python client: 50 processes of 2 threads each.
#[test]
fn many_clients() -> Result<()> {
    for mode in BOTH {
        let service = lengths(mode, 3, "length")?;
        concurrently(&service, 100, |client, n| {
            length_of(client, "length", 20 + n)
        });
    }
    Ok(())
}

#[test]
fn async_client() -> Result<()> {
    let service = lengths(Mode::Distributed, 3, "length")?;
    for clients in [4, 20] {
        concurrently(&service, clients, |client, n| {
            length_of(client, "length", 20 + n)
        });
    }
    Ok(())
}

/// Each of so many clients asks at the same time.
fn concurrently(service: &Service, clients: usize, ask: impl Fn(&mut Client, usize) + Sync) {
    let port = service.port();
    std::thread::scope(|scope| {
        for n in 0..clients {
            let ask = &ask;
            scope.spawn(move || ask(&mut Client::connect(("127.0.0.1", port)), n));
        }
    });
}

fn hello(mode: Mode, trigger: impl Into<Trigger>) -> Result<Service> {
    let replies = reader_of(mode, &Session::new(), "hello")
        .option("numPartitions", 4)
        .load()
        .expect("good options")
        .columns()
        .parse_request("foo STRING, bar INT")?
        .with_column("fooLength", character_length(col("foo")))?
        .make_reply(col("fooLength"))?;
    Ok(serve(replies.write_stream().trigger(trigger)))
}

fn greet(client: &mut Client, length: usize) {
    let body = format!(r#"{{"foo":"{}","bar":1}}"#, "x".repeat(length));
    let answer = client.post("/hello", body);
    let expected = format!(r#"{{"fooLength":{length}}}"#);
    assert_eq!((answer.status, answer.text()), (200, expected.as_str()));
}

/// "non continuous mode": 500 requests one after the other, in the middle below 5 ms.
#[test]
fn non_continuous_mode() -> Result<()> {
    for mode in BOTH {
        let service = hello(mode, ProcessingTime::secs(0))?;
        let mut client = service.client();
        let mut times: Vec<Duration> = (0..500)
            .map(|n| {
                let begin = Instant::now();
                greet(&mut client, n % 50);
                begin.elapsed()
            })
            .collect();
        times.sort();
        assert!(
            times[250] < Duration::from_millis(5),
            "{mode:?}: {:?}",
            times[250]
        );
    }
    Ok(())
}

#[test]
fn async_microbatch() -> Result<()> {
    for mode in BOTH {
        let service = hello(mode, ProcessingTime::secs(0))?;
        let begin = Instant::now();
        concurrently(&service, 100, greet);
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
    }
    Ok(())
}

#[test]
fn bad_requests_are_answered_at_once() -> Result<()> {
    for mode in BOTH {
        let service = hello(mode, ProcessingTime::secs(0))?;
        let mut client = service.client();
        for (body, status) in [
            (r#"{"foo":"a","bar":1}"#, 200),
            (r#"{"oof":"a","bar":1}"#, 400),
            ("junk", 400),
        ] {
            for _ in 0..10 {
                let begin = Instant::now();
                assert_eq!(
                    client.post("/hello", body).status,
                    status,
                    "{mode:?} {body}"
                );
                assert!(
                    begin.elapsed() < Duration::from_millis(60),
                    "{:?}",
                    begin.elapsed()
                );
            }
        }
    }
    Ok(())
}

/// A static join of 1,000 rows, 100 requests, each with its right value, on average below 30 ms.
#[test]
fn joins() -> Result<()> {
    let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
    let names = (0..1000).map(|n| format!("value {n}"));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
    for (mode, query) in [
        (
            Mode::Distributed,
            "SELECT name FROM requests JOIN t ON requests.n = t.k",
        ),
        (
            Mode::Server,
            "SELECT name FROM requests JOIN t ON requests.n = t.k",
        ),
        // DataFusion's own join, since the sort is not row-wise.
        (
            Mode::Server,
            "SELECT name FROM requests JOIN t ON requests.n = t.k ORDER BY name",
        ),
    ] {
        let tables = context();
        let columns = vec![("k", Arc::clone(&keys)), ("name", Arc::clone(&names))];
        tables.register_table("t", DataFrame::from_columns(columns)?.into_view())?;
        let replies = reader_of(mode, &Session::new(), "api")
            .load()
            .expect("good options")
            .columns_in(&tables)
            .parse_request("n INT")?
            .sql(query)?
            .make_reply(col("name"))?;
        let service = serve(replies.write_stream());
        let mut client = service.client();
        let begin = Instant::now();
        for n in 0..100 {
            let answer = client.post("/api", format!(r#"{{"n":{}}}"#, n * 10));
            assert_eq!(answer.text(), format!("value {}", n * 10));
        }
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(client.post("/api", r#"{"n":1000}"#).status, 204);
    }
    Ok(())
}
