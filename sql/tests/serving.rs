//! Column pipelines over sockets: a turn's requests are one batch, and one request cannot hurt
//! another.

mod support;

use snapback_sql::Result;
use snapback_sql::context;
use snapback_sql::prelude::*;
use support::{moody, post, requests, serve};

#[test]
fn pipelined_requests_are_answered_in_order() -> Result<()> {
    let replies = requests("api")
        .columns()
        .parse_request("n BIGINT")?
        .make_reply((col("n") * lit(2)).alias("twice"))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    let bytes = (0..1000).flat_map(|n| post("/api", format!(r#"{{"n":{n}}}"#)));
    client.send(bytes.collect::<Vec<u8>>());
    for n in 0..1000 {
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!(r#"{{"twice":{}}}"#, 2 * n).as_str())
        );
    }
    Ok(())
}

/// What request `n` of the mixed batch sends, and what it is answered.
fn mixed(n: usize) -> (String, u16, Option<String>) {
    match n % 10 {
        0 | 1 => (format!(r#"{{"n":{n},"d":1}}"#), 500, None),
        2 => (format!(r#"{{"n":"{n}","d":1}}"#), 400, None),
        3 => (format!(r#"{{"n":{n},"d":0}}"#), 400, None),
        4 => (format!(r#"{{"n":{n},"d":-1}}"#), 204, Some(String::new())),
        _ => (
            format!(r#"{{"n":{n},"d":2}}"#),
            200,
            Some(format!(r#"{{"q":{}}}"#, n / 2)),
        ),
    }
}

#[test]
fn every_request_of_a_mixed_batch_gets_its_own_answer() -> Result<()> {
    let functions = context();
    functions.register_udf(moody());
    let replies = requests("api")
        .columns_in(&functions)
        .parse_request("n BIGINT, d BIGINT")?
        .sql("SELECT moody(n) / d AS q FROM requests WHERE d >= 0")?
        .make_reply(col("q"))?;
    let service = serve(replies.write_stream());
    let clients: Vec<_> = (0..4)
        .map(|first| {
            let mut client = service.client();
            std::thread::spawn(move || {
                let own = (first..2000).step_by(4);
                let bytes = own.clone().flat_map(|n| post("/api", mixed(n).0));
                client.send(bytes.collect::<Vec<u8>>());
                for n in own {
                    let (body, status, expected) = mixed(n);
                    let answer = client.answer();
                    assert_eq!(answer.status, status, "{body}: {}", answer.text());
                    if let Some(expected) = expected {
                        assert_eq!(answer.text(), expected, "{body}");
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("each answer is right");
    }
    assert!(service.is_active());
    Ok(())
}

#[test]
fn a_client_that_goes_away_takes_nobody_along() -> Result<()> {
    let replies = requests("api")
        .columns()
        .parse_request("n BIGINT")?
        .make_reply((col("n") + lit(1)).alias("next"))?;
    let service = serve(replies.write_stream());
    for n in 0..100 {
        let mut leaving = service.client();
        leaving.send(post("/api", r#"{"n":1}"#));
        drop(leaving);
        let answer = service.client().post("/api", format!(r#"{{"n":{n}}}"#));
        assert_eq!(answer.text(), format!(r#"{{"next":{}}}"#, n + 1));
    }
    Ok(())
}
