//! A new query takes the listeners over from a running one. Both are of this process here, which
//! neither of them knows; `bench/tests/lossless.rs` does it with processes, under load.

mod ends;
mod stranger;
#[path = "../support/mod.rs"]
mod support;

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use snapback::checkpoint::read_committed;
use snapback::prelude::*;
use snapback::{Error, HandoffError, StreamWriter};
use stranger::Stranger;
use support::{Client, Service, eventually, reader, serve};
use tempfile::TempDir;

/// A place for one service and its successors.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn checkpoint(&self) -> String {
        self.path("checkpoint").display().to_string()
    }

    /// Replies with the request's id.
    fn writer(&self, options: &[(&str, &str)]) -> StreamWriter {
        let mut server = reader("foo").option("handoffSocket", self.path("h").display());
        for (key, value) in options {
            server = server.option(key, value);
        }
        let ids = server
            .load()
            .unwrap()
            .map(|request| request.id().to_string());
        ids.make_reply()
            .write_stream()
            .option("checkpointLocation", self.checkpoint())
            .trigger(Continuous::millis(10))
    }

    fn serve(&self, options: &[(&str, &str)]) -> Service {
        serve(self.writer(options))
    }

    fn refused(&self, options: &[(&str, &str)]) -> Error {
        self.writer(options).start().unwrap_err()
    }

    /// How many requests the checkpoint counts, over all partitions.
    fn counted(&self) -> u64 {
        let epochs = read_committed(&self.checkpoint()).unwrap();
        let newest = epochs.last().expect("a committed epoch");
        newest.partitions.values().map(|marks| marks.next).sum()
    }
}

const LONG: (&str, &str) = ("shutdownTimeout", "20s");

/// Probes at an address that somebody was told of are the new process's as soon as that serves, though
/// the old one still answers its connections.
#[test]
fn the_admin_listener_goes_over_with_the_service() {
    // Somebody else may take the port before it is bound again; then both wait for it, in vain.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap();
    drop(free);
    let place = Place::new();
    let address = admin.to_string();
    let at = ("adminAddress", address.as_str());
    let runs = || {
        let mut client = Client::connect(admin);
        client.send(format!(
            "GET /api/v1/queries HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
        ));
        client.answer().text().to_owned()
    };
    let old = place.serve(&[LONG, at]);
    assert!(runs().contains(old.run_id()));
    let mut early = old.client();
    early.get("/foo");

    let new = place.serve(&[("shutdownTimeout", "50ms"), at]);
    eventually("the listener of the new one", || {
        TcpStream::connect(admin).ok()?;
        runs().contains(new.run_id()).then_some(())
    });
    assert!(old.status().is_draining);
    assert_eq!(early.get("/foo").status, 200);
}

/// The id without its offset: the service, the run and the partition.
fn run_of(id: &str) -> &str {
    id.rsplitn(3, '-').nth(2).unwrap()
}

#[test]
fn a_new_query_serves_while_the_old_one_answers_its_connections() {
    let place = Place::new();
    let old = place.serve(&[LONG]);
    let (mut early, mut idle) = (old.client(), old.client());
    let first = early.get("/foo");
    assert!(!first.closes());
    idle.get("/foo");

    let new = place.serve(&[("shutdownTimeout", "50ms")]);
    assert_eq!(new.port(), old.port());
    eventually("the drain", || old.status().is_draining.then_some(()));
    assert!(
        old.status().message.contains("has taken over"),
        "{:?}",
        old.status()
    );
    // Until the old one's partition hears of it, both accept.
    let late = eventually("a reply of the new one", || {
        let answer = new.client().get("/foo");
        (run_of(answer.text()) != run_of(first.text())).then_some(answer)
    });
    assert!(!late.closes());

    // The old one answers its own, and tells them that it is the last time.
    eventually("a reply that closes", || {
        let answer = early.get("/foo");
        assert_eq!(run_of(answer.text()), run_of(first.text()));
        answer.closes().then_some(())
    });
    assert!(early.is_at_end());
    drop(early);
    let status = new.status();
    assert!(
        status.message.contains("waiting for the checkpoint's lock"),
        "{status:?}"
    );
    drop(idle);
    old.await_termination().unwrap();
    eventually("the lock", || {
        (new.status().message == "answering requests").then_some(())
    });
    // The address did not move, and the socket of hand-offs is still there.
    let third = place.serve(&[]);
    new.await_termination().unwrap();
    assert!(third.client().get("/foo").status == 200);
}

