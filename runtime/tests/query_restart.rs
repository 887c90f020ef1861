//! Stopping a query and starting it again from its checkpoint.

mod support;

use std::path::Path;

use snapback::prelude::*;
use snapback::{Error, StreamWriter};
use support::{
    PrintedPort, Service, child_for, eventually, is_child_for, reader_in, serve,
    silence_panics_on_purpose,
};

/// Replies with the partition and the offset of each request.
fn writer(session: &Session, checkpoint: &Path) -> StreamWriter {
    let server = reader_in(session, "foo").load().unwrap();
    server
        .map(|request| {
            assert_ne!(request.body(), b"poison", "on purpose");
            (request.id().partition(), request.id().offset())
        })
        .make_reply()
        .write_stream()
        .option(
            "checkpointLocation",
            format!("file://{}", checkpoint.display()),
        )
        .trigger(Continuous::millis(20))
}

/// The offsets that so many requests over one connection get.
fn offsets(service: &Service, requests: usize) -> Vec<u64> {
    let mut client = service.client();
    let mut one = || client.post("/foo", "abc").json()[1].as_u64().unwrap();
    (0..requests).map(|_| one()).collect()
}

#[test]
fn a_query_goes_on_where_it_stopped() {
    let (session, directory) = (Session::new(), tempfile::tempdir().unwrap());
    let checkpoint = directory.path().join("checkpoint");
    let first = serve(writer(&session, &checkpoint));
    assert_eq!(offsets(&first, 100), (0..100).collect::<Vec<_>>());
    first.stop().unwrap();
    let committed = first.last_progress().unwrap().checkpoint.unwrap();
    assert_eq!((committed.failure, committed.lag_ms), (None, 0.0));
    let second = serve(writer(&session, &checkpoint));
    assert_eq!(second.id(), first.id());
    assert_ne!(second.run_id(), first.run_id());
    assert_eq!(offsets(&second, 50), (100..150).collect::<Vec<_>>());
    second.stop().unwrap();
    let last = second.last_progress().unwrap();
    assert_eq!(
        (last.partitions[0].settled, last.partitions[0].next),
        (150, 150)
    );
    assert!(last.checkpoint.unwrap().committed_epoch > committed.committed_epoch);
    // A query that answered nothing changes nothing.
    serve(writer(&session, &checkpoint)).stop().unwrap();
    let third = serve(writer(&session, &checkpoint));
    assert_eq!(offsets(&third, 1), [150]);
}

#[test]
fn the_number_of_partitions_may_change() {
    let (session, directory) = (Session::new(), tempfile::tempdir().unwrap());
    let with = |partitions: usize| {
        serve(writer(&session, directory.path()).option("numPartitions", partitions))
    };
    let ask_all = |service: &Service, connections: usize| {
        let mut clients: Vec<_> = (0..connections).map(|_| service.client()).collect();
        let mut all: Vec<(u64, u64)> = clients
            .iter_mut()
            .map(|client| serde_json::from_value(client.post("/foo", "abc").json()).unwrap())
            .collect();
        all.sort_unstable();
        all
    };
    let (two, expected) = (with(2), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(ask_all(&two, 4), expected);
    two.stop().unwrap();
    let one = with(1);
    assert_eq!(offsets(&one, 3), [2, 3, 4]);
    one.stop().unwrap();
    // The partition that was away goes on where it was.
    let three = with(3);
    assert_eq!(ask_all(&three, 3), [(0, 5), (1, 2), (2, 0)]);
}

#[test]
fn progress_shows_the_commits() {
    let (session, directory) = (Session::new(), tempfile::tempdir().unwrap());
    let service = serve(writer(&session, directory.path()));
    offsets(&service, 10);
    let committed = eventually("a commit", || {
        let progress = service.last_progress()?;
        let checkpoint = progress.checkpoint.clone()?;
        (progress.partitions[0].settled == 10 && checkpoint.lag_ms == 0.0).then_some(checkpoint)
    });
    assert!(
        committed.committed_epoch.is_some() && committed.failure.is_none(),
        "{committed:?}"
    );
    assert!(committed.duration_ms > 0.0, "{committed:?}");
}

#[test]
fn a_checkpoint_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (Session::new(), Session::new());
    let first = serve(writer(&one, directory.path()));
    let error = writer(&other, directory.path()).start().unwrap_err();
    assert!(matches!(error, Error::Checkpoint(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains(directory.path().to_str().unwrap()),
        "{error}"
    );
    assert_eq!(offsets(&first, 1), [0]);
    first.stop().unwrap();
    assert_eq!(offsets(&serve(writer(&other, directory.path())), 1), [1]);
}

#[test]
fn a_failed_start_gives_the_checkpoint_back() {
    let (session, directory) = (Session::new(), tempfile::tempdir().unwrap());
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let at_taken = writer(&session, directory.path()).option("port", port);
    let error = at_taken.option("maxPortAttempts", 1).start().unwrap_err();
    assert!(matches!(error, Error::Bind(_)), "{error}");
    assert_eq!(offsets(&serve(writer(&session, directory.path())), 1), [0]);
}

#[test]
fn a_request_that_was_answered_500_is_settled() {
    silence_panics_on_purpose();
    let (session, directory) = (Session::new(), tempfile::tempdir().unwrap());
    let first = serve(writer(&session, directory.path()));
    assert_eq!(first.client().post("/foo", "poison").status, 500);
    first.stop().unwrap();
    assert_eq!(offsets(&serve(writer(&session, directory.path())), 1), [1]);
}

/// A process that is killed: the offsets of its committed epochs stay. (Request ids name the run, so
/// that offsets which are given again make none of them repeat.)
#[test]
fn a_killed_process_leaves_its_committed_epochs() {
    const TEST: &str = "a_killed_process_leaves_its_committed_epochs";
    const LOCATION: &str = "SNAPBACK_TEST_CHECKPOINT";
    if is_child_for(TEST) {
        let location = std::env::var(LOCATION).unwrap();
        let service = serve(writer(&Session::new(), Path::new(&location)));
        println!("port {}", service.port());
        service.await_termination().unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut process = child_for(TEST);
    process.env(LOCATION, directory.path());
    let mut child = PrintedPort::of(process);
    let mut client = child.client();
    let newest_commit = || {
        let entries = std::fs::read_dir(directory.path().join("commits")).ok()?;
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
            .max()
    };
    let mut ask = || assert_eq!(client.post("/foo", "abc").status, 200);
    (0..50).for_each(|_| ask());
    let before = eventually("a commit", newest_commit);
    let mut asked = 50;
    // The one behind the next commit was cut when the fifty had been answered.
    eventually("two further commits", || {
        ask();
        asked += 1;
        (newest_commit()? >= before + 2).then_some(())
    });
    child.kill();
    let next = serve(writer(&Session::new(), directory.path()));
    let offset = offsets(&next, 1)[0];
    assert!(
        (50..=asked).contains(&offset),
        "{offset} after {asked} requests"
    );
}
