//! What the sources take, and where they say that something is wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use snapback::{ProcessingTime, Session};
use snapback_sql::datafusion::arrow::array::{AsArray, RecordBatch};
use snapback_sql::datafusion::arrow::util::pretty::pretty_format_batches;
use snapback_sql::datafusion::logical_expr::JoinType;
use snapback_sql::prelude::*;
use snapback_sql::streams::{
    FileFormat, FilesSource, StreamError, TableProgress, TableQuery, TableSources, TableStream,
};
use snapback_sql::{IntoSchema, strings};

use crate::harness::{Epochs, PATIENCE, begin, drop_file, failure_of, numbers_in};

fn run_all(stream: TableStream, sink: &Epochs) -> TableProgress {
    let query = stream.write_stream().to(sink.clone()).available_now();
    let query = query.start().expect("it starts");
    query.await_termination().expect("it ends");
    query.progress()
}

fn table(sink: &Epochs) -> Vec<String> {
    let rows: Vec<RecordBatch> =
        sink.with(|kept| kept.epochs.values().flatten().cloned().collect());
    let table = pretty_format_batches(&rows).expect("a table").to_string();
    table.lines().map(str::to_owned).collect()
}

/// Whatever is wrong with a file, the failure names it, and where.
#[test]
fn a_malformed_file_is_named_with_its_line() {
    let long = format!("{}{{\"n\":true}}\n", "{\"n\":1}\n".repeat(5000));
    for (name, text, expected) in [
        (
            "a.json",
            "{\"n\":1}\n{\"n\":\"x\"}\n",
            "malformed at line 2",
        ),
        (
            "a.json",
            "{\"n\":1}\n\n{\"n\":1}\n{\"n\"\n",
            "malformed at line 4",
        ),
        (
            "a.json",
            "{\"n\":1} {\"n\":2}\n{\"n\":,}\n",
            "malformed at line 2",
        ),
        (
            "a.jsonl",
            "{\n\"n\":1}\n{\n\"n\":nul\n}",
            "malformed at line 4",
        ),
        ("a.ndjson", "[]", "malformed at line 1"),
        ("a.json", &long, "malformed at line 5001"),
        ("a.csv", "n,text\n1,a\nx,b\n", "malformed at line 3: "),
        ("a.csv", "n,text\n1,a\n2\n", "malformed at line 3: "),
        (
            "a.csv",
            "n,text\r\n1,a\r\n\r\nx,b\r\n",
            "malformed at line 4: ",
        ),
        (
            "a.csv",
            "n,text\n1,\"a\nb\"\nx,b\n",
            "malformed at line 4: ",
        ),
        ("a.parquet", "no rows", "malformed: "),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        drop_file(folder.path(), name, text);
        let format = match name.split_once('.') {
            Some((_, "csv")) => FileFormat::Csv,
            #[cfg(feature = "parquet")]
            Some((_, "parquet")) => FileFormat::Parquet,
            #[cfg(not(feature = "parquet"))]
            Some((_, "parquet")) => continue,
            _ => FileFormat::Json,
        };
        let stream = Session::new().read_stream();
        let stream = stream.files(folder.path(), format, "n BIGINT, text STRING");
        let query = begin(stream.expect("a schema"), &Epochs::default(), None);
        let failure = failure_of(&query);
        query.stop().expect("it stops while it waits");
        assert!(
            failure.contains(name) && failure.contains(expected),
            "{text:.60}: {failure}"
        );
    }
}

#[test]
fn a_permissive_stream_leaves_a_malformed_file_out_and_counts_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (incoming, checkpoint) = (folder.path().join("in"), folder.path().join("checkpoint"));
    fs::create_dir(&incoming).expect("a folder");
    let sink = Epochs::default();
    drop_file(&incoming, "1.json", "{\"n\":1}\n");
    drop_file(&incoming, "2.json", "{\"n\":2}\n{\"n\":\"two\"}\n");
    drop_file(&incoming, "3.json", "{\"n\":3}\n");
    let run = || {
        let stream = numbers_in(&incoming).option("mode", "PERMISSIVE");
        let stream = stream.option("cleanSource", "delete");
        let writer = stream.write_stream().to(sink.clone()).available_now();
        let writer = writer.option("checkpointlocation", checkpoint.display());
        let query = writer.start().expect("it starts");
        query.await_termination().expect("it ends");
        query.progress().skipped
    };
    assert_eq!(run(), 1);
    // It is not looked at again, and it alone stays.
    assert_eq!(run(), 0);
    let left = fs::read_dir(&incoming).expect("a folder");
    let left: Vec<_> = left.map(|file| file.expect("one").file_name()).collect();
    assert_eq!(left, ["2.json"]);
    let mut numbers = sink.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 3]);
}

