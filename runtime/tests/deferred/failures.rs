//! Futures that panic, hang, are too many, or whose client is gone.

use std::pin::Pin;
use std::sync::Once;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;

use crate::client::{Client, get};
use crate::{Service, number, numbered, serve, serve_with};

/// Keeps panics that a test wants out of its output.
pub(crate) fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let wanted = info
                .payload_as_str()
                .is_some_and(|why| why.contains("expected"));
            if !wanted {
                hook(info);
            }
        }));
    });
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells of the begin and the end of a future.
struct Guard(Sender<u64>, u64);

impl Drop for Guard {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send(self.1);
    }
}

/// A service whose futures for numbers above 99 never end: what begins and what is dropped is told.
fn hanging(options: &[(&str, &str)]) -> (Service, Receiver<u64>, Receiver<u64>) {
    let ((begun, begins), (dropped, drops)) = (channel(), channel());
    let service = serve_with(options, |stream| {
        let later = stream.map(number).map_async_bounded(100_000, move |n| {
            let (begun, guard) = (begun.clone(), Guard(dropped.clone(), n));
            async move {
                if n > 99 {
                    let _ = begun.send(n);
                    let () = std::future::pending().await;
                }
                drop(guard);
                n
            }
        });
        later.make_reply().write_stream()
    });
    (service, begins, drops)
}

#[track_caller]
fn expect_next(receiver: &Receiver<u64>, expected: u64) {
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(n) if n == expected => return,
            // Futures that ended by themselves.
            Ok(n) => assert!(n < 100, "{n} instead of {expected}"),
            Err(error) => panic!("{expected} did not come: {error}"),
        }
    }
}

#[test]
fn a_future_that_panics_is_its_requests_500() {
    silence_panics();
    let service = serve(|stream| {
        let later = stream.map(number).map_async(|n| async move {
            yield_now().await;
            assert_ne!(n % 5, 2, "expected");
            n
        });
        let behind = later.map(|n| {
            assert_ne!(n % 5, 3, "expected");
            n
        });
        behind.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(0..50));
    for n in 0..50 {
        let reply = client.reply();
        if n % 5 == 2 || n % 5 == 3 {
            assert_eq!(reply.status, 500, "request {n}");
            assert!(reply.body.contains(&format!("-0-{n}")), "{}", reply.body);
        } else {
            reply.expect(200, &n.to_string());
        }
    }
}

/// A future that is ready at once, and panics when it is dropped.
struct BadDrop(u64);

impl Future for BadDrop {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<u64> {
        Poll::Ready(self.0)
    }
}

impl Drop for BadDrop {
    fn drop(&mut self) {
        panic!("expected");
    }
}

#[test]
fn a_future_that_panics_when_it_is_dropped_has_answered_before() {
    silence_panics();
    let service = serve(|stream| {
        let later = stream.map(number).map_async(BadDrop);
        later.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(0..20));
    for n in 0..20 {
        client.reply().expect(200, &n.to_string());
    }
}

#[test]
fn a_request_over_its_deadline_is_answered_504_and_its_future_dropped() {
    let (service, begins, drops) = hanging(&[("requestTimeout", "100ms")]);
    let (mut slow, mut neighbour) = (service.client(), service.client());
    slow.send(&numbered([1, 100, 2]));
    expect_next(&begins, 100);
    for n in 0..50 {
        neighbour.send(&numbered([n]));
        neighbour.reply().expect(200, &n.to_string());
    }
    slow.reply().expect(200, "1");
    let late = slow.reply();
    assert_eq!(late.status, 504, "{late:?}");
    slow.reply().expect(200, "2");
    expect_next(&drops, 100);
    service.wait_for("settled mark", |part| (part.settled, part.next) == (53, 53));
}

#[test]
fn the_future_of_a_client_that_is_gone_is_dropped() {
    type Leave = fn(&mut Client, String);
    let ways: [Leave; 4] = [
        |client, request| client.send(&request),
        // Behind a half-close nothing is read.
        |client, request| {
            client.send(&request);
            client.finish();
        },
        // Nor behind the last request.
        |client, request| {
            let close = "\r\nConnection: close\r\n\r\n";
            client.send(&request.replace("\r\n\r\n", close));
        },
        // Nor while no further request is taken on.
        |client, request| {
            client.send(&request);
            client.send(&get("/api?n=5").repeat(20));
        },
    ];
    let (service, begins, drops) = hanging(&[("maxPipelined", "8")]);
    for (n, leave) in (100..).zip(ways) {
        let mut client = service.client();
        leave(&mut client, numbered([n]));
        expect_next(&begins, n);
        if n == 103 {
            // The place of the first request and seven behind it are taken.
            service.wait_for("full connection", |part| part.next == part.settled + 8);
        }
        client.reset();
        expect_next(&drops, n);
        service.wait_for("end of the connection", |part| {
            part.connections == 0 && part.settled == part.next
        });
    }
    // Nobody is left behind by it.
    let mut client = service.client();
    client.send(&numbered([7]));
    client.reply().expect(200, "7");
}

/// As many requests as may be deferred in a partition, and their clients gone: their places are
/// free again.
#[test]
fn clients_that_are_gone_give_their_places_back() {
    const PIPELINED: u64 = 1024;
    let (service, begins, drops) = hanging(&[]);
    for round in 0..66 {
        let mut client = service.client();
        client.send(&numbered([100]).repeat(PIPELINED as usize));
        for _ in 0..PIPELINED {
            expect_next(&begins, 100);
        }
        client.reset();
        for _ in 0..PIPELINED {
            expect_next(&drops, 100);
        }
        let mut client = service.client();
        client.send(&numbered([round]));
        client.reply().expect(200, &round.to_string());
    }
}

#[test]
fn more_futures_than_may_run_are_answered_503() {
    let (begun, begins) = channel();
    let (gate, opened) = watch::channel(false);
    let service = serve(|stream| {
        let later = stream.map(number).map_async_bounded(2, move |n| {
            let (begun, mut opened) = (begun.clone(), opened.clone());
            async move {
                let _ = begun.send(n);
                let _ = opened.wait_for(|opened| *opened).await;
                n
            }
        });
        later.make_reply().write_stream()
    });
    let (mut first, mut second) = (service.client(), service.client());
    first.send(&numbered([1, 2]));
    for _ in 0..2 {
        begins.recv_timeout(PATIENCE).expect("both begin");
    }
    for _ in 0..3 {
        second.send(&numbered([3]));
        let refused = second.reply();
        assert_eq!(refused.status, 503);
        assert!(
            refused.head.contains("\r\nretry-after: 1\r\n"),
            "{refused:?}"
        );
    }
    gate.send_replace(true);
    first.reply().expect(200, "1");
    first.reply().expect(200, "2");
    second.send(&numbered([4]));
    second.reply().expect(200, "4");
}
