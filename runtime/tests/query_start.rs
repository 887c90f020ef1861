//! What `start` refuses, how it says so, and that nothing is left behind; and the end by signals.

mod support;

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, kill_process};
use snapback::prelude::*;
use snapback::{Error, OptionError, StreamWriter};
use support::{Client, PrintedPort, child_for, eventually, is_child_for, reader, reader_in, serve};

fn writer(session: &Session, path: &str) -> StreamWriter {
    let server = reader_in(session, path).load().unwrap();
    server
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
}

#[test]
fn an_unknown_option_is_refused_with_the_nearest_name() {
    let error = reader("foo").option("numPartition", 2).load().unwrap_err();
    assert!(
        matches!(error, Error::Option(OptionError::UnknownKey { .. })),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains("unknown option `numPartition`"),
        "{message}"
    );
    assert!(
        message.contains("did you mean `numPartitions`?"),
        "{message}"
    );

    let session = Session::new();
    let error = writer(&session, "foo")
        .option("checkpointLocatoin", "a")
        .start()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("did you mean `checkpointLocation`?"),
        "{error}"
    );
    let error = writer(&session, "foo")
        .option("zzzzzz", "a")
        .start()
        .unwrap_err();
    assert!(!error.to_string().contains("did you mean"), "{error}");
    assert!(
        error.to_string().contains("shutdownTimeout"),
        "the options are listed: {error}"
    );
}

#[test]
fn a_bad_value_is_refused_with_what_is_allowed() {
    let session = Session::new();
    for (key, value, allowed) in [
        ("numPartitions", "0", "from 1 to 1024"),
        ("numPartitions", "many", "a whole number"),
        ("shutdownTimeout", "soon", "a duration"),
        ("maxRequestBytes", "8 lightyears", "a size"),
        ("portMode", "own", "`shared` or `perPartition`"),
        ("unansweredReply", "199", "from 200 to 599"),
        ("port", "65536", "from 0 to 65535"),
    ] {
        let error = writer(&session, "foo")
            .option(key, value)
            .start()
            .unwrap_err()
            .to_string();
        let cannot_be = format!("option `{key}` cannot be `{value}`");
        assert!(
            error.contains(&cannot_be) && error.contains(allowed),
            "{error}"
        );
        let error = reader("foo")
            .option(key, value)
            .load()
            .unwrap_err()
            .to_string();
        assert!(error.contains(&cannot_be), "{error}");
    }
}

#[test]
fn replies_go_to_the_service_of_the_stream_only() {
    let session = Session::new();
    let error = writer(&session, "foo").reply_to("bar").start().unwrap_err();
    assert!(matches!(error, Error::ReplyTo { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("`foo`") && message.contains("\"bar\""),
        "{message}"
    );
    drop(serve(writer(&session, "foo").reply_to("foo")));
}

#[test]
fn an_interval_of_zero_is_refused() {
    let error = writer(&Session::new(), "foo")
        .trigger(Continuous::secs(0))
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Trigger), "{error}");
}

#[test]
fn two_queries_cannot_have_one_name() {
    let session = Session::new();
    let first = serve(writer(&session, "foo").query_name("query"));
    let error = writer(&session, "bar")
        .query_name("query")
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::DuplicateQuery { .. }), "{error}");
    assert!(error.to_string().contains("`query`"), "{error}");
    // Other sessions have names of their own; and an ended query gives its name back.
    drop(serve(writer(&Session::new(), "bar").query_name("query")));
    first.stop().unwrap();
    drop(serve(writer(&session, "bar").query_name("query")));
}

#[test]
fn a_port_in_use_is_counted_past_or_told() {
    let session = Session::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let at_taken = || writer(&session, "foo").option("port", port);
    let error = at_taken().option("maxPortAttempts", 1).start().unwrap_err();
    assert!(matches!(error, Error::Bind(_)), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");

    // The failed start left nothing behind: the name, and then the port, may be had.
    assert!(session.streams().active().is_empty());
    let service = serve(at_taken());
    assert!(
        service.port() > port && service.port() < port + 10,
        "{} for {port}",
        service.port()
    );
    assert_eq!(service.client().get("/foo").status, 200);
    service.stop().unwrap();
    drop((service, taken));
    // A child of another test may have a copy of the listener until it executes its program.
    let again = || at_taken().option("maxPortAttempts", 1).start().ok();
    let query = eventually("a start at the port that was given back", again);
    assert_eq!(query.service_info()[0].port, Some(port));
    query.stop().unwrap();
}

#[test]
fn a_host_that_is_not_here_is_told() {
    let session = Session::new();
    // An address that is reserved for documentation (RFC 5737), and a name that never resolves
    // (RFC 6761).
    for host in ["192.0.2.1", "nowhere.invalid"] {
        let error = writer(&session, "foo")
            .option("host", host)
            .start()
            .unwrap_err();
        assert!(matches!(error, Error::Bind(_)), "{error}");
        assert!(error.to_string().contains(host), "{error}");
    }
    let error = writer(&session, "foo")
        .option("pinning", "1023")
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Pin(_)), "{error}");
    assert!(error.to_string().contains("1023"), "{error}");
    drop(serve(writer(&session, "foo")));
}

