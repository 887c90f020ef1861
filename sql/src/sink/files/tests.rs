use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use tempfile::TempDir;

use super::*;
use crate::durable::{FAULT, Fault};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("epoch", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
    ]))
}

/// Three rows of an epoch.
fn rows(epoch: i64) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ä\"\n"), None, Some("")]));
    let epochs: ArrayRef = Arc::new(Int64Array::from(vec![epoch; 3]));
    RecordBatch::try_new(schema(), vec![epochs, texts]).unwrap()
}

fn opening(resume: Resume) -> Opening {
    Opening {
        query: "log".to_owned(),
        query_id: matches!(resume, Resume::After(_)).then(|| "the-query".to_owned()),
        run_id: "0192f5a1b2c3".to_owned(),
        resume,
    }
}

/// A sink whose segments have three files, and of which 6 are merged soon.
fn sink(directory: &TempDir, format: FileFormat) -> FileSink {
    FileSink::new(directory.path().join("rows"), format).compact_files(3)
}

fn open(directory: &TempDir, format: FileFormat, resume: Resume) -> FileSink {
    let mut sink = sink(directory, format);
    sink.open(&opening(resume), &schema()).unwrap();
    sink
}

/// The epochs of the rows that a reader of all files sees, sorted, and how many files there are.
fn seen(directory: &TempDir, format: FileFormat) -> (Vec<i64>, usize) {
    let encoding = Encoding::new(format);
    let mut paths = Vec::new();
    glob(
        &directory.path().join("rows"),
        encoding.extension(),
        &mut paths,
    );
    let files = paths.len();
    let mut epochs = Vec::new();
    for rows in format::read_all(paths, encoding, &schema()) {
        let rows = rows.expect("every file that can be seen is whole");
        epochs.extend_from_slice(rows.column(0).as_primitive::<Int64Type>().values());
    }
    epochs.sort_unstable();
    (epochs, files)
}

/// As readers do it: `**/*.extension`, without what begins with a dot or an underscore.
fn glob(directory: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            glob(&path, extension, paths);
        } else if path.extension().is_some_and(|its| its == extension) {
            paths.push(path);
        }
    }
}

/// Three rows for each of these epochs.
fn thrice(epochs: impl IntoIterator<Item = i64>) -> Vec<i64> {
    epochs.into_iter().flat_map(|epoch| [epoch; 3]).collect()
}

const FORMATS: &[FileFormat] = &[
    #[cfg(feature = "parquet")]
    FileFormat::Parquet,
    FileFormat::Json,
];

#[test]
fn rows_are_there_once_and_small_files_become_larger_ones() {
    for &format in FORMATS {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = open(&directory, format, Resume::After(None));
        for epoch in 0..10 {
            sink.write(epoch, &[rows(epoch as i64)]).unwrap();
            assert_eq!(seen(&directory, format).0, thrice(0..=epoch as i64));
            sink.committed(epoch).unwrap();
            assert_eq!(seen(&directory, format).0, thrice(0..=epoch as i64));
        }
        // Three segments of three epochs, merged, and the one that is being written.
        assert_eq!(seen(&directory, format).1, 4, "{format}");
        // An epoch that nothing came of leaves no file.
        sink.write(10, &[rows(0).slice(0, 0)]).unwrap();
        assert_eq!(seen(&directory, format).1, 4);
    }
}

#[test]
fn what_the_checkpoint_does_not_have_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let format = FileFormat::Json;
    let mut sink = open(&directory, format, Resume::After(None));
    for epoch in 0..5 {
        sink.write(epoch, &[rows(epoch as i64)]).unwrap();
        // Again, as after a commit that failed: more rows of one epoch.
        sink.write(epoch, &[rows(epoch as i64)]).unwrap();
    }
    sink.committed(2).unwrap();
    let mut sink = open(&directory, format, Resume::After(Some(2)));
    let twice = |epochs: std::ops::RangeInclusive<i64>| thrice(epochs.flat_map(|epoch| [epoch; 2]));
    assert_eq!(seen(&directory, format).0, twice(0..=2));
    sink.write(3, &[rows(3)]).unwrap();
    assert_eq!(seen(&directory, format).0.len(), 21);
    let _ = open(&directory, format, Resume::After(None));
    assert_eq!(seen(&directory, format), (vec![], 0));
}

