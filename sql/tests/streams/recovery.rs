//! What a stream does after a crash, and what it leaves alone.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use snapback::{ProcessingTime, Session};
use snapback_sql::datafusion::arrow::datatypes::{Schema, SchemaRef};
use snapback_sql::sink::SinkError;
use snapback_sql::streams::{Source, TableQuery, TableSources, Taken};

use crate::harness::{Epochs, PATIENCE, begin, drop_file, numbers_in};

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
