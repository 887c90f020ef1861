//! The handle of a query, the names of a session, and what a start refuses.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use common::{Client, port, read, wait_until};
use snapback::Error;
use snapback::prelude::*;

fn service(session: &Session, name: &str) -> StreamingQuery {
    read(session, name, 2)
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .query_name(&format!("{name} query"))
        .trigger(Continuous::millis(20))
        .option("recentProgress", 5)
        .start()
        .expect("it starts")
}

#[test]
fn the_handle_tells_who_and_how() {
    let session = Session::new();
    let query = service(&session, "told");
    assert_eq!(query.name(), "told query");
    assert_ne!(query.id(), query.run_id());
    assert!(query.is_active() && query.exception().is_none());
    assert_eq!(query.status().message, "answering requests");
    assert!(matches!(
        query.await_termination_timeout(Duration::from_millis(1)),
        Ok(false)
    ));

    let mut client = Client::connect(port(&query));
    for _ in 0..100 {
        assert_eq!(client.post("/told", b"foo").status, 200);
    }
    let mut answered = 0;
    wait_until("an interval with all requests in it", || {
        answered = query
            .recent_progress()
            .iter()
            .map(|progress| progress.latency.count)
            .sum();
        query.last_progress().is_some_and(|progress| {
            progress
                .partitions
                .iter()
                .map(|part| part.settled)
                .sum::<u64>()
                == 100
        })
    });
    let with_requests = query.recent_progress();
    let busy = with_requests
        .iter()
        .find(|progress| progress.latency.count > 0);
    if let Some(busy) = busy {
        let latency = busy.latency;
        assert!(0.0 < latency.p50_us && latency.p50_us <= latency.p99_us);
        assert!(latency.p99_us <= latency.max_us * 1.02, "{latency:?}");
        assert!(busy.requests_per_second > 0.0);
        assert!(
            busy.partitions
                .iter()
                .any(|part| part.longest_turn_us > 0.0)
        );
    }
    wait_until("as many records as are kept", || {
        query.recent_progress().len() == 5
    });
    let json = serde_json::to_value(query.last_progress()).expect("plain data serializes");
    assert_eq!(json["name"], "told query");
    assert!(json["partitions"][1]["longestTurnUs"].is_number());
    assert!(json["checkpoint"].is_null());
    query.stop().expect("it stops");
    assert_eq!(query.status().message, "stopped");
    assert!(query.stop().is_ok(), "a second stop does nothing");
    assert!(matches!(
        query.await_termination_timeout(Duration::ZERO),
        Ok(true)
    ));
}

#[test]
fn a_stop_answers_what_comes_on_open_connections() {
    let session = Session::new();
    let query = session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, "drained")
        .load()
        .expect("the options are valid")
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    let port = port(&query);
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        assert_eq!(client.post("/drained", b"foo").status, 200);
    }
    thread::scope(|scope| {
        let stop = scope.spawn(|| query.stop());
        wait_until("the query to drain", || query.status().is_draining);
        // The listeners are closed: nobody else gets in.
        wait_until("refusal", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
        });
        for client in &mut clients {
            let reply = client.post("/drained", b"late");
            assert_eq!((reply.status, reply.text()), (200, "4".to_owned()));
            assert_eq!(reply.header("connection"), Some("close"));
            assert!(client.is_closed());
        }
        // All connections have ended, so the query need not wait for its time-out of 5 s.
        stop.join().expect("no panic").expect("it stops");
    });
    assert!(!query.is_active());
}

#[test]
fn the_session_knows_its_queries() {
    let session = Session::new();
    let (first, second) = (service(&session, "first"), service(&session, "second"));
    let streams = session.streams();
    assert_eq!(streams.active().len(), 2);
    for key in [first.id(), first.run_id(), "first query"] {
        assert_eq!(
            streams
                .get(key)
                .map(|query| query.run_id().to_owned())
                .as_deref(),
            Some(first.run_id())
        );
    }
    assert!(streams.get("nobody").is_none());
    thread::scope(|scope| {
        let waits = scope.spawn(|| session.streams().await_any_termination());
        second.stop().expect("it stops");
        waits.join().expect("no panic").expect("it ended in order");
    });
    assert_eq!(streams.active().len(), 1);
    assert_eq!(session.service_info("second"), []);
    assert_eq!(session.service_info("first").len(), 1);
    streams
        .await_any_termination()
        .expect("one has ended before");
    streams.reset_terminated();
    assert!(streams.get("second query").is_none());
}

