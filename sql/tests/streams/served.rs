//! Streams beside services in one session.

use std::fs;
use std::time::{Duration, Instant};

use snapback::{Mode, ProcessingTime, Session};
use snapback_sql::context;
use snapback_sql::prelude::*;
use snapback_sql::sink::MemorySink;
use snapback_sql::streams::FileFormat::Json;
use snapback_sql::streams::{StreamError, TableSources};

use crate::harness::{Epochs, PATIENCE, drop_file, numbers_in};
use crate::support::{reader_in, reader_of, serve};

/// What comes in files is soon in the replies.
#[test]
fn a_service_looks_requests_up_in_what_a_stream_fills() {
    for mode in [Mode::Continuous, Mode::Distributed, Mode::Server] {
        let folder = tempfile::tempdir().expect("a folder");
        drop_file(folder.path(), "1.json", "{\"n\":1,\"text\":\"one\"}\n");
        let session = Session::new();
        let (tables, memory) = (context(), MemorySink::new(1000));
        tables
            .register_table("names", memory.table())
            .expect("a name");
        let stream = session.read_stream();
        let stream = stream.files(folder.path(), Json, "n BIGINT, text STRING");
        let stream = stream.expect("a schema").write_stream().to(memory);
        let stream = stream
            .query_name("names")
            .trigger(ProcessingTime::millis(5));
        let stream = stream.start().expect("it starts");
        let replies = reader_of(mode, &session, "api")
            .load()
            .expect("good options")
            .columns_in(&tables)
            .parse_request("n BIGINT")
            .expect("a schema")
            .sql("SELECT text FROM requests JOIN names ON requests.n = names.n")
            .expect("a query")
            .reload_tables(Duration::from_millis(5))
            .make_reply(col("text"))
            .expect("a plan");
        let service = serve(replies.write_stream());
        let mut client = service.client();
        for (n, text) in [(1, "one"), (2, "two"), (3, "three")] {
            let row = format!("{{\"n\":{n},\"text\":\"{text}\"}}\n");
            drop_file(folder.path(), &format!("{n}.json"), &row);
            let begin = Instant::now();
            while client.post("/api", format!("{{\"n\":{n}}}")).text() != text {
                assert!(begin.elapsed() < PATIENCE, "{mode:?}: {text}");
            }
        }
        assert_eq!(client.post("/api", r#"{"n":4}"#).status, 204);
        stream.stop().expect("it stops");
    }
}

/// A name is that of one active query, whether it serves or not.
#[test]
fn no_two_queries_of_a_session_have_one_name() {
    let session = Session::new();
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("in")).expect("a folder");
    let rate = || session.read_stream().rate(1).write_stream();
    let stream = rate().to(Epochs::default()).query_name("one").start();
    let stream = stream.expect("it starts");
    let second = rate().to(Epochs::default()).query_name("one").start();
    let told = second.expect_err("the name is taken");
    assert!(matches!(told, StreamError::Name(_)), "{told}");
    assert!(told.to_string().contains("`one` is active"), "{told}");

    let service = |name: &str| {
        let replies = reader_in(&session, name).load().expect("good options");
        let replies = replies.map(|request| request.body().len()).make_reply();
        replies.write_stream().query_name(name).start()
    };
    let told = service("one").expect_err("the name is taken").to_string();
    assert!(told.contains("`one` is active"), "{told}");
    let served = service("two").expect("it starts");
    let third = rate().to(Epochs::default()).query_name("two").start();
    assert!(matches!(third, Err(StreamError::Name(_))), "{third:?}");

    // The end of a query gives its name back, and so does a start that failed.
    stream.stop().expect("it stops");
    served.stop().expect("it stops");
    let missing = numbers_in(&folder.path().join("missing"));
    drop(missing.write_stream().to(Epochs::default()).start());
    for name in ["one", "two"] {
        let query = rate().to(Epochs::default()).query_name(name).start();
        query.expect("the name is free").stop().expect("it stops");
    }
    service("one")
        .expect("the name is free")
        .stop()
        .expect("it stops");
}
