//! Micro-batches over sockets: plans that look at several requests, and each request gets its own
//! reply.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snapback::{Continuous, Mode, ProcessingTime, Session, Trigger};
use snapback_sql::datafusion::arrow::datatypes::DataType;
use snapback_sql::datafusion::error::Result as PlanResult;
use snapback_sql::datafusion::logical_expr::{ColumnarValue, Volatility};
use snapback_sql::prelude::*;
use snapback_sql::{Result, SqlError, context};
use support::{Client, Service, post, reader_of, serve};

const BOTH: [Mode; 2] = [Mode::Distributed, Mode::Server];

/// Serves a query in a mode, whose column `r` is the reply.
fn service(mode: Mode, schema: &str, query: &str) -> Result<Service> {
    service_with(mode, schema, query, ReplyMode::First, Continuous::secs(1))
}

fn service_with(
    mode: Mode,
    schema: &str,
    query: &str,
    reply_mode: ReplyMode,
    trigger: impl Into<Trigger>,
) -> Result<Service> {
    let reader = reader_of(mode, &Session::new(), "api").option("numPartitions", 2);
    let replies = reader
        .load()
        .expect("good options")
        .columns()
        .parse_request(schema)?
        .sql(query)?
        .reply_mode(reply_mode)
        .make_reply(col("r"))?;
    Ok(serve(replies.write_stream().trigger(trigger)))
}

