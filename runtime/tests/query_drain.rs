//! The handle of a query: what it knows, how it ends, and the session's list of queries.

mod support;

use std::future::Future;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use snapback::prelude::*;
use snapback::{QueryProgress, StreamWriter};
use support::{Client, Service, eventually, get, post, reader_in, serve};

fn writer(session: &Session, path: &str) -> StreamWriter {
    let server = reader_in(session, path).load().unwrap();
    server
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .trigger(Continuous::millis(20))
}

fn service(path: &str) -> Service {
    serve(writer(&Session::new(), path))
}

#[test]
fn a_query_has_its_names() {
    let session = Session::new();
    let first = serve(writer(&session, "foo").query_name("my_query"));
    let second = serve(writer(&session, "bar"));
    assert_eq!((first.name(), second.name()), ("my_query", "bar"));
    let ids = [first.id(), first.run_id(), second.id(), second.run_id()];
    for (index, id) in ids.iter().enumerate() {
        assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
        assert!(!ids[..index].contains(id), "{id} is given twice");
    }
    assert!(format!("{:?}", *first).contains("my_query"));
}

#[test]
fn a_status_tells_each_phase() {
    let service = service("foo");
    let status = service.status();
    assert_eq!((status.is_active, status.is_draining), (true, false));
    assert_eq!(status.message, "answering requests");
    assert!(service.exception().is_none());
    service.stop().unwrap();
    let status = service.status();
    assert_eq!((status.is_active, status.is_draining), (false, false));
    assert_eq!(status.message, "stopped");
    assert!(!service.is_active());
    assert!(service.exception().is_none());
    // Once more changes nothing.
    service.stop().unwrap();
    assert!(service.await_termination_timeout(Duration::ZERO).unwrap());
}

#[test]
fn progress_counts_requests_and_times_them() {
    let service = service("foo");
    let mut client = service.client();
    for _ in 0..100 {
        client.post("/foo", "abc");
    }
    let settled = || {
        let progress = service.recent_progress();
        (progress.last()?.partitions[0].settled == 100).then_some(progress)
    };
    let all = eventually("100 requests in the progress", settled);
    let counted: u64 = all.iter().map(|progress| progress.latency.count).sum();
    assert_eq!(counted, 100);
    let busy: Vec<_> = all
        .iter()
        .filter(|progress| progress.latency.count > 0)
        .collect();
    for progress in &busy {
        let latency = progress.latency;
        let ordered = [
            latency.p50_us,
            latency.p90_us,
            latency.p99_us,
            latency.p999_us,
            latency.max_us,
        ];
        assert!(latency.p50_us > 0.0 && ordered.is_sorted(), "{latency:?}");
        let partition = &progress.partitions[0];
        assert_eq!(partition.latency, latency);
        let requests = partition.settled - partition.start_offset;
        let rate = requests as f64 / (progress.interval_ms / 1e3);
        assert!(
            (progress.requests_per_second - rate).abs() <= rate * 0.01,
            "{progress:?}"
        );
        assert_eq!(partition.requests_per_second, progress.requests_per_second);
    }
    // A turn that is under way when an interval ends counts its parts in either of two.
    let longest = |of: fn(&QueryProgress) -> f64| all.iter().map(of).fold(0.0, f64::max);
    let longest_turn = longest(|progress| progress.partitions[0].longest_turn_us);
    assert!(
        longest_turn >= longest(|progress| progress.latency.p50_us) * 0.99,
        "{all:?}"
    );
    for (progress, next) in all.iter().zip(&all[1..]) {
        assert_eq!(
            progress.partitions[0].settled,
            next.partitions[0].start_offset
        );
    }
    let last = service.last_progress().unwrap();
    assert_eq!(
        (last.id.as_str(), last.run_id.as_str()),
        (service.id(), service.run_id())
    );
    assert_eq!((last.name.as_str(), last.checkpoint), ("foo", None));
    let partition = &last.partitions[0];
    assert_eq!(
        (partition.partition, partition.next, partition.connections),
        (0, 100, 1)
    );
    let json = serde_json::to_value(&last.partitions[0]).unwrap();
    assert_eq!(
        (&json["startOffset"], &json["next"]),
        (&partition.start_offset.into(), &100.into())
    );
}

