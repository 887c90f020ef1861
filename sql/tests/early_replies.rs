//! Replies from the middle of a pipeline, in each mode.

mod support;

use snapback::{Mode, Session};
use snapback_sql::datafusion::common::JoinType;
use snapback_sql::prelude::*;
use snapback_sql::{Result, SqlError, context, strings};
use support::{Service, post, reader_of, serve};

const MODES: [Mode; 3] = [Mode::Continuous, Mode::Distributed, Mode::Server];

fn requests(mode: Mode, schema: &str) -> Result<ServedColumns> {
    let reader = reader_of(mode, &Session::new(), "api").option("numPartitions", 2);
    let stream = reader.load().expect("good options");
    stream.columns_in(&context()).parse_request(schema)
}

type ServedColumns = ColumnStream<snapback::Server, snapback_operators::Start>;

/// The statuses and bodies of requests that are sent together.
fn ask_all(service: &Service, bodies: &[String]) -> Vec<(u16, String)> {
    let mut client = service.client();
    let requests: Vec<Vec<u8>> = bodies.iter().map(|body| post("/api", body)).collect();
    client.send(requests.concat());
    let answers = bodies.iter().map(|_| client.answer());
    answers
        .map(|answer| (answer.status, answer.text().to_owned()))
        .collect()
}

/// Spark Serving answers from a function in the middle, and goes on to the end of the pipeline.
#[test]
fn the_first_reply_counts_and_what_follows_does_not_hurt_it() -> Result<()> {
    for mode in MODES {
        let shared = (col("total") / col("parts")).alias("each");
        let service = requests(mode, "total INT, parts INT")?
            .send_reply(when(col("parts").eq(lit(0)), lit("nothing to share")).end()?)?
            .make_reply(shared)?;
        let service = serve(service.write_stream());
        let bodies: Vec<String> = (0..60)
            .map(|n| format!(r#"{{"total":12,"parts":{}}}"#, n % 4))
            .collect();
        for (n, answer) in ask_all(&service, &bodies).into_iter().enumerate() {
            let expected = match n % 4 {
                0 => "nothing to share".to_owned(),
                parts => format!(r#"{{"each":{}}}"#, 12 / parts),
            };
            assert_eq!(answer, (200, expected), "{mode:?}, request {n}");
        }
    }
    Ok(())
}

#[test]
fn several_are_tried_in_their_order_and_may_read_columns_that_the_end_does_not() -> Result<()> {
    for mode in MODES {
        let cities = DataFrame::from_columns(vec![
            ("zip", strings(["98052", "10001"])),
            ("city", strings(["Redmond", "New York"])),
        ])?;
        let moved = when(col("zip").eq(lit("0")), lit("gone"));
        let unknown = string_to_response(lit("no such zip"), lit(404));
        let replies = requests(mode, "zip STRING, name STRING, age INT")?
            .send_reply(moved.end()?.alias("moved"))?
            .filter(col("age").gt(lit(17)))?
            .join(
                cities.with_column_renamed("zip", "known")?,
                JoinType::Left,
                &[("zip", "known")],
            )?
            .send_reply(when(col("city").is_null(), unknown).end()?)?
            .make_reply(col("city"))?;
        let service = serve(replies.write_stream());
        let person = |zip: &str, age: u32| format!(r#"{{"zip":"{zip}","name":"Zoë","age":{age}}}"#);
        let bodies = [
            person("98052", 30),
            person("0", 3),
            person("98052", 3),
            person("1", 30),
            person("10001", 18),
            "[]".to_owned(),
        ];
        let answers = ask_all(&service, &bodies);
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(
            statuses,
            [200, 200, 204, 404, 200, 400],
            "{mode:?}: {answers:?}"
        );
        let texts: Vec<&str> = answers.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts[..5],
            ["Redmond", "gone", "", "no such zip", "New York"]
        );
    }
    Ok(())
}

/// An early reply that cannot be computed fails its request alone.
#[test]
fn a_reply_that_fails_is_its_requests_own_fault() -> Result<()> {
    for mode in MODES {
        let early = when((lit(10) / col("n")).gt(lit(5)), lit("large")).end()?;
        let replies = requests(mode, "n INT")?
            .send_reply(early)?
            .make_reply(lit("small"))?;
        let service = serve(replies.write_stream());
        let bodies: Vec<String> = (0..40).map(|n| format!(r#"{{"n":{}}}"#, n % 5)).collect();
        for (n, (status, text)) in ask_all(&service, &bodies).into_iter().enumerate() {
            match n % 5 {
                0 => assert_eq!(status, 400, "{text}"),
                1 => assert_eq!((status, text.as_str()), (200, "large"), "{mode:?}"),
                _ => assert_eq!((status, text.as_str()), (200, "small"), "{mode:?}"),
            }
        }
    }
    Ok(())
}

/// In the micro-batch modes what follows may be any query, over those that are left.
#[test]
fn what_was_answered_takes_no_part_in_what_follows() -> Result<()> {
    let replies = requests(Mode::Server, "n INT")?
        .send_reply(when(col("n").lt(lit(0)), lit("negative")).end()?)?
        .sql("SELECT id, sum(n) OVER () AS total FROM requests")?
        .make_reply(col("total"))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    assert_eq!(client.post("/api", r#"{"n":-5}"#).text(), "negative");
    assert_eq!(client.post("/api", r#"{"n":4}"#).text(), r#"{"total":4}"#);
    Ok(())
}

#[test]
fn what_is_not_row_wise_cannot_answer_early() -> Result<()> {
    for mode in MODES {
        let refused = requests(mode, "n INT")?
            .sql("SELECT id, n, max(n) OVER () AS largest FROM requests")?
            .send_reply(col("largest"))?
            .make_reply(col("n"));
        assert!(matches!(refused, Err(SqlError::NotRowWise(_))), "{mode:?}");
    }
    let refused = requests(Mode::Continuous, "n INT")?.send_reply(col("m"));
    assert!(refused.is_err_and(|error| error.to_string().contains('m')));
    Ok(())
}

/// A plan over the columns that there are settles what they are.
#[test]
fn what_parses_comes_before_the_first_reply() -> Result<()> {
    let stream = requests(Mode::Continuous, "n INT")?.send_reply(col("n"))?;
    let refused = stream.parse_query("b STRING");
    assert!(matches!(refused, Err(SqlError::Parsed { .. })));
    Ok(())
}