fn ask(client: &mut Client, body: impl AsRef<[u8]>) -> Value {
    let answer = client.post("/api", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Requests that are sent together, over one connection.
fn ask_all(client: &mut Client, bodies: impl IntoIterator<Item = String>) -> Vec<Value> {
    let requests: Vec<Vec<u8>> = bodies.into_iter().map(|body| post("/api", body)).collect();
    client.send(requests.concat());
    let answers = requests.iter().map(|_| client.answer());
    answers
        .map(|answer| {
            assert_eq!(answer.status, 200, "{}", answer.text());
            serde_json::from_slice(&answer.body).expect("JSON")
        })
        .collect()
}

#[test]
fn an_aggregate_by_id_a_window_and_a_sort() -> Result<()> {
    for (query, expected) in [
        (
            "SELECT id, sum(n) AS r FROM requests GROUP BY id",
            json!({"r": 7}),
        ),
        ("SELECT sum(n) OVER () AS r FROM requests", json!({"r": 7})),
        (
            "SELECT n AS r FROM requests ORDER BY n DESC",
            json!({"r": 7}),
        ),
        (
            "SELECT first_value(id) AS id, max(n) AS r FROM requests GROUP BY n",
            json!({"r": 7}),
        ),
        (
            "SELECT max(n) AS r, id FROM requests GROUP BY id HAVING max(n) > 1",
            json!({"r": 7}),
        ),
        (
            "SELECT a.n AS r FROM requests a JOIN requests b ON a.n = b.n",
            json!({"r": 7}),
        ),
        (
            "SELECT n AS r FROM requests WHERE n IN (SELECT max(n) FROM requests)",
            json!({"r": 7}),
        ),
        (
            "SELECT n + (SELECT min(n) FROM requests) AS r FROM requests",
            json!({"r": 14}),
        ),
        (
            "SELECT DISTINCT ON (n) n AS r, id FROM requests",
            json!({"r": 7}),
        ),
        (
            "SELECT n AS r FROM requests UNION ALL SELECT n * 2 AS r FROM requests",
            json!({"r": 7}),
        ),
        (
            "SELECT unnest([n, n + 1]) AS r FROM requests",
            json!({"r": 7}),
        ),
        (
            "WITH q AS (SELECT n, row_number() OVER (ORDER BY n) AS k FROM requests) SELECT n * k AS r FROM q",
            json!({"r": 7}),
        ),
    ] {
        for mode in BOTH {
            let service = service(mode, "n BIGINT", query)?;
            let mut client = service.client();
            for _ in 0..3 {
                assert_eq!(ask(&mut client, r#"{"n":7}"#), expected, "{mode:?} {query}");
            }
        }
    }
    Ok(())
}

#[test]
fn requests_that_come_together_are_one_batch_and_each_gets_its_own_reply() -> Result<()> {
    // The trigger gathers them: whatever came by then is together.
    let query = "SELECT named_struct('n', n, 'rank', rank() OVER (ORDER BY n DESC), \
        'all', count(*) OVER (), 'least', min(n) OVER ()) AS r FROM requests ORDER BY n % 7";
    for mode in BOTH {
        let trigger = ProcessingTime::millis(200);
        let service = service_with(mode, "n BIGINT", query, ReplyMode::First, trigger)?;
        let mut client = service.client();
        ask(&mut client, r#"{"n":0}"#);
        let bodies = (0..100).map(|n| format!(r#"{{"n":{n}}}"#));
        let replies = ask_all(&mut client, bodies);
        let number = |reply: &Value, field: &str| reply[field].as_u64().expect("a number");
        // They arrive in one read or a few, so in one batch or a few, which their least number tells
        // apart.
        let mut batches = BTreeMap::<u64, Vec<&Value>>::new();
        for (n, reply) in (0..).zip(&replies) {
            assert_eq!(number(reply, "n"), n);
            batches
                .entry(number(reply, "least"))
                .or_default()
                .push(reply);
        }
        assert!(batches.len() < 100, "{mode:?}: nothing was together");
        for batch in batches.values() {
            // By their numbers, so from the last rank to the first.
            for (rank, reply) in (1..).zip(batch.iter().rev()) {
                assert_eq!(number(reply, "rank"), rank, "{mode:?} {reply}");
                assert_eq!(number(reply, "all"), batch.len() as u64, "{mode:?} {reply}");
            }
        }
    }
    Ok(())
}

#[test]
fn several_rows_of_a_request_are_its_first_or_an_array() -> Result<()> {
    let query = "SELECT unnest(l) AS r FROM requests";
    for mode in BOTH {
        let first = service(mode, "l ARRAY<INT>", query)?;
        let mut client = first.client();
        assert_eq!(ask(&mut client, r#"{"l":[3,1,2]}"#), json!({"r": 3}));
        assert_eq!(client.post("/api", r#"{"l":[]}"#).status, 204);

        let all = service_with(
            mode,
            "l ARRAY<INT>",
            query,
            ReplyMode::Array,
            Continuous::secs(1),
        )?;
        let mut client = all.client();
        let expected = json!([{"r": 3}, {"r": 1}, {"r": 2}]);
        assert_eq!(ask(&mut client, r#"{"l":[3,1,2]}"#), expected);
        assert_eq!(client.post("/api", r#"{"l":[]}"#).status, 204);
    }
    Ok(())
}

/// A plan that is executed anew must know nothing of the batch before, whichever side of a join the
/// requests are built into.
#[test]
fn a_plan_that_runs_again_has_no_rows_of_the_last_batch() -> Result<()> {
    for query in [
        "SELECT count(*) OVER () AS r FROM requests",
        "SELECT id, count(*) AS r FROM requests GROUP BY id",
        "SELECT count(b.n) OVER () AS r FROM requests a JOIN requests b ON a.n <> b.n + 1",
        "SELECT (SELECT count(*) FROM requests) AS r, n FROM requests ORDER BY n",
    ] {
        for mode in BOTH {
            let service = service(mode, "n BIGINT", query)?;
            let mut client = service.client();
            for n in 0..200 {
                let reply = ask(&mut client, format!(r#"{{"n":{n}}}"#));
                assert_eq!(reply, json!({"r": 1}), "{mode:?} {query}, request {n}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_time_of_a_batch_moves_on() -> Result<()> {
    let query = "SELECT to_char(now(), '%s%f') AS r, count(*) OVER () AS c FROM requests";
    for mode in BOTH {
        let service = service(mode, "n BIGINT", query)?;
        let mut client = service.client();
        let mut times = BTreeSet::new();
        for _ in 0..10 {
            let answer = client.post("/api", r#"{"n":1}"#);
            assert_eq!(answer.status, 200, "{}", answer.text());
            times.insert(answer.text().to_owned());
        }
        assert_eq!(times.len(), 10, "{times:?}");
    }
    Ok(())
}

#[test]
fn what_does_not_say_whose_reply_a_row_is_is_refused() {
    for query in [
        "SELECT count(*) AS r FROM requests",
        "SELECT DISTINCT n AS r FROM requests",
        "SELECT n AS r FROM requests GROUP BY n",
    ] {
        for mode in BOTH {
            let error = service(mode, "n BIGINT", query).err();
            assert!(
                matches!(error, Some(SqlError::WhoseReply { .. })),
                "{query}: {error:?}"
            );
        }
    }
}

#[test]
fn requests_are_repartitioned_at_the_head_alone() -> Result<()> {
    let replies = |mode| -> Result<_> {
        reader_of(mode, &Session::new(), "api")
            .option("numPartitions", 2)
            .load()
            .expect("good options")
            .columns()
            .parse_request("n BIGINT")?
            .transform(|requests| {
                use snapback_sql::datafusion::logical_expr::Partitioning;
                requests.repartition(Partitioning::Hash(vec![col("n")], 2))
            })?
            .make_reply(col("n"))
    };
    assert!(matches!(
        replies(Mode::Distributed),
        Err(SqlError::Repartitioned)
    ));
    let service = serve(replies(Mode::Server)?.write_stream());
    let mut client = service.client();
    let numbers = ask_all(&mut client, (0..3000).map(|n| format!(r#"{{"n":{n}}}"#)));
    for (n, reply) in numbers.iter().enumerate() {
        assert_eq!(*reply, json!({"n": n}));
    }
    Ok(())
}

#[test]
fn a_trigger_holds_micro_batches_apart() -> Result<()> {
    for mode in BOTH {
        let trigger = ProcessingTime::millis(300);
        let query = "SELECT n AS r FROM requests";
        let service = service_with(mode, "n BIGINT", query, ReplyMode::First, trigger)?;
        let mut client = service.client();
        let begin = Instant::now();
        for n in 0..4 {
            assert_eq!(ask(&mut client, format!(r#"{{"n":{n}}}"#)), json!({"r": n}));
        }
        // The first begins at once, each other one an interval behind the one before.
        assert!(begin.elapsed() >= Duration::from_millis(900), "{mode:?}");
    }
    Ok(())
}

#[test]
fn a_drain_waits_for_the_batch_that_runs() -> Result<()> {
    static HELD: AtomicBool = AtomicBool::new(false);
    let hold = |arguments: &[ColumnarValue]| -> PlanResult<ColumnarValue> {
        HELD.store(true, Ordering::Release);
        let begin = Instant::now();
        while HELD.load(Ordering::Acquire) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        Ok(arguments[0].clone())
    };
    let functions = context();
    functions.register_udf(create_udf(
        "hold",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        std::sync::Arc::new(hold),
    ));
    let replies = reader_of(Mode::Server, &Session::new(), "api")
        .option("shutdownTimeout", "20s")
        .load()
        .expect("good options")
        .columns_in(&functions)
        .parse_request("n BIGINT")?
        .sql("SELECT hold(n) AS r, count(*) OVER () AS c FROM requests")?
        .make_reply(col("r"))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    client.send(post("/api", r#"{"n":3}"#));
    while !HELD.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let query = service.query.clone();
    let drain = std::thread::spawn(move || query.stop());
    while !service.query.status().is_draining {
        std::thread::yield_now();
    }
    HELD.store(false, Ordering::Release);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, r#"{"r":3}"#));
    drop(client);
    drain.join().expect("no panic").expect("it drains");
    Ok(())
}

#[test]
fn any_mode_goes_on_from_the_checkpoint_of_any_other() -> Result<()> {
    const ALL: [Mode; 3] = [Mode::Continuous, Mode::Distributed, Mode::Server];
    for before in ALL {
        for after in ALL {
            let folder = tempfile::tempdir().expect("a folder");
            let offsets: Vec<u64> = [before, after]
                .into_iter()
                .map(|mode| last_offset(mode, folder.path()))
                .collect::<Result<_>>()?;
            assert!(offsets[0] >= 4, "{before:?}: {offsets:?}");
            assert!(
                offsets[1] > offsets[0],
                "{before:?}, {after:?}: {offsets:?}"
            );
        }
    }
    Ok(())
}

/// Serves five requests over a checkpoint, and gives the offset of the last one.
fn last_offset(mode: Mode, folder: &std::path::Path) -> Result<u64> {
    let replies = reader_of(mode, &Session::new(), "api")
        .option("checkpointLocation", format!("file://{}", folder.display()))
        .load()
        .expect("good options")
        .columns()
        .sql(match mode {
            Mode::Continuous => "SELECT id FROM requests",
            _ => "SELECT id, count(*) OVER () AS c FROM requests",
        })?
        .make_reply(col("id"))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    let mut last = 0;
    for _ in 0..5 {
        let id = ask(&mut client, "");
        let id = id["requestId"].as_str().expect("an id").to_owned();
        last = id
            .rsplit('-')
            .next()
            .and_then(|offset| offset.parse().ok())
            .expect("an offset");
    }
    Ok(last)
}

/// A typed pipeline has nothing to gather: it answers in the turn, in every mode.
#[test]
fn a_typed_pipeline_runs_in_every_mode() {
    for mode in BOTH {
        let reader = reader_of(mode, &Session::new(), "api")
            .option("numPartitions", 2)
            .option("portMode", "perPartition");
        let replies = reader
            .load()
            .expect("good options")
            .map(|request| request.body().len())
            .make_reply();
        let service = serve(replies.write_stream().trigger(ProcessingTime::secs(10)));
        let listeners = service.query.service_info().len();
        assert_eq!(
            listeners,
            if mode == Mode::Server { 1 } else { 2 },
            "{mode:?}"
        );
        let mut client = service.client();
        assert_eq!(client.post("/api", "four").text(), "4");
    }
}
