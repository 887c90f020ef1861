//! What a stream does after a crash, and what it leaves alone.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use snapback::{ProcessingTime, Session};
use snapback_sql::col;
use snapback_sql::datafusion::arrow::datatypes::{Schema, SchemaRef};
use snapback_sql::sink::SinkError;
use snapback_sql::streams::{Source, TableQuery, TableSources, Taken};

use crate::harness::{Epochs, PATIENCE, begin, drop_file, failure_of, numbers_in};

/// Has never anything, and tells whenever it is asked.
struct Asked(Sender<()>);

impl Source for Asked {
    fn schema(&self) -> SchemaRef {
        Schema::empty().into()
    }

    fn begin(&mut self, _: Option<&Path>, _: Option<(u64, u64)>) -> Result<(), SinkError> {
        Ok(())
    }

    fn take(&mut self, _: u64) -> Result<Option<Taken>, SinkError> {
        Ok(self.0.send(()).map(|()| None)?)
    }
}

/// The handle is all that could stop the stream; without it the trigger still says when it looks.
#[test]
fn a_stream_without_a_handle_keeps_to_its_trigger() {
    let (asked, questions) = mpsc::channel();
    let writer = Session::new().read_stream().source(Asked(asked));
    let writer = writer.write_stream().to(Epochs::default());
    let query = writer.trigger(ProcessingTime::secs(3600)).start();
    drop(query.expect("it starts"));
    questions.recv_timeout(PATIENCE).expect("a first question");
    let second = questions.recv_timeout(Duration::from_millis(300));
    assert!(second.is_err(), "it asks again long before its trigger");
}

/// Runs until nothing more is there.
fn run(incoming: &Path, sink: &Epochs, checkpoint: &Path) -> TableQuery {
    let writer = numbers_in(incoming).write_stream().to(sink.clone());
    let writer = writer.query_name("numbers").available_now();
    let writer = writer.checkpoint_location(checkpoint.to_str().expect("UTF-8"));
    let query = writer.start().expect("it starts");
    query.await_termination().expect("it ends");
    query
}

fn drop_number(incoming: &Path, n: usize) {
    drop_file(
        incoming,
        &format!("{n:03}.json"),
        &format!("{{\"n\":{n}}}\n"),
    );
}

/// The newest epoch rots on the disk: it runs again, and those before it do not.
#[test]
fn a_damaged_epoch_runs_again_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (incoming, checkpoint) = (folder.path().join("in"), folder.path().join("checkpoint"));
    fs::create_dir(&incoming).expect("a folder");
    let sink = Epochs::default();
    for n in 0..4 {
        drop_number(&incoming, n);
        run(&incoming, &sink, &checkpoint);
    }
    // An idle run, which has time to tidy up.
    run(&incoming, &sink, &checkpoint);
    fs::write(checkpoint.join("commits/3"), "rot").expect("it can be damaged");
    drop_number(&incoming, 4);
    run(&incoming, &sink, &checkpoint);
    assert_eq!(sink.numbers(), [0, 1, 2, 3, 4]);
}

/// An epoch that a sink may have seen is the same when it runs again, whatever came meanwhile: a sink
/// that knows the number of an epoch knows its rows.
#[test]
fn an_epoch_that_runs_again_has_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (incoming, checkpoint) = (folder.path().join("in"), folder.path().join("checkpoint"));
    fs::create_dir(&incoming).expect("a folder");
    let sink = Epochs::default();
    drop_number(&incoming, 0);
    run(&incoming, &sink, &checkpoint);
    drop_number(&incoming, 1);
    sink.with(|kept| kept.failures = usize::MAX);
    let query = begin(numbers_in(&incoming), &sink, Some(&checkpoint));
    sink.wait_until(|kept| kept.failures < usize::MAX);
    query.stop().expect("it stops");
    sink.with(|kept| kept.failures = 0);
    drop_number(&incoming, 2);
    run(&incoming, &sink, &checkpoint);
    let rows = |epoch| sink.with(|kept| kept.epochs[&epoch].iter().map(|it| it.num_rows()).sum());
    assert_eq!((rows(1), rows(2)), (1_usize, 1_usize));
    assert_eq!(sink.numbers(), [0, 1, 2]);
}