#[test]
fn the_checkpoint_counts_every_request_of_both_once() {
    let place = Place::new();
    let old = place.serve(&[LONG]);
    let mut held = old.client();
    for _ in 0..10 {
        held.get("/foo");
    }
    let mut answered = 10;
    eventually("a commit", || {
        read_committed(&place.checkpoint())
            .unwrap()
            .last()
            .map(|_| ())
    });
    let new = place.serve(&[LONG]);
    eventually("the drain", || old.status().is_draining.then_some(()));
    // Both serve, and both count from where the checkpoint was.
    for _ in 0..7 {
        new.client().get("/foo");
        answered += 1;
    }
    let waiting = eventually("progress", || {
        let checkpoint = new.last_progress()?.checkpoint?;
        checkpoint.waiting_for
    });
    let holder = format!("the lock of process {}", std::process::id());
    assert!(waiting.starts_with(&holder), "{waiting}");
    eventually("a reply that closes", || {
        answered += 1;
        held.get("/foo").closes().then_some(())
    });
    drop(held);
    old.await_termination().unwrap();
    let before = place.counted();
    assert!(before <= answered, "{before} of {answered}");
    new.stop().unwrap();
    assert_eq!(place.counted(), answered);
    let epochs = read_committed(&place.checkpoint()).unwrap();
    for (one, next) in epochs.iter().zip(&epochs[1..]) {
        assert!(one.partitions[&0].next <= next.partitions[&0].next);
        assert!(one.partitions[&0].settled <= next.partitions[&0].settled);
    }
    let runs = [old.run_id(), new.run_id()].map(|run| {
        let of_run = |epoch: &&snapback::checkpoint::CommittedEpoch| epoch.run_id == run;
        epochs.iter().filter(of_run).count()
    });
    assert!(runs[0] > 0 && runs[1] > 0, "{runs:?}");
    // Whoever starts next begins where both ended.
    let third = place.serve(&[]);
    let id = third.client().get("/foo");
    assert!(
        id.text().ends_with(&format!("-{answered}")),
        "{}",
        id.text()
    );
}

#[test]
fn each_partition_keeps_its_port_whatever_the_number_of_partitions() {
    let place = Place::new();
    let with = |partitions| [("portMode", "perPartition"), ("numPartitions", partitions)];
    let old = place.serve(&with("3"));
    let ports = |service: &Service| -> Vec<u16> {
        service
            .service_info()
            .iter()
            .map(|info| info.port.unwrap())
            .collect()
    };
    let first = ports(&old);
    let fewer = place.serve(&with("2"));
    old.await_termination().unwrap();
    let mut kept = ports(&fewer);
    kept.sort_unstable();
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(kept, sorted, "no port is given up");
    for port in &first {
        assert_eq!(
            Client::connect(("127.0.0.1", *port)).get("/foo").status,
            200
        );
    }
    eventually("the lock", || {
        (fewer.status().message == "answering requests").then_some(())
    });
    let more = place.serve(&with("4"));
    fewer.await_termination().unwrap();
    let most = ports(&more);
    assert!(
        most.len() >= 4 && first.iter().all(|port| most.contains(port)),
        "{most:?}"
    );
    let partitions: std::collections::BTreeSet<_> = more
        .service_info()
        .iter()
        .map(|info| info.partition)
        .collect();
    assert_eq!(partitions.len(), 4, "each partition listens");
    for port in most {
        assert_eq!(Client::connect(("127.0.0.1", port)).get("/foo").status, 200);
    }
}

#[test]
fn the_files_of_unix_sockets_go_over() {
    let place = Place::new();
    let socket = place.path("s");
    let host = format!("unix:{}", socket.display());
    let with = [("host", host.as_str())];
    let old = place.serve(&with);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path("h")), 0o600);
    let new = place.serve(&with);
    old.await_termination().unwrap();
    drop(old);
    assert!(socket.exists() && place.path("h").exists());
    assert_eq!(Client::connect_unix(&socket).get("/foo").status, 200);
    new.stop().unwrap();
    drop(new);
    assert!(!socket.exists() && !place.path("h").exists());
}

#[test]
fn a_query_that_serves_something_else_is_refused() {
    let place = Place::new();
    let old = place.serve(&[]);
    for other in [
        ("name", "another"),
        ("port", "1"),
        ("host", "127.0.0.2"),
        ("portMode", "perPartition"),
    ] {
        let error = place.refused(&[other]);
        assert!(matches!(&error, Error::Handoff(_)), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("hands nothing over: it serves the service `foo`"),
            "{error}"
        );
    }
    assert_eq!(old.client().get("/foo").status, 200);
    assert!(!old.status().is_draining);
}