/// As Spark does: `maxFilesPerTrigger` files an epoch, the oldest first.
#[test]
fn an_epoch_has_so_many_files_or_bytes_oldest_first() {
    for (key, value, expected) in [
        ("maxFilesPerTrigger", "2", vec![2, 2, 1]),
        ("maxBytesPerTrigger", "20", vec![2, 2, 1]),
        ("maxBytesPerTrigger", "1", vec![1; 5]),
        ("maxBytesPerTrigger", "1 KiB", vec![5]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for n in 0..5_u64 {
            // Younger ones have the smaller names.
            let name = format!("{}.json", 9 - n);
            drop_file(folder.path(), &name, &format!("{{\"n\":{n}}}\n"));
            let file = fs::File::open(folder.path().join(name)).expect("a file");
            let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000 + n);
            file.set_modified(time).expect("a time");
        }
        let sink = Epochs::default();
        run_all(numbers_in(folder.path()).option(key, value), &sink);
        assert_eq!(sink.numbers(), [0, 1, 2, 3, 4], "{key} {value}");
        let rows = |rows: &Vec<RecordBatch>| rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        let epochs: Vec<usize> = sink.with(|kept| kept.epochs.values().map(rows).collect());
        assert_eq!(epochs, expected, "{key} {value}");
    }
}

/// Columns go by their names, in whatever order a file has them.
#[test]
fn columns_of_files_go_by_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    drop_file(folder.path(), "1.csv", "text,more,n\n\"a,b\",x,1\n,y,2\n");
    drop_file(folder.path(), "2.csv", "n\n3\n");
    let stream = Session::new().read_stream();
    let stream = stream.files(
        folder.path(),
        FileFormat::Csv,
        "n BIGINT NOT NULL, text STRING",
    );
    let sink = Epochs::default();
    run_all(stream.expect("a schema"), &sink);
    let expected = [
        "+---+------+",
        "| n | text |",
        "+---+------+",
        "| 1 | a,b  |",
        "| 2 |      |",
        "| 3 |      |",
        "+---+------+",
    ];
    assert_eq!(table(&sink), expected);
}