#[test]
fn failed_starts_leave_no_descriptor_and_no_thread() {
    let session = Session::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    support::alone("failed_starts_leave_no_descriptor_and_no_thread", || {
        let count = |what: &str| {
            std::fs::read_dir(format!("/proc/self/{what}"))
                .unwrap()
                .count()
        };
        let fail = || {
            let writer = writer(&session, "foo")
                .option("port", port)
                .option("maxPortAttempts", 1);
            assert!(writer.start().is_err());
            let pinned = writer_with_bad_core(&session);
            assert!(pinned.start().is_err());
        };
        fail();
        let before = (count("fd"), count("task"));
        for _ in 0..20 {
            fail();
        }
        eventually("the end of what was begun", || {
            ((count("fd"), count("task")) == before).then_some(())
        });
    });
}

fn writer_with_bad_core(session: &Session) -> StreamWriter {
    writer(session, "foo")
        .option("pinning", "1023")
        .option("numPartitions", 2)
}

#[test]
fn ended_queries_leave_no_descriptor_and_no_thread() {
    support::alone("ended_queries_leave_no_descriptor_and_no_thread", || {
        let session = Session::new();
        let count = |what: &str| {
            std::fs::read_dir(format!("/proc/self/{what}"))
                .unwrap()
                .count()
        };
        let run = || {
            let service = serve(writer(&session, "foo").option("numPartitions", 2));
            let mut clients: Vec<_> = (0..4).map(|_| service.client()).collect();
            for client in &mut clients {
                assert_eq!(client.get("/foo").status, 200);
            }
            service.stop().unwrap();
        };
        // Threads end shortly after the query has told that it did.
        let threads = count("task");
        let all_ended = || (count("task") == threads).then(|| count("fd"));
        run();
        let before = eventually("the end of the first query's threads", all_ended);
        for _ in 0..20 {
            run();
        }
        let after = eventually("the end of all threads", all_ended);
        assert_eq!(after, before, "open descriptors");
    });
}

/// What a child does that stops by signals.
fn serve_until_signal(shutdown_timeout: &str) {
    let session = Session::new();
    session.drain_on_signals().unwrap();
    let query = writer(&session, "foo")
        .option("shutdownTimeout", shutdown_timeout)
        .start()
        .unwrap();
    println!("port {}", query.service_info()[0].port.unwrap());
    query.await_termination().unwrap();
}

fn signal(process: &PrintedPort, signal: Signal) {
    kill_process(Pid::from_child(&process.child), signal).unwrap();
}

/// Waits until a reply says that the connection is to close, so that the drain has begun.
fn await_drain(client: &mut Client) {
    eventually("the drain", || client.get("/foo").closes().then_some(()));
}

#[test]
fn a_signal_drains() {
    const TEST: &str = "a_signal_drains";
    if is_child_for(TEST) {
        return serve_until_signal("20s");
    }
    for how in [Signal::TERM, Signal::INT] {
        let mut process = PrintedPort::of(child_for(TEST));
        let (mut client, mut halfway) = (process.client(), process.client());
        halfway.send("POST /foo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
        assert_eq!(client.get("/foo").status, 200);
        signal(&process, how);
        await_drain(&mut client);
        halfway.send("bc");
        let answer = halfway.answer();
        assert_eq!((answer.text(), answer.closes()), ("3", true));
        drop((client, halfway));
        assert!(process.child.wait().unwrap().success());
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    const TEST: &str = "a_second_signal_ends_at_once";
    if is_child_for(TEST) {
        return serve_until_signal("1h");
    }
    let mut process = PrintedPort::of(child_for(TEST));
    let (mut client, mut stubborn) = (process.client(), process.client());
    assert_eq!(stubborn.get("/foo").status, 200);
    signal(&process, Signal::TERM);
    await_drain(&mut client);
    assert!(
        process.child.try_wait().unwrap().is_none(),
        "it waits for the other connection"
    );
    signal(&process, Signal::TERM);
    assert_eq!(
        process.child.wait().unwrap().signal(),
        Some(Signal::TERM.as_raw())
    );
    assert!(stubborn.try_answer().is_err());
}
