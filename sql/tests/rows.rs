//! Bodies that are arrays of rows, in each mode.

mod support;

use snapback::{Mode, Session};
use snapback_sql::prelude::*;
use snapback_sql::{ParsingCheck, Result, context};
use support::{Service, post, reader_of, serve};

const MODES: [Mode; 3] = [Mode::Continuous, Mode::Distributed, Mode::Server];

type ServedColumns = ColumnStream<snapback::Server, snapback_operators::Start>;

fn rows(mode: Mode, schema: &str) -> Result<ServedColumns> {
    let reader = reader_of(mode, &Session::new(), "api").option("numPartitions", 2);
    let stream = reader.load().expect("good options");
    stream.columns_in(&context()).parse_rows(schema)
}

/// The statuses and bodies of requests that are sent together.
fn ask_all<'b>(service: &Service, bodies: impl IntoIterator<Item = &'b str>) -> Vec<(u16, String)> {
    let mut client = service.client();
    let requests: Vec<Vec<u8>> = bodies.into_iter().map(|body| post("/api", body)).collect();
    client.send(requests.concat());
    let answers = requests.iter().map(|_| client.answer());
    answers
        .map(|answer| (answer.status, answer.text().to_owned()))
        .collect()
}

#[test]
fn each_object_is_a_row_and_each_request_gets_its_own_back() -> Result<()> {
    for mode in MODES {
        let replies = rows(mode, "n INT NOT NULL, name STRING")?
            .filter(col("n").not_eq(lit(0)))?
            .make_reply((lit(12) / col("n")).alias("r"))?;
        let service = serve(replies.write_stream());
        let cases = [
            (
                r#"[{"n":1,"name":"a"},{"n":2,"name":null}]"#,
                200,
                r#"[{"r":12},{"r":6}]"#,
            ),
            (r#"{"n":3,"name":"one"}"#, 200, r#"[{"r":4}]"#),
            ("[]", 200, "[]"),
            (r#"[{"n":0,"name":""}]"#, 200, "[]"),
            (
                r#"[{"n":4,"name":""},{"n":0,"name":""},{"n":6,"name":""}]"#,
                200,
                r#"[{"r":3},{"r":2}]"#,
            ),
        ];
        for round in 0..3 {
            let answers = ask_all(&service, cases.map(|(body, ..)| body));
            let expected = cases.map(|(_, status, text)| (status, text.to_owned()));
            assert_eq!(answers, expected, "{mode:?}, round {round}");
        }
    }
    Ok(())
}

#[test]
fn a_row_that_does_not_fit_is_named_and_leaves_no_trace() -> Result<()> {
    for mode in MODES {
        let replies = rows(mode, "n INT NOT NULL")?.make_reply(col("n"))?;
        let service = serve(replies.write_stream());
        let good = (200, r#"[{"n":7},{"n":8}]"#.to_owned());
        let answers = ask_all(
            &service,
            [
                r#"[{"n":7},{"n":8}]"#,
                r#"[{"n":1},{"n":2},{"n":"three"}]"#,
                r#"[{"n":1},5]"#,
                r#"[{"n":1},[{"n":2}]]"#,
                "7",
                r#"[{"n":7},{"n":8}]"#,
            ],
        );
        assert_eq!((&answers[0], &answers[5]), (&good, &good), "{mode:?}");
        for (index, told) in [
            (1, "field `[2].n`: expected INT NOT NULL, received"),
            (2, "row [1]: expected an object, received 5"),
            (3, "row [1]: expected an object, received an array"),
            (4, "expected an object, received 7"),
        ] {
            let (status, text) = &answers[index];
            assert_eq!(*status, 400);
            assert!(
                text.contains(told) || text.contains("[2].n"),
                "{mode:?}: {text}"
            );
        }
    }
    Ok(())
}

/// A row that fails in the plan fails its request, with all its rows, and no other.
#[test]
fn a_row_that_fails_is_its_requests_alone() -> Result<()> {
    for mode in MODES {
        let replies = rows(mode, "n INT")?.make_reply((lit(12) / col("n")).alias("r"))?;
        let service = serve(replies.write_stream());
        let bodies: Vec<String> = (0..40)
            .map(|n| match n % 4 {
                0 => r#"[{"n":3},{"n":0},{"n":4}]"#.to_owned(),
                rows => format!("[{}]", vec![r#"{"n":6}"#; rows].join(",")),
            })
            .collect();
        let answers = ask_all(&service, bodies.iter().map(String::as_str));
        for (n, (status, text)) in answers.into_iter().enumerate() {
            match n % 4 {
                0 => assert_eq!(status, 400, "{mode:?}: {text}"),
                rows => {
                    let expected = format!("[{}]", vec![r#"{"r":2}"#; rows].join(","));
                    assert_eq!((status, text), (200, expected), "{mode:?}, request {n}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_a_request_has_once_each_of_its_rows_has() -> Result<()> {
    for mode in MODES {
        let reader = reader_of(mode, &Session::new(), "api");
        let replies = reader
            .load()
            .expect("good options")
            .columns_in(&context())
            .parse_query("times INT NOT NULL")?
            .parse_rows_with("word STRING", ParsingCheck::Partial)?
            .sql("SELECT id, repeat(word, CAST(times AS BIGINT)) AS r FROM requests")?
            .send_reply(when(col("r").eq(lit("stopstop")), lit("stopped")).end()?)?
            .reply_mode(ReplyMode::First)
            .make_reply(col("r"))?;
        let service = serve(replies.write_stream());
        let mut client = service.client();
        let mut ask = |body: &str| {
            let answer = client.post("/api?times=2", body);
            (answer.status, answer.text().to_owned())
        };
        assert_eq!(
            ask(r#"[{"word":"ab"},{"word":"c"}]"#),
            (200, "abab".to_owned())
        );
        assert_eq!(
            ask(r#"[{"word":"ab"},{"word":"stop"}]"#),
            (200, "stopped".to_owned())
        );
        assert_eq!(ask("[]"), (204, String::new()), "{mode:?}");
    }
    Ok(())
}

/// In `server()` any query over the rows of the batch, each request with its own.
#[test]
fn windows_over_the_rows_of_a_request() -> Result<()> {
    let replies = rows(Mode::Server, "n INT")?
        .sql("SELECT id, n, sum(n) OVER (PARTITION BY id ORDER BY n) AS total FROM requests")?
        .make_reply(named_struct(vec![
            lit("n"),
            col("n"),
            lit("total"),
            col("total"),
        ]))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    let answer = client.post("/api", r#"[{"n":1},{"n":3},{"n":2}]"#);
    let expected = r#"[{"n":1,"total":1},{"n":3,"total":6},{"n":2,"total":3}]"#;
    assert_eq!((answer.status, answer.text()), (200, expected));
    let answers = ask_all(&service, [r#"[{"n":5},{"n":4}]"#, "[]", r#"{"n":9}"#]);
    let texts: Vec<&str> = answers.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            r#"[{"n":5,"total":9},{"n":4,"total":4}]"#,
            "[]",
            r#"[{"n":9,"total":9}]"#
        ]
    );
    Ok(())
}

#[test]
fn a_request_has_not_more_rows_than_it_may() -> Result<()> {
    let replies = rows(Mode::Continuous, "n INT")?.make_reply(col("n"))?;
    let service = serve(replies.write_stream());
    let many = format!("[{}]", vec![r#"{"n":1}"#; (1 << 16) + 1].join(","));
    let mut client = service.client();
    let answer = client.post("/api", many);
    assert_eq!(answer.status, 413);
    assert!(
        answer.text().contains("more than 65536 rows"),
        "{}",
        answer.text()
    );
    let most = format!("[{}]", vec![r#"{"n":1}"#; 1 << 16].join(","));
    let answer = client.post("/api", most);
    assert_eq!((answer.status, answer.body.len()), (200, 8 * (1 << 16) + 1));
    Ok(())
}

/// Each row has the whole request where the plan reads it: 60,000 times 180 kB are no batch, and nobody
/// is hurt by who asks for them.
#[test]
fn what_each_row_repeats_is_bounded() -> Result<()> {
    for mode in MODES {
        let reader = reader_of(mode, &Session::new(), "api");
        let stream = reader.load().expect("good options").columns();
        let replies = stream
            .parse_rows_with("n INT", ParsingCheck::None)?
            .with_column("own", request_to_string(col("request")))?
            .make_reply(character_length(col("own")).alias("l"))?;
        let service = serve(replies.write_stream());
        let many = format!("[{}]", vec!["{}"; 60_000].join(","));
        let answers = ask_all(&service, ["[{}]", many.as_str(), "[{},{}]"]);
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        assert!([413, 503].contains(&statuses[1]), "{mode:?}: {statuses:?}");
        assert_eq!(answers[0], (200, r#"[{"l":4}]"#.to_owned()), "{mode:?}");
        assert_eq!(
            answers[2],
            (200, r#"[{"l":7},{"l":7}]"#.to_owned()),
            "{mode:?}"
        );
        assert_eq!(ask_all(&service, [many.as_str()])[0].0, 413, "{mode:?}");
    }
    Ok(())
}