#[test]
fn columns_can_be_those_of_the_files_that_are_there() {
    for (format, name, text) in [
        (
            FileFormat::Json,
            "1.json",
            "{\"n\":1,\"x\":1.5}\n{\"n\":2,\"z\":null}\n",
        ),
        (FileFormat::Csv, "1.csv", "n,x,z\n1,1.5,\n2,,\n"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let none = FilesSource::inferred(folder.path(), format).expect_err("nothing is there");
        assert!(none.to_string().contains("give the schema"), "{none}");
        drop_file(folder.path(), name, text);
        let stream = Session::new().read_stream();
        let stream = stream
            .files_inferred(folder.path(), format)
            .expect("columns");
        let stream = stream.select([col("n"), col("x"), col("z")]);
        let schema = stream.schema().expect("columns");
        let written = snapback_sql::ddl::write(&schema);
        assert_eq!(written, "n BIGINT, x DOUBLE, z STRING", "{format}");
        let sink = Epochs::default();
        run_all(stream, &sink);
        assert_eq!(sink.numbers(), [1, 2], "{format}");
    }
}

#[test]
fn options_are_told_at_the_start() {
    let refused = |stream: TableStream| -> String {
        let writer = stream.write_stream().to(Epochs::default());
        let error = writer.start().expect_err("it is refused");
        assert!(matches!(error, StreamError::Option(_)), "{error}");
        error.to_string()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let files = || numbers_in(folder.path());
    let rate = || Session::new().read_stream().rate(1);
    for (stream, expected) in [
        (
            files().option("maxFilePerTrigger", 1),
            "did you mean `maxFilesPerTrigger`?",
        ),
        (
            files().option("maxFilesPerTrigger", 0),
            "cannot be `0`: it is a number, 1 at least",
        ),
        (
            files().option("mode", "lenient"),
            "`failFast` or `permissive`",
        ),
        (
            files().option("cleanSource", "archive"),
            "`off` or `delete`",
        ),
        (
            files().option("maxBytesPerTrigger", "much"),
            "a size, such as `64 MiB`",
        ),
        (
            files().option("rowsPerSecond", 1),
            "has checkpointLocation, maxFilesPerTrigger",
        ),
        (
            rate().option("rowsPerSecond", "0"),
            "a number from 1 to 1000000000",
        ),
        (
            rate().option("rampUpTime", "2 days"),
            "a duration of a day at most",
        ),
    ] {
        let told = refused(stream);
        assert!(told.contains(expected), "{told}");
    }
}

/// Two runs count on from each other, also with a ramp; what decides the rows cannot change.
#[test]
fn a_ramp_goes_on_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Epochs::default();
    let stream = |ramp| {
        let stream = Session::new().read_stream().rate(100_000);
        let stream = stream
            .option("rampUpTime", ramp)
            .option("ROWSPERSECOND", 200_000);
        stream.select([col("value"), col("timestamp")])
    };
    for run in 1..3 {
        let before = sink.numbers().len();
        let query = begin(stream("10s"), &sink, Some(folder.path()));
        sink.wait_until(|kept| {
            let rows = kept.epochs.values().flatten();
            rows.map(RecordBatch::num_rows).sum::<usize>() > before + 50
        });
        query.stop().expect("it stops");
        let numbers = sink.numbers();
        let expected: Vec<i64> = (0..numbers.len() as i64).collect();
        assert_eq!(numbers, expected, "run {run}");
    }
    let changed = stream("5s")
        .write_stream()
        .to(sink.clone())
        .query_name("numbers");
    let changed = changed.option("checkpointLocation", folder.path().display());
    let told = changed.start().expect_err("it is refused").to_string();
    assert!(told.contains("200000 rows a second"), "{told}");
}

#[test]
fn a_stream_is_joined_with_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    drop_file(
        folder.path(),
        "1.json",
        "{\"n\":1,\"text\":\"a\"}\n{\"n\":2,\"text\":\"b\"}\n",
    );
    // By columns of two names, and by one that both have.
    for key in ["letter", "text"] {
        let names = vec![
            (key, strings(["b", "a"])),
            ("name", strings(["Beta", "Alpha"])),
        ];
        let names = DataFrame::from_columns(names).expect("a table");
        let stream = numbers_in(folder.path());
        let stream = stream.join(names, JoinType::Inner, &[("text", key)]);
        let sink = Epochs::default();
        run_all(
            stream.sql("SELECT n, name, text FROM stream ORDER BY n"),
            &sink,
        );
        let rows = sink.with(|kept| kept.epochs[&0][0].clone());
        let names = rows.column(1).as_string::<i32>().iter().flatten();
        assert_eq!(names.collect::<Vec<_>>(), ["Alpha", "Beta"], "{key}");
    }
}

/// A checkpoint belongs to the files of one directory.
#[test]
fn a_checkpoint_of_another_source_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let writer = |stream: TableStream| {
        let writer = stream.write_stream().to(Epochs::default()).available_now();
        writer
            .option("checkpointLocation", checkpoint.display())
            .start()
    };
    let files = |name: &str| -> TableStream {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        drop_file(&path, "1.json", "{\"n\":1}\n");
        numbers_in(&path)
    };
    let first: TableQuery = writer(files("one")).expect("it starts");
    first.await_termination().expect("it ends");
    for other in [files("other"), Session::new().read_stream().rate(1)] {
        let told = writer(other).expect_err("it is refused").to_string();
        assert!(told.contains("checkpointLocation"), "{told}");
    }
    // Nothing was changed by them.
    writer(files("one"))
        .expect("it starts")
        .await_termination()
        .expect("it ends");
    let schema = "n BIGINT".into_schema().expect("a schema");
    let source = FilesSource::new(
        folder.path().join("one"),
        FileFormat::Json,
        Arc::clone(&schema),
    );
    let query = Session::new().read_stream().source(source).write_stream();
    let query = query
        .to(Epochs::default())
        .trigger(ProcessingTime::millis(1))
        .start();
    let query = query.expect("it starts");
    let over = query.await_termination_timeout(Duration::from_millis(50));
    assert!(!over.expect("nothing is wrong"));
    query.stop().expect("it stops");
    assert!(
        query
            .await_termination_timeout(PATIENCE)
            .expect("it has ended")
    );
    assert!(Path::new(&checkpoint).join("sources/0/origin").is_file());
}
