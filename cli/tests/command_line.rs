//! What is wrong with a command line is told, with the way out.

use std::fs;
use std::process::Command;

#[test]
fn what_cannot_be_looked_at_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name, text| fs::write(folder.path().join(name), text).expect("a file");
    write("zips.csv", "zip,city\n10115,Berlin\n");
    write("notes.txt", "what is this?");
    write("odd.json", r#"[{"a":"x"},{"a":1}]"#);
    write(
        "service.yaml",
        "services: {my_api: {listen: localhost:0/my_api, schema: n INT, sql: SELECT n FROM requests}}",
    );
    for (arguments, expected) in [
        (&["run", "none.yaml"][..], "cannot read `none.yaml`"),
        (&["lint", "none.yaml"], "cannot read `none.yaml`"),
        (&["checkpoint", "none"], "none"),
        (&["sql", "SELECT 1 AS n FROM request"], "the query: "),
        (
            &["sql", "SELECT foo FROM requests", "--schema", "foo STRNG"],
            "--schema: ",
        ),
        (
            &[
                "sql",
                "SELECT foo FROM requests",
                "--schema",
                "foo INT",
                "--reply",
                "bar",
            ],
            "--reply: ",
        ),
        (
            &["sql", "SELECT 1", "--table", "zips"],
            "expected a name, `=` and a value",
        ),
        (
            &["sql", "SELECT 1", "--table", "zips=none.csv"],
            "--table zips: cannot read",
        ),
        (
            &["sql", "SELECT 1", "--option", "numPartition=1"],
            "did you mean `numPartitions`?",
        ),
        (
            &["sql", "SELECT 1", "--listen", "localhost"],
            "the port is missing",
        ),
        (
            &["sql", "SELECT 1", "--sample", "none.json"],
            "cannot read the sample",
        ),
        (
            &["sql", "SELECT foo FROM zip", "--table", "zips=zips.csv"],
            "table 'zip' not found: there are `requests`, `zips`; add others by --table",
        ),
        (
            &["sql", "SELECT character_length(foo) AS n FROM requests"],
            "told by --schema 'foo STRING, bar INT'",
        ),
        (
            &["sql", "SELECT 1", "--table", "notes=notes.txt"],
            "let its name end so",
        ),
        (
            &["sql", "SELECT 1", "--reload", "10s"],
            "add --table NAME=FILE, or leave it out",
        ),
        (
            &["sql", "SELECT 1", "--processing-time", "1s"],
            "add --mode distributed or --mode server",
        ),
        (
            &["sql", "SELECT 1", "--option", "port=80"],
            "`port` is told by --listen",
        ),
        (
            &["sql", "SELECT 1", "--trigger", "1"],
            "Add the unit, as `1s` or `1ms`",
        ),
        (
            &["sql", "SELECT a FROM requests", "--sample", "odd.json"],
            "`a` is 1 in one request, and STRING by the others",
        ),
        (
            &[
                "sql",
                "SELECT count(*) AS n FROM requests",
                "--schema",
                "foo INT",
            ],
            "server mode will run it, over the requests of a micro-batch; as a window",
        ),
        (
            &["explain", "service.yaml", "other"],
            "the file has no service `other`, but `my_api`",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_snapback"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
