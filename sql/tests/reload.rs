//! Tables that are replaced while requests are served.

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use snapback::{Mode, Session};
use snapback_sql::prelude::*;
use snapback_sql::{Result, SqlError, context};
use support::{Client, reader_of, serve};

/// Both files get rows that all carry one number, each file in one step.
fn write(folder: &Path, version: usize, rows: usize) {
    for name in ["a", "b"] {
        let mut text = String::from("k,v\n");
        (0..rows).for_each(|k| text.push_str(&format!("{k},{version}\n")));
        let new = folder.join(format!("{name}.new"));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, folder.join(format!("{name}.csv"))).expect("a file");
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

fn tables(folder: &Path) -> SessionContext {
    let tables = context();
    for name in ["a", "b"] {
        let path = folder.join(format!("{name}.csv"));
        let path = path.to_str().expect("a path in UTF-8");
        wait(tables.register_csv(name, path, CsvReadOptions::new())).expect("a table");
    }
    tables
}

/// Twice joined with one table, a request sees one version of it; no request fails, and a new version
/// is seen soon.
#[test]
fn a_reload_under_load_loses_and_mixes_nothing() -> Result<()> {
    let once = "SELECT concat(x.v, '/', y.v) AS r FROM requests \
        JOIN a x ON requests.n = x.k JOIN a y ON requests.n + 1 = y.k";
    let sorted = format!("{once} ORDER BY r");
    for (mode, query) in [
        (Mode::Continuous, once),
        (Mode::Distributed, once),
        (Mode::Server, &sorted),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), 0, 100);
        let replies = reader_of(mode, &Session::new(), "api")
            .load()
            .expect("good options")
            .columns_in(&tables(folder.path()))
            .parse_request("n BIGINT")?
            .sql(query)?
            .reload_tables(Duration::from_millis(10))
            .make_reply(col("r"))?;
        let service = serve(replies.write_stream());
        let port = service.port();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| ask_until(port, &over)))
                .collect();
            for version in 1..=5 {
                write(folder.path(), version, 100);
                await_version(port, version);
            }
            over.store(true, Ordering::Release);
            for client in clients {
                assert!(client.join().expect("no request fails") > 0);
            }
        });
        // A file that cannot be read leaves the table as it was.
        fs::write(folder.path().join("a.new"), "k,v\n1,2,3,4\n").expect("a file");
        fs::rename(folder.path().join("a.new"), folder.path().join("a.csv")).expect("a file");
        let mut client = service.client();
        for _ in 0..200 {
            assert_eq!(client.post("/api", r#"{"n":1}"#).text(), "5/5", "{mode:?}");
        }
        write(folder.path(), 6, 100);
        await_version(port, 6);
    }
    Ok(())
}

/// Asks until it is over; each reply is of one version, and none is older than the one before.
fn ask_until(port: u16, over: &AtomicBool) -> usize {
    let mut client = Client::connect(("127.0.0.1", port));
    let (mut asked, mut newest) = (0, 0);
    while !over.load(Ordering::Acquire) {
        let answer = client.post("/api", r#"{"n":7}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (x, y) = answer.text().split_once('/').expect("two versions");
        assert_eq!(x, y, "one version");
        let version: usize = x.parse().expect("a number");
        assert!(version >= newest, "{version} after {newest}");
        newest = version;
        asked += 1;
    }
    asked
}

fn await_version(port: u16, version: usize) {
    let mut client = Client::connect(("127.0.0.1", port));
    let begin = Instant::now();
    let expected = format!("{version}/{version}");
    while client.post("/api", r#"{"n":3}"#).text() != expected {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "version {version}"
        );
    }
}

/// Who removes a file before writing it anew leaves a while without it; nothing is forgotten in it, also
/// when another table changes meanwhile.
#[test]
fn a_file_that_is_gone_is_not_an_empty_table() -> Result<()> {
    let query = "SELECT concat(a.v, '/', b.v) AS r FROM requests \
        LEFT JOIN a ON requests.n = a.k LEFT JOIN b ON requests.n = b.k";
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 1, 1);
    let replies = reader_of(Mode::Continuous, &Session::new(), "api")
        .load()
        .expect("good options")
        .columns_in(&tables(folder.path()))
        .parse_request("n BIGINT")?
        .sql(query)?
        .reload_tables(Duration::from_millis(5))
        .make_reply(col("r"))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    let mut ask = || client.post("/api", r#"{"n":0}"#).text().to_owned();
    assert_eq!(ask(), "1/1");
    let (a, b) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
    fs::remove_file(&a).expect("it was there");
    fs::write(&b, "k,v\n0,2\n0,2\n").expect("a file");
    // Many looks long: what is not seen now would have been.
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        assert_eq!(ask(), "1/1");
    }
    write(folder.path(), 3, 1);
    let until = Instant::now() + Duration::from_secs(10);
    while ask() != "3/3" {
        assert!(Instant::now() < until, "the file is back, and is not seen");
    }
    Ok(())
}

#[test]
fn tables_in_memory_have_no_files_to_look_at() -> Result<()> {
    let tables = context();
    let table = DataFrame::from_columns(vec![("k", snapback_sql::strings(["a"]))])?;
    tables.register_table("t", table.into_view())?;
    let error = snapback::Pipeline::detached()
        .columns_in(&tables)
        .parse_request("s STRING")?
        .sql("SELECT k AS r FROM requests JOIN t ON s = k")?
        .reload_tables(Duration::from_secs(1))
        .make_reply(col("r"))
        .err();
    assert!(matches!(error, Some(SqlError::NoFiles)), "{error:?}");
    Ok(())
}
