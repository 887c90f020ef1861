//! What the tests of streams share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use snapback::{ProcessingTime, Session};
use snapback_sql::datafusion::arrow::array::{AsArray, RecordBatch};
use snapback_sql::datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use snapback_sql::prelude::*;
use snapback_sql::sink::{BatchSink, Opening, Resume, SinkError};
use snapback_sql::streams::{FileFormat, TableQuery, TableSources, TableStream};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps what each epoch wrote last; fails as often as it is told to.
#[derive(Clone, Default)]
pub(crate) struct Epochs(Arc<(Mutex<Kept>, Condvar)>);

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) epochs: BTreeMap<u64, Vec<RecordBatch>>,
    pub(crate) resumed: Vec<Resume>,
    pub(crate) failures: usize,
    /// How many rows each write had that failed.
    pub(crate) refused: Vec<usize>,
}

impl Epochs {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        let (kept, changed) = &*self.0;
        let result = look(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
        result
    }

    pub(crate) fn wait_until(&self, mut holds: impl FnMut(&Kept) -> bool) {
        let (kept, changed) = &*self.0;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(kept, PATIENCE, |kept| !holds(kept));
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out());
    }

    /// The first column of all epochs, as numbers.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        self.with(|kept| {
            let batches = kept.epochs.values().flatten();
            let values = batches
                .flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec());
            values.collect()
        })
    }
}

impl BatchSink for Epochs {
    fn open(&mut self, opening: &Opening, _schema: &SchemaRef) -> Result<(), SinkError> {
        self.with(|kept| {
            kept.resumed.push(opening.resume);
            if let Resume::After(committed) = opening.resume {
                kept.epochs.retain(|epoch, _| Some(*epoch) <= committed);
            }
        });
        Ok(())
    }

    fn write(&mut self, epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
        self.with(|kept| {
            if kept.failures > 0 {
                kept.failures -= 1;
                kept.refused
                    .push(rows.iter().map(RecordBatch::num_rows).sum());
                return Err("the table is locked: unlock it".into());
            }
            kept.epochs.insert(epoch, rows.to_vec());
            Ok(())
        })
    }
}

pub(crate) fn begin(stream: TableStream, sink: &Epochs, checkpoint: Option<&Path>) -> TableQuery {
    let writer = stream.write_stream().to(sink.clone()).query_name("numbers");
    let writer = match checkpoint {
        Some(path) => writer.checkpoint_location(path.to_str().expect("UTF-8")),
        None => writer,
    };
    let writer = writer.trigger(ProcessingTime::millis(5));
    writer.start().expect("it starts")
}

/// Writes a file as one should: whole, and then renamed.
pub(crate) fn drop_file(directory: &Path, name: &str, text: &str) {
    let hidden = directory.join(format!(".{name}"));
    fs::write(&hidden, text).expect("it can be written");
    fs::rename(hidden, directory.join(name)).expect("it can be renamed");
}

pub(crate) fn numbers_in(directory: &Path) -> TableStream {
    let stream = Session::new().read_stream();
    let stream = stream.files(directory, FileFormat::Json, "n BIGINT, text STRING");
    stream.expect("a schema").filter(col("n").is_not_null())
}

pub(crate) fn wait_for<T>(
    work: impl Future<Output = snapback_sql::datafusion::error::Result<T>>,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(work).expect("it can be read")
}

/// What is in the way of a stream, as soon as something is.
pub(crate) fn failure_of(query: &TableQuery) -> String {
    let begin = Instant::now();
    loop {
        if let Some(failure) = query.progress().failure {
            return failure;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing is in the way");
        std::thread::yield_now();
    }
}