/// Two processes, one of which replaces the other: without a checkpoint nothing keeps them apart.
#[test]
fn two_without_a_checkpoint_do_not_touch_what_the_other_writes() {
    let directory = tempfile::tempdir().unwrap();
    let format = FileFormat::Json;
    let begin = |run: &str| {
        let mut sink = sink(&directory, format);
        let opening = Opening {
            run_id: run.to_owned(),
            ..opening(Resume::Append)
        };
        sink.open(&opening, &schema()).unwrap();
        sink
    };
    let mut old = begin("old");
    old.write(0, &[rows(0)]).unwrap();
    let mut new = begin("new");
    for epoch in 0..8 {
        new.write(epoch, &[rows(1)]).unwrap();
        old.write(epoch + 1, &[rows(0)]).unwrap();
        new.committed(epoch).unwrap();
        old.committed(epoch + 1).unwrap();
    }
    let epochs = seen(&directory, format).0;
    assert_eq!(epochs, [vec![0; 27], vec![1; 24]].concat());
}

#[test]
fn without_a_checkpoint_all_stays() {
    let directory = tempfile::tempdir().unwrap();
    let format = FileFormat::Json;
    for run in 0..4 {
        let mut sink = open(&directory, format, Resume::Append);
        sink.write(0, &[rows(run)]).unwrap();
        sink.committed(0).unwrap();
    }
    assert_eq!(seen(&directory, format).0, thrice(0..4));
}

/// What a run does: three epochs, each written, then committed, and a bound on the disk if wanted.
fn run(sink: &mut FileSink, committed: &mut Option<u64>, end: u64) -> Result<(), SinkError> {
    sink.open(&opening(Resume::After(*committed)), &schema())?;
    for epoch in committed.map_or(0, |epoch| epoch + 1)..end {
        sink.write(epoch, &[rows(epoch as i64)])?;
        *committed = Some(epoch);
        sink.committed(epoch)?;
    }
    Ok(())
}

#[test]
fn a_process_may_die_before_any_step() {
    for &format in FORMATS {
        let mut steps = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let mut committed = None;
            FAULT.set(Some(Fault::Dies(steps)));
            let ran = run(&mut sink(&directory, format), &mut committed, 8);
            FAULT.set(None);
            // At once, with nobody there to mend it: what was committed once, and at most the epoch
            // that was being written beside.
            let committed_rows = thrice(0..committed.map_or(0, |epoch| epoch as i64 + 1));
            let (mut now, _) = seen(&directory, format);
            if now.len() > committed_rows.len() {
                now.truncate(now.len() - 3);
            }
            assert_eq!(now, committed_rows, "{format}, dead after {steps} steps");
            // The next run mends it, and goes on.
            let mut again = sink(&directory, format);
            again
                .open(&opening(Resume::After(committed)), &schema())
                .unwrap();
            assert_eq!(
                seen(&directory, format).0,
                committed_rows,
                "{format}, {steps} steps"
            );
            run(&mut again, &mut committed, 8).unwrap();
            assert_eq!(
                seen(&directory, format).0,
                thrice(0..8),
                "{format}, {steps} steps"
            );
            let hidden = |path: &Path| {
                fs::read_dir(path)
                    .unwrap()
                    .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
                    .any(|name| name.starts_with('.'))
            };
            assert!(!hidden(&directory.path().join("rows")));
            if ran.is_ok() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 60, "{steps} steps were tried");
    }
}