#[test]
fn waiting_works_as_futures_without_a_runtime() {
    let session = Session::new();
    let query = service(&session, "async");
    let waits = {
        let query = query.clone();
        thread::spawn(move || block_on(query.await_termination_async()))
    };
    let any = {
        let streams = session.streams();
        thread::spawn(move || block_on(streams.await_any_termination_async()))
    };
    block_on(query.stop_async()).expect("it stops");
    waits.join().expect("no panic").expect("it ended in order");
    any.join().expect("no panic").expect("it ended in order");
}

/// The least of executors.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_start_refuses_what_cannot_be() {
    let session = Session::new();
    let load = |key: &str, value: &str| {
        let reader = session.read_stream().continuous_server().option(key, value);
        reader
            .load()
            .map(|_| ())
            .expect_err("it is refused")
            .to_string()
    };
    let message = load("numPartition", "2");
    assert!(
        message.contains("did you mean `numPartitions`"),
        "{message}"
    );
    let message = load("numPartitions", "many");
    assert!(
        message.contains("`numPartitions` cannot be `many`"),
        "{message}"
    );

    let pipeline = |name: &str| {
        read(&session, name, 1)
            .map(|_| ())
            .make_reply()
            .write_stream()
    };
    let wrong = pipeline("right")
        .reply_to("wrong")
        .start()
        .expect_err("another service");
    assert!(
        matches!(&wrong, Error::ReplyTo { service, .. } if service == "right"),
        "{wrong}"
    );
    let zero = pipeline("zero")
        .trigger(Continuous::millis(0))
        .start()
        .expect_err("no interval");
    assert!(matches!(zero, Error::Trigger));
    let scheme = pipeline("scheme")
        .option("checkpointLocation", "s3://bucket/x")
        .start();
    let scheme = scheme.expect_err("no such store").to_string();
    assert!(scheme.contains("s3"), "{scheme}");

    let active = service(&session, "active");
    let taken = pipeline("another")
        .query_name("active query")
        .start()
        .expect_err("a taken name");
    assert!(matches!(taken, Error::DuplicateQuery { .. }), "{taken}");

    let bound = session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", port(&active), "bound")
        .option("maxPortAttempts", 1)
        .load()
        .expect("the options are valid")
        .map(|_| ())
        .make_reply()
        .write_stream()
        .start();
    assert!(matches!(bound, Err(Error::Bind(_))), "{bound:?}");
    // A start that failed leaves no name and no lock behind.
    for name in ["right", "zero", "scheme", "another", "bound"] {
        pipeline(name)
            .start()
            .expect("the name is free")
            .stop()
            .expect("it stops");
    }
}

#[test]
fn a_checkpoint_has_one_user_and_one_service() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = directory.path().to_str().expect("a UTF-8 path");
    let session = Session::new();
    let start = |name: &str| {
        let pipeline = read(&session, name, 1)
            .map(|_| ())
            .make_reply()
            .write_stream();
        pipeline.option("checkpointLocation", location).start()
    };
    let query = start("owner").expect("it starts");
    let busy = start("thief").expect_err("it is in use").to_string();
    assert!(busy.contains(location), "{busy}");
    Client::connect(port(&query)).post("/owner", b"");
    query.stop().expect("it stops");
    let other = start("thief")
        .expect_err("it belongs to another")
        .to_string();
    assert!(
        other.contains("owner") && other.contains("thief"),
        "{other}"
    );
    start("owner")
        .expect("its owner may")
        .stop()
        .expect("it stops");
}
