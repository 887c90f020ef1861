//! One request cannot hurt another: ten thousand at once, of which many fail.

mod support;

use std::sync::Barrier;

use snapback::{Mode, Session};
use snapback_sql::prelude::*;
use snapback_sql::{Result, context};
use support::{Client, moody, post, reader_of, serve};

/// Ten thousand requests at once: some are malformed, some make the plan fail, some clients go away.
/// All others get what is theirs.
#[test]
fn one_request_cannot_hurt_another() -> Result<()> {
    const CLIENTS: usize = 50;
    for (mode, query) in [
        (Mode::Continuous, "SELECT moody(n) AS r FROM requests"),
        (Mode::Distributed, "SELECT moody(n) AS r FROM requests"),
        (
            Mode::Distributed,
            "SELECT moody(n) AS r FROM requests ORDER BY n",
        ),
        (
            Mode::Server,
            "SELECT moody(n) AS r, count(*) OVER () AS c FROM requests",
        ),
    ] {
        let functions = context();
        functions.register_udf(moody());
        let replies = reader_of(mode, &Session::new(), "api")
            .load()
            .expect("good options")
            .columns_in(&functions)
            .parse_request("n BIGINT")?
            .sql(query)?
            .make_reply(col("r"))?;
        let service = serve(replies.write_stream());
        let port = service.port();
        // All have sent what they have before any reads.
        let sent = Barrier::new(CLIENTS);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let sent = &sent;
                scope.spawn(move || converse(port, client * 200, sent));
            }
        });
        let answer = service.client().post("/api", r#"{"n":2}"#);
        assert_eq!(
            (answer.status, answer.text()),
            (200, r#"{"r":2}"#),
            "{mode:?}"
        );
    }
    Ok(())
}

/// Two hundred requests of one client, from a number on: one in ten malformed, one fails, one panics,
/// and one is of somebody who goes away before its reply.
fn converse(port: u16, first: usize, sent: &Barrier) {
    let numbers = first..first + 200;
    let body = |n: usize| match n % 10 {
        5 => r#"{"n":"five"}"#.to_owned(),
        _ => format!(r#"{{"n":{n}}}"#),
    };
    let (mut pipelined, mut leavers) = (Vec::new(), Vec::new());
    for n in numbers.clone() {
        let request = post("/api", body(n));
        if n % 10 == 7 {
            let mut leaver = Client::connect(("127.0.0.1", port));
            leaver.send(request);
            leavers.push(leaver);
        } else {
            pipelined.extend(request);
        }
    }
    let mut stayer = Client::connect(("127.0.0.1", port));
    stayer.send(pipelined);
    sent.wait();
    drop(leavers);
    for n in numbers.filter(|n| n % 10 != 7) {
        let answer = stayer.answer();
        let expected = match n % 10 {
            0 | 1 => 500,
            5 => 400,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{n}: {}", answer.text());
        if expected == 200 {
            assert_eq!(answer.text(), format!(r#"{{"r":{n}}}"#));
        }
    }
}
