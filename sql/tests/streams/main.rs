//! Streams that serve nobody: each row of a source is in the sink once, whatever happens in between.

mod harness;
mod recovery;
mod served;
mod sources;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::sync::Arc;

use harness::{Epochs, begin, drop_file, failure_of, numbers_in, wait_for};
use snapback::Session;
use snapback_sql::context;
use snapback_sql::datafusion::arrow::array::{AsArray, RecordBatch};
use snapback_sql::datafusion::arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use snapback_sql::datafusion::arrow::util::pretty::pretty_format_batches;
use snapback_sql::datafusion::logical_expr::{ColumnarValue, Volatility};
use snapback_sql::prelude::*;
use snapback_sql::sink::{FileFormat as SinkFormat, FileSink, ForeachBatch, MemorySink, Resume};
use snapback_sql::streams::{FileFormat, StreamError, TableSources};

#[test]
fn rows_at_a_rate_are_counted_on_over_restarts() {
    let directory = tempfile::tempdir().expect("a folder");
    let sink = Epochs::default();
    for run in 1..4 {
        let stream = Session::new().read_stream().rate(5000);
        let stream = stream.sql("SELECT value, timestamp FROM stream WHERE value % 2 = 0");
        let query = begin(stream, &sink, Some(directory.path()));
        let before = sink.numbers().len();
        sink.wait_until(|kept| {
            let rows = kept.epochs.values().flatten();
            rows.map(RecordBatch::num_rows).sum::<usize>() > before + 20
        });
        query.stop().expect("it stops");
        assert!(!query.is_active() && query.id().is_some());
        let numbers = sink.numbers();
        let expected: Vec<i64> = (0..).step_by(2).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "run {run}");
    }
    // What a row says is decided by its number.
    let times: Vec<i64> = sink.with(|kept| {
        let batches = kept.epochs.values().flatten();
        let times = batches.flat_map(|rows| {
            let times = rows.column(1).as_primitive::<TimestampMicrosecondType>();
            times.values().to_vec()
        });
        times.collect()
    });
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 400));
    assert!(sink.with(|kept| kept.resumed[1]) != Resume::After(None));
}

#[test]
fn each_file_is_taken_once_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (incoming, checkpoint) = (folder.path().join("in"), folder.path().join("checkpoint"));
    fs::create_dir(&incoming).expect("a folder");
    let sink = Epochs::default();
    let mut expected = Vec::new();
    for run in 0..5 {
        for file in 0..3 {
            let n = 10 * run + file;
            drop_file(
                &incoming,
                &format!("{n:03}.jsonl"),
                &format!("{{\"n\":{n}}}\n{{}}\n"),
            );
            expected.push(n);
        }
        drop_file(&incoming, "_notes.json", "no rows");
        drop_file(&incoming, "readme.txt", "no rows");
        let stream = numbers_in(&incoming);
        let writer = stream.write_stream().to(sink.clone()).query_name("numbers");
        let writer = writer.checkpoint_location(checkpoint.to_str().expect("UTF-8"));
        let query = writer.available_now().start().expect("it starts");
        query.await_termination().expect("it ends by itself");
        let mut numbers = sink.numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, expected, "run {run}");
        assert_eq!(query.progress().input_rows, 6);
    }
}

#[test]
fn a_file_that_cannot_be_read_waits_for_somebody_to_mend_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Epochs::default();
    drop_file(folder.path(), "1.json", "{\"n\":1}\n");
    drop_file(folder.path(), "2.json", "{\"n\":\"two\"}\n");
    let query = begin(numbers_in(folder.path()), &sink, None);
    let failure = failure_of(&query);
    assert!(
        failure.contains("2.json") && failure.contains("mend it"),
        "{failure}"
    );
    assert_eq!(sink.numbers(), [1]);
    drop_file(folder.path(), "2.json", "{\"n\":2}\n");
    sink.wait_until(|kept| kept.epochs.len() == 2);
    query.stop().expect("it stops");
    assert_eq!(
        (sink.numbers(), query.progress().failure),
        (vec![1, 2], None)
    );
}

/// The sink is late, and nothing is lost or written twice.
#[test]
fn a_sink_that_fails_gets_the_same_rows_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Epochs::default();
    sink.with(|kept| kept.failures = 2);
    drop_file(folder.path(), "1.json", "{\"n\":1}\n{\"n\":2}\n");
    let query = begin(numbers_in(folder.path()), &sink, None);
    sink.wait_until(|kept| !kept.epochs.is_empty());
    query.stop().expect("it stops");
    assert_eq!(sink.numbers(), [1, 2]);
    assert_eq!(query.progress().input_rows, 2);
}

