//! The tee, over sockets: what is answered gets into the sink once, and never waits for it.

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use common::{Client, PATIENCE, port, read, wait_until};
use snapback::BatchOptions;
use snapback::prelude::*;
use snapback::tee::{Fields, Opening, Resume, Served, SinkError, TeeSink};

/// A row as the sink got it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: String,
    status: u16,
    method: String,
    target: String,
    request: String,
    reply: String,
}

/// What a sink of these tests was told, and how it behaves.
#[derive(Default)]
struct State {
    openings: Vec<Opening>,
    epochs: Vec<u64>,
    committed: Vec<u64>,
    rows: Vec<Row>,
    /// Calls of `write` so far, also those that failed.
    writes: usize,
    stalls: bool,
    /// What the next writes do instead of succeeding.
    failures: Vec<Failure>,
}

#[derive(Clone, Copy)]
enum Failure {
    Error,
    Panic,
}

#[derive(Clone, Default)]
struct Sink {
    shared: Arc<(Mutex<State>, Condvar)>,
    fields: Option<Fields>,
}

impl Sink {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let (state, changed) = &*self.shared;
        let result = look(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
        result
    }

    fn wait_until(&self, mut holds: impl FnMut(&State) -> bool) {
        let (state, changed) = &*self.shared;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_state, waited) = changed
            .wait_timeout_while(state, PATIENCE, |state| !holds(state))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "nothing happened within {PATIENCE:?}");
    }
}

impl TeeSink for Sink {
    fn fields(&self) -> Fields {
        self.fields.unwrap_or(Fields::ALL)
    }

    fn open(&mut self, opening: &Opening) -> Result<(), SinkError> {
        self.with(|state| state.openings.push(opening.clone()));
        Ok(())
    }

    fn write(&mut self, epoch: u64, served: &[Served]) -> Result<(), SinkError> {
        let failure = self.with(|state| {
            state.writes += 1;
            state.failures.pop()
        });
        match failure {
            Some(Failure::Error) => return Err("the disk is full: make room".into()),
            Some(Failure::Panic) => panic!("a sink of a user"),
            None => {}
        }
        self.wait_until(|state| !state.stalls);
        self.with(|state| {
            let run_id = state.openings[0].run_id.clone();
            state.epochs.push(epoch);
            for rows in served {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                state.rows.extend((0..rows.len()).map(|row| Row {
                    id: format!("{run_id}-{}-{}", rows.partition(), rows.offsets()[row]),
                    status: rows.statuses()[row],
                    method: text(rows.methods().get(row)),
                    target: text(rows.targets().get(row)),
                    request: text(rows.requests().get(row)),
                    reply: text(rows.replies().get(row)),
                }));
            }
        });
        Ok(())
    }

    fn committed(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.with(|state| state.committed.push(epoch));
        Ok(())
    }
}

/// A service that answers a body with its length, in place or deferred, and tees.
fn start(sink: &Sink, deferred: bool, options: &[(&str, &str)]) -> (Session, StreamingQuery) {
    let session = Session::new();
    let lengths = read(&session, "lengths", 2).map(|request| request.body().len());
    let mut writer = match deferred {
        false => lengths.make_reply().write_stream(),
        true => lengths
            .batch(BatchOptions::default(), |lengths, out| {
                out.extend_from_slice(lengths)
            })
            .make_reply()
            .write_stream(),
    };
    for (key, value) in options {
        writer = writer.option(key, value);
    }
    let writer = writer.trigger(Continuous::millis(10)).tee(sink.clone());
    (session, writer.start().expect("it starts"))
}

/// What a client knows of a reply: its id, status and body.
fn post(client: &mut Client, body: &str) -> (String, u16, String) {
    let reply = client.post("/lengths?q=1", body.as_bytes());
    let id = reply.header("x-request-id").unwrap_or_default().to_owned();
    (id, reply.status, reply.text())
}