#[test]
fn recent_progress_is_bounded() {
    let query = writer(&Session::new(), "foo").option("recentProgress", 3);
    let service = serve(query.trigger(Continuous::millis(1)));
    let first = eventually("a first record", || service.last_progress()).timestamp_ms;
    eventually("records after the first", || {
        let recent = service.recent_progress();
        assert!(recent.len() <= 3, "{} records", recent.len());
        (recent.len() == 3 && recent[0].timestamp_ms > first).then_some(())
    });
    assert_eq!(
        service.last_progress().map(|last| last.name),
        Some("foo".to_owned())
    );
}

#[test]
fn the_last_progress_says_what_was_answered_at_the_end() {
    let service = serve(writer(&Session::new(), "foo").trigger(Continuous::secs(3600)));
    for _ in 0..7 {
        service.client().post("/foo", "abc");
    }
    assert!(service.last_progress().is_none());
    service.stop().unwrap();
    let last = service.last_progress().unwrap();
    assert_eq!(
        (last.partitions[0].settled, last.partitions[0].next),
        (7, 7)
    );
}

#[test]
fn stop_answers_what_is_under_way() {
    let session = Session::new();
    let service = serve(writer(&session, "foo").option("shutdownTimeout", "20s"));
    let (mut halfway, mut idle) = (service.client(), service.client());
    let request = post("/foo", "hello");
    let (first, second) = request.split_at(request.len() - 2);
    halfway.send(first);
    assert_eq!(idle.post("/foo", "a").status, 200);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| service.stop());
        eventually("the drain", || service.status().is_draining.then_some(()));
        // An open connection is served until it hears that it is to close.
        eventually("a reply that closes", || {
            let answer = idle.post("/foo", "ab");
            assert_eq!((answer.status, answer.text()), (200, "2"));
            answer.closes().then_some(())
        });
        assert!(idle.is_at_end());
        assert!(service.is_active());
        assert!(
            !service
                .await_termination_timeout(Duration::from_millis(1))
                .unwrap()
        );
        halfway.send(second);
        let answer = halfway.answer();
        assert_eq!(
            (answer.status, answer.text(), answer.closes()),
            (200, "5", true)
        );
        assert!(halfway.is_at_end());
        drop((halfway, idle));
        assert!(stopped.join().unwrap().is_ok());
    });
    assert!(!service.is_active());
    assert!(TcpStream::connect(("127.0.0.1", service.port())).is_err());
    assert!(session.streams().active().is_empty());
    assert!(session.service_info("foo").is_empty());
}

/// Clients that connect while two partitions begin to drain: the kernel may refuse or reset them,
/// but no partition may hold a connection that nobody serves.
#[test]
fn a_connection_that_comes_during_the_drain_is_not_forgotten() {
    for _ in 0..30 {
        let options = writer(&Session::new(), "foo").option("numPartitions", 2);
        let service = serve(options.option("shutdownTimeout", "20s"));
        let mut halfway = service.client();
        halfway.send("POST /foo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
        let answered = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let storm: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| connect_until_refused(&service, &answered)))
                .collect();
            eventually("a storm of connections", || {
                (answered.load(Ordering::Relaxed) > 2).then_some(())
            });
            let stopped = scope.spawn(|| service.stop());
            for thread in storm {
                thread.join().unwrap();
            }
            halfway.send("x");
            assert_eq!(halfway.answer().text(), "1");
            drop(halfway);
            stopped.join().unwrap().unwrap();
        });
    }
}

