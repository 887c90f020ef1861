//! Futures answer their requests, in the order of the requests.

use std::sync::Arc;

use snapback::Refusal;
use snapback_operators::BatchOptions;
use tokio::sync::{Barrier, watch};
use tokio::task::yield_now;

use crate::client::get;
use crate::{number, numbered, serve, serve_with};

#[test]
fn a_future_answers_its_request() {
    let service = serve(|stream| {
        let numbers = stream.map(number);
        let doubled = numbers.map_async(|n| async move {
            yield_now().await;
            n * 2
        });
        doubled.make_reply().write_stream()
    });
    let mut client = service.client();
    for n in 0..100 {
        client.send(&numbered([n]));
        client.reply().expect(200, &(n * 2).to_string());
    }
    service.wait_for("settled mark", |part| {
        (part.settled, part.next) == (100, 100)
    });
}

#[test]
fn futures_run_side_by_side() {
    const REQUESTS: u64 = 500;
    // Nobody passes before all are there.
    let barrier = Arc::new(Barrier::new(REQUESTS as usize));
    let service = serve(|stream| {
        let met = stream.map(number).map_async(move |n| {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                n
            }
        });
        met.make_reply().write_stream()
    });
    let mut clients: Vec<_> = (0..5).map(|_| service.client()).collect();
    for (from, client) in (0..REQUESTS).step_by(100).zip(&mut clients) {
        client.send(&numbered(from..from + 100));
    }
    for (from, client) in (0..REQUESTS).step_by(100).zip(&mut clients) {
        for n in from..from + 100 {
            client.reply().expect(200, &n.to_string());
        }
    }
}

#[test]
fn replies_keep_their_order_when_futures_end_in_reverse() {
    const REQUESTS: u64 = 100;
    let next = watch::Sender::new(REQUESTS - 1);
    let service = serve(|stream| {
        let reversed = stream.map(number).map_async(move |n| {
            let next = next.clone();
            async move {
                let _ = next.subscribe().wait_for(|next| *next == n).await;
                next.send_modify(|next| *next = next.wrapping_sub(1));
                n
            }
        });
        reversed.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(0..REQUESTS));
    for n in 0..REQUESTS {
        client.reply().expect(200, &n.to_string());
    }
}

#[test]
fn replies_made_at_once_wait_behind_those_that_come_later() {
    let (gate, opened) = watch::channel(false);
    let service = serve(|stream| {
        let odd = stream
            .map(number)
            .send_reply(|n| (n % 4 == 1).then_some("at once"))
            .try_map(|n| match n % 4 {
                2 => Err(Refusal::new(422, "refused")),
                _ => Ok(n),
            });
        let later = odd.map_async(move |n| {
            let mut opened = opened.clone();
            async move {
                let _ = opened.wait_for(|opened| *opened).await;
                n
            }
        });
        later.make_reply().write_stream()
    });
    let mut client = service.client();
    for round in 0..20 {
        gate.send_replace(false);
        // The gate is shut while the first of these is put off, and open before the last is sent.
        client.send(&numbered(0..8));
        client.send(&get("/elsewhere"));
        gate.send_replace(true);
        client.send(&numbered(8..12));
        for n in 0..12_u64 {
            if n == 8 {
                assert_eq!(client.reply().status, 404, "in round {round}");
            }
            let reply = client.reply();
            match n % 4 {
                1 => reply.expect(200, "at once"),
                2 => assert_eq!(reply.status, 422, "request {n} of round {round}"),
                _ => reply.expect(200, &n.to_string()),
            }
        }
    }
}

#[test]
fn deferred_operators_follow_each_other() {
    let service = serve(|stream| {
        let chain = stream
            .map(number)
            .map_async(|n| async move {
                if n % 3 == 0 {
                    yield_now().await;
                }
                n + 1
            })
            .batch(BatchOptions::default(), |rows: &[u64], results| {
                results.extend(rows.iter().map(|n| n * 10));
            })
            .batch(
                BatchOptions::default().max_batch_size(3),
                |rows, results| {
                    results.extend_from_slice(rows);
                },
            )
            .map_async(|n| async move {
                if n % 7 == 0 {
                    yield_now().await;
                }
                n + 5
            });
        chain.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(0..1000));
    for n in 0..1000 {
        client.reply().expect(200, &((n + 1) * 10 + 5).to_string());
    }
    service.wait_for("settled mark", |part| part.settled == 1000);
}

#[test]
fn the_head_of_the_request_is_there_behind_a_future() {
    let service = serve(|stream| {
        let lengths = stream.map(|request| request.body().len());
        let later = lengths.map_async(|length| async move {
            yield_now().await;
            length
        });
        let seen = later.map_with(|length, request| {
            format!(
                "{} {} {:?} {:?} {:?} {} {length} {}",
                request.method(),
                request.path(),
                request.query("color").as_deref(),
                request.headers().get_str("x-color"),
                request.headers().get_str("x-size"),
                request.id().offset(),
                request.body().len(),
            )
        });
        seen.make_reply().write_stream()
    });
    let mut client = service.client();
    for offset in 0..3 {
        client.send(
            "PUT /api/a?color=red&b=%20 HTTP/1.1\r\nHost: a\r\nX-Color: green\r\nX-Size:\r\n\
             Content-Length: 4\r\n\r\nbody",
        );
        let seen = format!(r#"PUT /api/a Some("red") Some("green") Some("") {offset} 4 0"#);
        client.reply().expect(200, &seen);
    }
}

#[test]
fn a_deferred_reply_ends_its_connection_as_the_request_says() {
    let service = serve(|stream| {
        let later = stream.map(number).map_async(|n| async move {
            yield_now().await;
            n
        });
        later.make_reply().write_stream()
    });

    let mut client = service.client();
    client.send("HEAD /api?n=12345 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(&numbered([7]));
    let head = client.read_reply(false);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("\r\ncontent-length: 5\r\n"), "{head:?}");
    client.reply().expect(200, "7");

    client.send("GET /api?n=8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.send(&numbered([9]));
    let last = client.reply();
    last.expect(200, "8");
    assert!(last.head.contains("\r\nconnection: close\r\n"), "{last:?}");
    client.expect_end();

    let mut client = service.client();
    client.send("GET /api?n=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let kept = client.reply();
    kept.expect(200, "1");
    assert!(
        kept.head.contains("\r\nconnection: keep-alive\r\n"),
        "{kept:?}"
    );
    client.send("GET /api?n=2 HTTP/1.0\r\n\r\n");
    client.reply().expect(200, "2");
    client.expect_end();

    // Who sends no more still gets what was asked for.
    let mut client = service.client();
    client.send(&numbered(0..10));
    client.finish();
    for n in 0..10 {
        client.reply().expect(200, &n.to_string());
    }
    client.expect_end();
}

/// A reply that comes frees a place in the connection, and what waited there for it is served
/// without a further event.
#[test]
fn a_full_connection_goes_on_when_a_reply_comes() {
    for max_pipelined in ["1", "2", "7"] {
        let options = [("maxPipelined", max_pipelined), ("pollMode", "blocking")];
        let service = serve_with(&options, |stream| {
            let numbers = stream
                .map(number)
                .send_reply(|n| (n % 100 > 0).then_some("at once"));
            let later = numbers.map_async(|n| async move {
                yield_now().await;
                n
            });
            later.make_reply().write_stream()
        });
        let mut client = service.client();
        client.send(&numbered(0..600));
        for n in 0..600 {
            let expected = n.to_string();
            let expected = if n % 100 > 0 { "at once" } else { &expected };
            client.reply().expect(200, expected);
        }
    }
}