#[test]
fn any_step_may_fail_and_is_tried_again() {
    let format = FileFormat::Json;
    let mut steps = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = sink(&directory, format).max_disk_bytes(1 << 20);
        FAULT.set(Some(Fault::Fails(steps)));
        while sink.open(&opening(Resume::After(None)), &schema()).is_err() {}
        for epoch in 0..8 {
            while sink.write(epoch, &[rows(epoch as i64)]).is_err() {}
            // What fails here is only told.
            let _ = sink.committed(epoch);
            assert_eq!(
                seen(&directory, format).0,
                thrice(0..=epoch as i64),
                "{steps} steps"
            );
        }
        sink.committed(7).unwrap();
        assert_eq!(seen(&directory, format).0, thrice(0..8), "{steps} steps");
        if FAULT.get().is_some() {
            break;
        }
        steps += 1;
    }
    FAULT.set(None);
    assert!(steps > 60, "{steps} steps were tried");
}

#[test]
fn the_oldest_rows_leave_when_there_are_too_many_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let format = FileFormat::Json;
    let mut sink = sink(&directory, format).max_disk_bytes(700);
    sink.open(&opening(Resume::After(None)), &schema()).unwrap();
    for epoch in 0..40 {
        sink.write(epoch, &[rows(epoch as i64)]).unwrap();
        sink.committed(epoch).unwrap();
        let (epochs, _) = seen(&directory, format);
        let oldest = epochs[0];
        assert_eq!(
            epochs,
            thrice(oldest..=epoch as i64),
            "the newest are there, whole"
        );
    }
    assert!((3..=33).contains(&seen(&directory, format).0.len()));
    // The newest file stays, whatever it has.
    let mut sink = self::sink(&directory, format).max_disk_bytes(1);
    sink.open(&opening(Resume::After(Some(39))), &schema())
        .unwrap();
    sink.committed(39).unwrap();
    assert!(seen(&directory, format).0.ends_with(&[39; 3]));
}

#[test]
fn a_directory_that_is_not_its_own_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let format = FileFormat::Json;
    let _ = open(&directory, format, Resume::After(None));
    let refused = |sink: &mut FileSink, opening: &Opening, schema: &SchemaRef| {
        sink.open(opening, schema)
            .expect_err("it is not its own")
            .to_string()
    };
    let path = directory.path().join("rows").display().to_string();
    let message = refused(
        &mut sink(&directory, format),
        &opening(Resume::Append),
        &schema(),
    );
    assert_eq!(
        message,
        format!(
            "`{path}` has rows of the query with the id the-query, and these are of queries without \
             a checkpoint: give the sink another directory, or the query the checkpoint that it had"
        )
    );
    let other = Opening {
        query_id: Some("another".to_owned()),
        ..opening(Resume::After(None))
    };
    let message = refused(&mut sink(&directory, format), &other, &schema());
    assert!(message.contains("the id the-query, and these are of the query with the id another"));
    let narrow: SchemaRef = Arc::new(schema().project(&[0]).unwrap());
    let message = refused(
        &mut sink(&directory, format),
        &opening(Resume::After(None)),
        &narrow,
    );
    assert!(
        message.contains("files whose columns differ: [[\"epoch\",\"Int64\",false],"),
        "{message}"
    );
    #[cfg(feature = "parquet")]
    {
        let mut other = sink(&directory, FileFormat::Parquet);
        let message = refused(&mut other, &opening(Resume::After(None)), &schema());
        assert!(message.contains("files whose format differ: \"json\" there, \"parquet\" now"));
    }
    fs::write(directory.path().join("rows/_snapback/metadata"), "{").unwrap();
    let message = refused(
        &mut sink(&directory, format),
        &opening(Resume::After(None)),
        &schema(),
    );
    assert!(message.contains("metadata` is damaged (EOF"), "{message}");

    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let message = refused(
        &mut FileSink::new(&file, format),
        &opening(Resume::Append),
        &schema(),
    );
    assert_eq!(
        message,
        format!(
            "`{}` is a file: a sink of files needs a directory of its own",
            file.display()
        )
    );
}