/// Connects again and again, a request each.
fn connect_until_refused(service: &Service, answered: &AtomicUsize) {
    while let Ok(stream) = TcpStream::connect(("127.0.0.1", service.port())) {
        let mut client = Client::over(stream);
        client.set_patience(Duration::from_secs(5));
        let outcome = client
            .try_send(post("/foo", "abc"))
            .and_then(|()| client.try_answer());
        match outcome {
            Ok(answer) => {
                assert_eq!(answer.text(), "3");
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let forgotten =
                    [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
                assert!(!forgotten, "a connection is open and nobody serves it");
            }
        }
    }
}

#[test]
fn stop_waits_no_longer_than_the_shutdown_timeout() {
    let service = service("foo");
    let mut halfway = service.client();
    halfway.send("POST /foo HTTP/1.1\r\n");
    service.stop().unwrap();
    assert!(halfway.try_answer().is_err());
}

#[test]
fn during_the_shutdown_delay_all_is_served() {
    let query = writer(&Session::new(), "foo").option("shutdownDelay", "1h");
    let service = query.start().unwrap();
    let port = service.service_info()[0].port.unwrap();
    let handle = service.clone();
    // Nobody waits for this query: it ends with the process.
    std::thread::spawn(move || handle.stop());
    eventually("the drain", || service.status().is_draining.then_some(()));
    let answer = Client::connect(("127.0.0.1", port)).post("/foo", "abc");
    assert_eq!((answer.status, answer.closes()), (200, false));
    assert!(service.is_active());
}

#[test]
fn a_session_lists_its_queries() {
    let session = Session::new();
    let streams = session.streams();
    assert!(streams.active().is_empty());
    let first = serve(writer(&session, "foo").query_name("first"));
    let second = serve(writer(&session, "bar").query_name("second"));
    let names: Vec<_> = streams
        .active()
        .iter()
        .map(|query| query.name().to_owned())
        .collect();
    assert_eq!(names, ["first", "second"]);
    for key in [first.id(), first.run_id(), "first"] {
        assert_eq!(streams.get(key).unwrap().run_id(), first.run_id());
    }
    assert!(
        streams.get("foo").is_none(),
        "a service's name is not a query's"
    );
    first.stop().unwrap();
    assert!(streams.get("first").is_none());
    assert_eq!(streams.active().len(), 1);
    assert!(second.is_active());
    assert!(Session::new().streams().active().is_empty());
}

#[test]
fn the_end_of_any_query_is_awaited() {
    let session = Session::new();
    let streams = session.streams();
    let first = serve(writer(&session, "foo"));
    let second = serve(writer(&session, "bar"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| session.streams().await_any_termination());
        second.stop().unwrap();
        waiting.join().unwrap().unwrap();
    });
    // It stays so until it is forgotten.
    streams.await_any_termination().unwrap();
    streams.reset_terminated();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(session.streams().await_any_termination_async()));
        assert!(!waiting.is_finished());
        first.stop().unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn waiting_works_as_futures_without_any_runtime() {
    let service = service("foo");
    let mut client = service.client();
    assert_eq!(client.get("/foo").status, 200);
    {
        let mut waiting = pin!(service.await_termination_async());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        drop(client);
        block_on(service.stop_async()).unwrap();
        block_on(waiting).unwrap();
    }
    block_on(service.await_termination_async()).unwrap();
    block_on(service.stop_async()).unwrap();
}

#[test]
fn many_wait_for_one_end() {
    let service = service("foo");
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|index| {
                let query = service.query.clone();
                scope.spawn(move || match index % 2 {
                    0 => query.await_termination(),
                    _ => block_on(query.await_termination_async()),
                })
            })
            .collect();
        service.stop().unwrap();
        for thread in waiting {
            thread.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_query_runs_on_without_its_handles() {
    let session = Session::new();
    let query = writer(&session, "foo").start().unwrap();
    let port = query.service_info()[0].port.unwrap();
    drop(query);
    let mut client = Client::connect(("127.0.0.1", port));
    client.send(get("/foo"));
    assert_eq!(client.answer().status, 200);
    session.streams().get("foo").unwrap().stop().unwrap();
}

/// The smallest executor: one future, one thread, which is unparked to look again.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut cx) = (pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        std::thread::park();
    }
}