fn everything_is_in_the_sink_once(deferred: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = directory.path().to_str().expect("UTF-8");
    let sink = Sink::default();
    let (_session, query) = start(&sink, deferred, &[("checkpointLocation", location)]);
    let mut expected = BTreeSet::new();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(port(&query))).collect();
    for round in 0..100 {
        if round == 50 {
            sink.wait_until(|state| !state.epochs.is_empty());
        }
        for client in &mut clients {
            let request = "x".repeat(round);
            let (id, status, reply) = post(client, &request);
            assert_eq!((status, &reply), (200, &round.to_string()));
            let (method, target) = ("POST".to_owned(), "/lengths?q=1".to_owned());
            expected.insert(Row {
                id,
                status,
                method,
                target,
                request,
                reply,
            });
        }
    }
    query.stop().expect("it stops");
    sink.with(|state| {
        let rows: BTreeSet<_> = state.rows.iter().cloned().collect();
        assert_eq!(rows.len(), state.rows.len(), "no row is there twice");
        assert_eq!(rows, expected);
        assert!(
            state.epochs.is_sorted() && state.epochs.len() > 1,
            "{:?}",
            state.epochs
        );
        assert_eq!(state.epochs, state.committed);
        assert_eq!(state.openings.len(), 1);
        assert_eq!(state.openings[0].resume, Resume::After(None));
    });
    let epochs = snapback::checkpoint::read_committed(location).expect("it can be read");
    let last = epochs.last().expect("an epoch");
    let settled: u64 = last.partitions.values().map(|marks| marks.settled).sum();
    assert_eq!(settled, 400);
    assert_eq!(
        Some(last.epoch),
        sink.with(|state| state.epochs.last().copied())
    );
    let progress = query
        .last_progress()
        .and_then(|progress| progress.tee)
        .expect("a tee");
    assert_eq!(
        (progress.rows, progress.dropped_rows, progress.pending_bytes),
        (400, 0, 0)
    );
}

#[test]
fn what_is_answered_in_place_is_in_the_sink_once() {
    everything_is_in_the_sink_once(false);
}

#[test]
fn what_is_answered_later_is_in_the_sink_once() {
    everything_is_in_the_sink_once(true);
}

#[test]
fn the_next_run_goes_on_behind_the_committed_epoch() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = directory.path().to_str().expect("UTF-8");
    let mut last = None;
    for _ in 0..3 {
        let sink = Sink::default();
        let (_session, query) = start(&sink, false, &[("checkpointLocation", location)]);
        assert_eq!(post(&mut Client::connect(port(&query)), "four").2, "4");
        query.stop().expect("it stops");
        sink.with(|state| {
            assert_eq!(state.openings[0].resume, Resume::After(last));
            assert_eq!(state.openings[0].query_id.as_deref(), Some(query.id()));
            assert!(state.epochs.iter().all(|epoch| Some(*epoch) > last));
            last = state.committed.last().copied();
        });
    }
}

#[test]
fn a_sink_that_stalls_keeps_no_reply_waiting_and_a_full_buffer_sheds() {
    let sink = Sink::default();
    sink.with(|state| state.stalls = true);
    let (_session, query) = start(&sink, false, &[("teeBufferBytes", "256KiB")]);
    let mut client = Client::connect(port(&query));
    let body = "x".repeat(8 << 10);
    let mut answered = BTreeSet::new();
    let refused = loop {
        let (id, status, _) = post(&mut client, &body);
        if status != 200 {
            break status;
        }
        answered.insert(id);
        assert!(answered.len() < 10_000, "the buffer has a bound");
    };
    assert_eq!(refused, 503);
    // It has the limit, and what its one row too many had.
    assert!((30..=40).contains(&answered.len()), "{}", answered.len());
    wait_until("it shows", || {
        let why = query.status().not_ready;
        why.iter().any(|reason| reason.code() == "tee_full")
    });
    wait_until("it shows", || {
        let progress = query.last_progress().and_then(|progress| progress.tee);
        progress.is_some_and(|tee| tee.lag_ms > 0.0 && tee.pending_bytes >= 256 << 10)
    });
    // Nothing is worked on, at once; and it says when to come again.
    let reply = client.post("/lengths", body.as_bytes());
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("1"))
    );
    assert!(reply.text().contains("recorded"), "{}", reply.text());

    sink.with(|state| state.stalls = false);
    wait_until("it shows", || {
        let (id, status, _) = post(&mut client, "four");
        if status == 200 {
            answered.insert(id);
        }
        status == 200
    });
    query.stop().expect("it stops");
    sink.with(|state| {
        let ids: BTreeSet<_> = state.rows.iter().map(|row| row.id.clone()).collect();
        assert_eq!((ids.len(), ids), (state.rows.len(), answered));
    });
}