#[test]
fn without_a_hand_off_a_second_query_on_the_checkpoint_is_refused() {
    let place = Place::new();
    let old = place.serve(&[]);
    let alone = reader("foo").load().unwrap().map(|_| 1).make_reply();
    let second = alone
        .write_stream()
        .option("checkpointLocation", place.checkpoint());
    let error = second.start().unwrap_err().to_string();
    assert!(error.contains("is in use by process"), "{error}");
    assert_eq!(old.client().get("/foo").status, 200);
}

#[test]
fn a_query_that_waits_for_the_lock_hands_nothing_over() {
    let place = Place::new();
    let old = place.serve(&[LONG]);
    let mut held = old.client();
    held.get("/foo");
    let new = place.serve(&[]);
    let error = place.refused(&[]).to_string();
    assert!(
        error.contains("waits for the checkpoint of process"),
        "{error}"
    );
    assert_eq!(new.client().get("/foo").status, 200);
    drop(held);
    old.await_termination().unwrap();
}

#[test]
fn one_that_dies_before_it_serves_changes_nothing() {
    let place = Place::new();
    let old = place.serve(&[]);
    for _ in 0..3 {
        let stranger = Stranger::connect(&place);
        stranger.says_hello("http at 127.0.0.1, port 0");
        assert!(stranger.receive().contains(r#"{"offer":{"pid":"#));
        assert!(
            stranger
                .receive()
                .contains(r#"{"listeners":[{"partition":0,"scheme":"http""#)
        );
        drop(stranger);
        let mut client = old.client();
        assert_eq!(client.get("/foo").status, 200);
        assert!(!old.status().is_draining);
    }
    // Nor does it keep the next one from taking over.
    let new = place.serve(&[]);
    old.await_termination().unwrap();
    assert_eq!(new.client().get("/foo").status, 200);
}

#[test]
fn nonsense_and_other_versions_change_nothing() {
    let place = Place::new();
    let old = place.serve(&[]);
    for nonsense in [
        "GET / HTTP/1.1\r\n\r\n",
        "snapback-handoff 2\n{}",
        "snapback-handoff 1\n{\"ready\":null}",
        "snapback-handoff 1\n\"ready\"",
        &"x".repeat(60 << 10),
    ] {
        let stranger = Stranger::connect(&place);
        stranger.send(nonsense);
        let said = stranger.receive();
        assert!(said.is_empty() || said.contains("refused"), "{said}");
    }
    let silent = Stranger::connect(&place);
    drop(silent);
    assert_eq!(old.client().get("/foo").status, 200);
    assert!(!old.status().is_draining);
}

#[test]
fn a_query_that_stops_leaves_nothing_to_one_that_does_not_serve() {
    let place = Place::new();
    let old = place.serve(&[]);
    let waiting = Stranger::connect(&place);
    waiting.says_hello("http at 127.0.0.1, port 0");
    assert!(waiting.receive().contains("offer"));
    old.stop().unwrap();
    assert!(waiting.receive().contains("listeners"));
    assert!(waiting.receive().contains("yours"), "nobody else serves");
    // It serves neither, so nothing is left of the service.
    drop(waiting);
    eventually("no socket", || (!place.path("h").exists()).then_some(()));
    drop(place.serve(&[]));
}

#[test]
fn an_old_process_of_another_version_is_named() {
    let place = Place::new();
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    let address = SocketAddrUnix::new(place.path("h")).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let old = std::thread::spawn(move || {
        for answer in ["snapback-handoff 7\n{}", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let stranger = Stranger(rustix::net::accept(&listener).unwrap());
            assert!(
                stranger
                    .receive()
                    .starts_with("snapback-handoff 1\n{\"hello\":")
            );
            stranger.send(answer);
            assert_eq!(stranger.receive(), "");
        }
    });
    let handoff = |error: Error| match error {
        Error::Handoff(error) => error,
        other => panic!("{other}"),
    };
    let error = handoff(place.refused(&[]));
    assert!(matches!(&*error, HandoffError::Version { found, wanted: 1, .. } if found == "7"));
    let error = handoff(place.refused(&[]));
    assert!(matches!(&*error, HandoffError::Message { .. }), "{error}");
    old.join().unwrap();
}