/// A stop is heard while a stream waits for a sink that fails.
#[test]
fn a_stop_does_not_wait_for_a_sink_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Epochs::default();
    sink.with(|kept| kept.failures = usize::MAX);
    drop_number(folder.path(), 1);
    let query = begin(numbers_in(folder.path()), &sink, None);
    assert_eq!(failure_of(&query), "the table is locked: unlock it");
    let begun = Instant::now();
    query.stop().expect("it stops");
    // The longest wait between two tries is longer.
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(query.progress().failures > 0 && query.progress().committed_epoch.is_none());
    assert!(sink.numbers().is_empty());
}

/// The same rows of a rate, though time has gone on.
#[test]
fn a_rate_that_runs_again_has_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Epochs::default();
    let told = |sink: &Epochs| sink.with(|kept| kept.refused.clone());
    sink.with(|kept| kept.failures = usize::MAX);
    for _ in 0..2 {
        let stream = Session::new().read_stream().rate(10_000);
        let query = begin(stream.select([col("value")]), &sink, Some(folder.path()));
        failure_of(&query);
        query.stop().expect("it stops");
    }
    let refused = told(&sink);
    assert!(refused.len() >= 2 && refused[0] > 0, "{refused:?}");
    assert!(
        refused.iter().all(|rows| *rows == refused[0]),
        "{refused:?}"
    );
    assert_eq!(
        folder_names(&folder.path().join("sources/0")),
        ["0", "origin"]
    );
}

fn folder_names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = names
        .map(|name| name.expect("one").file_name().display().to_string())
        .collect();
    names.sort();
    names
}

/// After hundreds of epochs what was taken is known in fewer files, and none is taken again.
#[test]
fn what_many_epochs_took_is_known_in_few_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (incoming, checkpoint) = (folder.path().join("in"), folder.path().join("checkpoint"));
    fs::create_dir(&incoming).expect("a folder");
    let sink = Epochs::default();
    let run = |expected: usize| {
        let stream = numbers_in(&incoming).option("maxFilesPerTrigger", 1);
        let writer = stream.write_stream().to(sink.clone()).query_name("numbers");
        let writer = writer.option("checkpointLocation", checkpoint.display());
        let query = writer.available_now().start().expect("it starts");
        query.await_termination().expect("it ends");
        let mut numbers = sink.numbers();
        numbers.sort_unstable();
        let all: Vec<i64> = (0..expected as i64).collect();
        assert_eq!(numbers, all);
    };
    (0..180).for_each(|n| drop_number(&incoming, n));
    run(180);
    let records = folder_names(&checkpoint.join("sources/0"));
    assert!(records.len() < 170, "{}", records.len());
    assert!(records.iter().any(|name| name.starts_with("merged-")));
    // One that is gone is forgotten in the end; those that are there are known.
    fs::remove_file(incoming.join("000.json")).expect("a file");
    (180..250).for_each(|n| drop_number(&incoming, n));
    run(250);
    let records = folder_names(&checkpoint.join("sources/0"));
    let merged: Vec<&String> = records
        .iter()
        .filter(|it| it.starts_with("merged-"))
        .collect();
    assert_eq!(merged.len(), 1, "{records:?}");
    let merged = checkpoint.join("sources/0").join(merged[0]);
    let text = fs::read_to_string(&merged).expect("a record");
    assert!(!text.contains("000.json") && text.contains("001.json"));
    run(250);
    // Whatever rots is told, and never read as if nothing had been taken.
    fs::write(&merged, text.replace("001.json", "991.json")).expect("it can be damaged");
    let writer = numbers_in(&incoming).write_stream().to(sink.clone());
    let writer = writer.query_name("numbers");
    let told = writer
        .option("checkpointLocation", checkpoint.display())
        .start();
    let told = told.expect_err("it is damaged").to_string();
    assert!(
        told.contains("merged-") && told.contains("checksum"),
        "{told}"
    );
}