#[test]
fn with_drop_everyone_is_answered_and_what_is_dropped_is_counted() {
    let sink = Sink::default();
    sink.with(|state| state.stalls = true);
    let options = [("teeBufferBytes", "64KiB"), ("teeOverflow", "drop")];
    let (_session, query) = start(&sink, true, &options);
    let mut client = Client::connect(port(&query));
    let body = "x".repeat(4 << 10);
    for _ in 0..200 {
        assert_eq!(post(&mut client, &body).1, 200);
    }
    sink.with(|state| state.stalls = false);
    query.stop().expect("it stops");
    let tee = query
        .last_progress()
        .and_then(|progress| progress.tee)
        .expect("a tee");
    let written = sink.with(|state| state.rows.len() as u64);
    assert_eq!((tee.rows, tee.rows + tee.dropped_rows), (written, 200));
    assert!(tee.dropped_rows > 100, "{tee:?}");
}

#[test]
fn a_write_that_fails_or_panics_is_tried_again_with_all_its_rows() {
    let sink = Sink::default();
    sink.with(|state| state.failures = vec![Failure::Panic, Failure::Error]);
    let (_session, query) = start(&sink, false, &[]);
    let mut client = Client::connect(port(&query));
    let mut ids = BTreeSet::from([post(&mut client, "one").0]);
    sink.wait_until(|state| state.writes > 0);
    wait_until("it shows", || {
        let progress = query.last_progress().and_then(|progress| progress.tee);
        let failure = progress.and_then(|tee| tee.failure);
        failure.is_some_and(|why| why.contains("make room"))
    });
    ids.insert(post(&mut client, "two").0);
    sink.wait_until(|state| state.rows.len() == 2);
    query.stop().expect("it stops");
    sink.with(|state| {
        let rows: BTreeSet<_> = state.rows.iter().map(|row| row.id.clone()).collect();
        assert_eq!((state.rows.len(), rows), (2, ids));
        assert!(state.writes >= 3);
    });
}

#[test]
fn only_what_the_sink_wants_is_kept_and_what_has_no_offset_is_not() {
    let sink = Sink {
        fields: Some(Fields::ALL),
        ..Sink::default()
    };
    let (_session, query) = start(&sink, false, &[]);
    let mut client = Client::connect(port(&query));
    assert_eq!(client.post("/elsewhere", b"x").status, 404);
    assert_eq!(post(&mut client, "four").1, 200);
    query.stop().expect("it stops");
    sink.with(|state| assert_eq!(state.rows.len(), 1));
    let opening = sink.with(|state| state.openings[0].clone());
    assert_eq!((opening.resume, opening.query_id), (Resume::Append, None));
}

#[test]
fn a_sink_that_does_not_open_keeps_the_query_from_starting() {
    struct Closed;
    impl TeeSink for Closed {
        fn open(&mut self, _opening: &Opening) -> Result<(), SinkError> {
            Err("`/there` is a file: name a directory".into())
        }
        fn write(&mut self, _epoch: u64, _served: &[Served]) -> Result<(), SinkError> {
            unreachable!("it was never open")
        }
    }
    let session = Session::new();
    let stream = read(&session, "closed", 1).map(|request| request.body().len());
    let refused = stream.make_reply().write_stream().tee(Closed).start();
    let message = refused.expect_err("the sink is closed").to_string();
    assert_eq!(
        message,
        "the sink of the tee cannot be opened: `/there` is a file: name a directory"
    );
    // Nothing is left of it: its name is free.
    let stream = read(&session, "closed", 1).map(|request| request.body().len());
    let query = stream
        .make_reply()
        .write_stream()
        .start()
        .expect("it starts");
    query.stop().expect("it stops");
}

/// A trigger that never comes leaves all to the end.
#[test]
fn the_last_rows_are_in_the_sink_when_the_query_has_ended() {
    let sink = Sink::default();
    let session = Session::new();
    let stream = read(&session, "last", 2).map(|request| request.body().len());
    let writer = stream.make_reply().write_stream().tee(sink.clone());
    let query = writer
        .trigger(Continuous::secs(3600))
        .start()
        .expect("it starts");
    let ids: BTreeSet<_> = (0..20)
        .map(|_| {
            let reply = Client::connect(port(&query)).post("/last", b"x");
            reply.header("x-request-id").expect("an id").to_owned()
        })
        .collect();
    query.stop().expect("it stops");
    assert!(
        query
            .await_termination_timeout(Duration::ZERO)
            .expect("no error")
    );
    sink.with(|state| {
        let rows: BTreeSet<_> = state.rows.iter().map(|row| row.id.clone()).collect();
        assert_eq!((state.rows.len(), rows), (20, ids));
    });
}