/// Dies between the sink and the checkpoint: the epoch runs again, and what it had written is taken back.
#[test]
fn an_epoch_that_was_not_committed_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (incoming, checkpoint) = (folder.path().join("in"), folder.path().join("checkpoint"));
    let out = folder.path().join("out");
    fs::create_dir(&incoming).expect("a folder");
    let location = checkpoint.to_str().expect("UTF-8").to_owned();
    let run = || {
        let writer = numbers_in(&incoming).write_stream().query_name("numbers");
        let writer = writer.to(FileSink::new(&out, SinkFormat::Json));
        writer
            .checkpoint_location(&location)
            .available_now()
            .start()
            .expect("it starts")
    };
    drop_file(&incoming, "1.json", "{\"n\":1}\n");
    run().await_termination().expect("it ends");
    drop_file(&incoming, "2.json", "{\"n\":2}\n");
    run().await_termination().expect("it ends");
    // As if the process had died before its last commit.
    for part in ["offsets/1", "commits/1"] {
        fs::remove_file(checkpoint.join(part)).expect("it was committed");
    }
    run().await_termination().expect("it ends");
    let context = context();
    let segments = fs::read_dir(&out)
        .expect("a folder")
        .map(|entry| entry.expect("one").path());
    let segments = segments.filter(|path| !path.ends_with("_snapback"));
    let files: Vec<String> = segments
        .flat_map(|segment| fs::read_dir(segment).expect("a segment"))
        .map(|entry| entry.expect("one").path().display().to_string())
        .collect();
    let rows = wait_for(async {
        let options = JsonReadOptions::default().file_extension(".jsonl");
        let rows = context.read_json(files, options).await?;
        rows.select(vec![col("n")])?
            .sort(vec![col("n").sort(true, true)])?
            .collect()
            .await
    });
    let table = pretty_format_batches(&rows).expect("a table").to_string();
    assert_eq!(table, "+---+\n| n |\n+---+\n| 1 |\n| 2 |\n+---+");
}

#[test]
fn a_step_that_is_wrong_is_told_at_the_start_and_one_that_fails_ends_the_stream() {
    let refused = Session::new().read_stream().rate(1).select([col("valeu")]);
    let refused = refused.write_stream().to(Epochs::default()).start();
    assert!(
        matches!(refused, Err(StreamError::Definition(_))),
        "{refused:?}"
    );
    let refused = Session::new().read_stream().rate(1).write_stream().start();
    assert!(matches!(refused, Err(StreamError::NoSink)));
    let refused = Session::new().read_stream();
    let refused = refused
        .files("/no/such/folder", FileFormat::Csv, "n INT")
        .expect("a schema");
    let refused = refused.write_stream().to(Epochs::default()).start();
    assert!(refused.is_err_and(|error| error.to_string().contains("/no/such/folder")));

    let stream = Session::new().read_stream().rate(1000);
    let query = begin(
        stream.with_column("x", lit(1) / (col("value") * lit(0))),
        &Epochs::default(),
        None,
    );
    let error = query.await_termination().expect_err("it divides by zero");
    assert!(error.to_string().contains("epoch 0 failed"), "{error}");

    let panics = create_udf(
        "panics",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(|_: &[ColumnarValue]| panic!("a function of a user")),
    );
    let stream = Session::new().read_stream().rate(1000);
    let query = begin(
        stream.with_column("x", panics.call(vec![col("value")])),
        &Epochs::default(),
        None,
    );
    query.await_termination().expect_err("it panics");
    assert!(!query.is_active());
}

#[test]
fn a_checkpoint_has_one_stream_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let query = begin(
        Session::new().read_stream().rate(100),
        &Epochs::default(),
        Some(folder.path()),
    );
    let second = Session::new()
        .read_stream()
        .rate(100)
        .write_stream()
        .query_name("numbers");
    let second = second.to(Epochs::default());
    let second = second
        .checkpoint_location(folder.path().to_str().expect("UTF-8"))
        .start();
    assert!(
        matches!(second, Err(StreamError::Checkpoint(_))),
        "{second:?}"
    );
    query.stop().expect("it stops");
    // Its end lets go of it.
    let third = begin(
        Session::new().read_stream().rate(100),
        &Epochs::default(),
        Some(folder.path()),
    );
    third.stop().expect("it stops");
    let found = snapback::checkpoint::inspect(folder.path().to_str().expect("UTF-8"));
    let found = found.expect("it can be read");
    assert!(found.damaged.is_empty(), "{found:?}");
}

/// A stream fills a table, which queries read meanwhile; and a closure gets each epoch.
#[test]
fn a_table_in_memory_and_a_closure() {
    let folder = tempfile::tempdir().expect("a folder");
    drop_file(
        folder.path(),
        "a.json",
        "{\"n\":1}\n{\"n\":2}\n{\"n\":null}\n",
    );
    let (tables, memory) = (context(), MemorySink::new(1000));
    tables
        .register_table("numbers", memory.table())
        .expect("a name");
    let query = numbers_in(folder.path())
        .write_stream()
        .to(memory)
        .available_now();
    query
        .start()
        .expect("it starts")
        .await_termination()
        .expect("it ends");
    let rows = wait_for(async {
        let sum = tables.sql("SELECT sum(n) AS total FROM numbers").await?;
        sum.collect().await
    });
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 3);

    let (tell, told) = std::sync::mpsc::channel();
    let each = ForeachBatch::new(move |epoch, rows| {
        Ok(tell.send((epoch, rows.iter().map(RecordBatch::num_rows).sum::<usize>()))?)
    });
    let query = numbers_in(folder.path())
        .write_stream()
        .to(each)
        .available_now();
    query
        .start()
        .expect("it starts")
        .await_termination()
        .expect("it ends");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(0, 2)]);
}
