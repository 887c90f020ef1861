//! A process that dies before any step on the disk, with files on both ends of the stream.

use std::fs;
use std::path::{Path, PathBuf};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use snapback::Session;

use super::query::Shared;
use super::{FileFormat, TableSources, TableWriter};
use crate::durable::{FAULT, Fault, sync_dir};
use crate::sink::{BatchSink, FileFormat as SinkFormat, FileSink, Opening, SinkError};

/// A sink with a step behind its write: where a process dies between the sink and the checkpoint.
struct Stepping(FileSink, PathBuf);

impl BatchSink for Stepping {
    fn open(&mut self, opening: &Opening, schema: &SchemaRef) -> Result<(), SinkError> {
        self.0.open(opening, schema)
    }

    fn write(&mut self, epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
        self.0.write(epoch, rows)?;
        sync_dir(&self.1)
    }

    fn committed(&mut self, epoch: u64) -> Result<(), SinkError> {
        // Behind the checkpoint, and before anybody tidies up.
        sync_dir(&self.1)?;
        self.0.committed(epoch)
    }
}

fn writer(folder: &Path) -> TableWriter {
    let stream = Session::new().read_stream();
    let stream = stream
        .files(folder.join("in"), FileFormat::Json, "n BIGINT")
        .unwrap()
        .option("maxFilesPerTrigger", 2)
        .option("cleanSource", "delete");
    let sink = FileSink::new(folder.join("out"), SinkFormat::Json);
    let writer = stream.write_stream().to(Stepping(sink, folder.to_owned()));
    writer.checkpoint_location(folder.join("checkpoint").to_str().unwrap())
}

/// Runs epochs until there is nothing more, or the process dies; whether it did not.
fn run(folder: &Path) -> bool {
    let Ok((mut engine, opening)) = writer(folder).prepare() else {
        return false;
    };
    let (shared, _stopped) = Shared::new(opening, &engine);
    let mut open = None;
    loop {
        match engine.step(&mut open, &shared).expect("the plan is good") {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => return false,
        }
    }
}

/// The numbers in all files that can be seen, sorted.
fn numbers(directory: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            numbers.extend(self::numbers(&path));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let digits = text.split(|c: char| !c.is_ascii_digit());
        numbers.extend(digits.filter_map(|n| n.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    numbers
}

fn put(folder: &Path, n: u64) {
    fs::write(
        folder.join(format!("in/{n}.json")),
        format!("{{\"n\":{n}}}\n"),
    )
    .unwrap();
}

#[test]
fn a_process_may_die_before_any_step() {
    let mut steps = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        fs::create_dir(folder.join("in")).unwrap();
        (0..5).for_each(|n| put(folder, n));
        FAULT.set(Some(Fault::Dies(steps)));
        let ran = run(folder);
        let has_died = matches!(FAULT.get(), Some(Fault::Dies(0)));
        FAULT.set(None);
        // What comes meanwhile is not of the epoch that runs again.
        put(folder, 5);
        assert!(run(folder), "dead after {steps} steps");
        let expected: Vec<u64> = (0..6).collect();
        assert_eq!(
            numbers(&folder.join("out")),
            expected,
            "dead after {steps} steps"
        );
        if ran && !has_died {
            // Nobody died: all that was taken is deleted.
            assert!(numbers(&folder.join("in")).is_empty());
            break;
        }
        steps += 1;
    }
    assert!(steps > 30, "{steps}");
}
