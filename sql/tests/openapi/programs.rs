//! A validator reads the documents, and a fuzzer holds services against them.
//!
//! Both come from PyPI into a virtual environment in the target folder, once.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use snapback::Row;
use snapback_sql::Result;
use snapback_sql::prelude::*;

use crate::support::{Service, requests, serve};

/// What is installed, in the versions with which the tests are known to pass.
const PACKAGES: [&str; 2] = ["openapi-spec-validator==0.9.0", "schemathesis==4.32.5"];

/// The folder of the programs; a test without them says why, and ends.
fn programs(test: &str) -> Option<&'static Path> {
    static PROGRAMS: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    match PROGRAMS.get_or_init(install) {
        Ok(folder) => Some(folder),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
            None
        }
    }
}

fn install() -> std::result::Result<PathBuf, String> {
    // A new list of packages gets a new environment.
    let name = PACKAGES.join("-").replace(['=', '.'], "");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (bin, done) = (folder.join("bin"), folder.join("done"));
    if done.is_file() {
        return Ok(bin);
    }
    let folder = folder.display().to_string();
    run(Command::new("python3").args(["-m", "venv", "--clear", &folder]))?;
    let mut pip = Command::new(bin.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    run(pip.args(PACKAGES))?;
    std::fs::write(done, "").map_err(|error| error.to_string())?;
    Ok(bin)
}

/// What a program prints; an error when it fails, in one line at first.
fn run(command: &mut Command) -> std::result::Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    match output.status.success() {
        true => Ok(stdout),
        false => {
            let last = stderr.trim().lines().last().unwrap_or_default().to_owned();
            let program = command.get_program().display().to_string();
            Err(format!(
                "{program}: {} {last}\n{stdout}\n{stderr}",
                output.status
            ))
        }
    }
}

#[derive(Deserialize, Row)]
struct Hello {
    foo: String,
    bar: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

/// Services of every kind, each at the path `api`.
fn services() -> Result<Vec<(&'static str, Service)>> {
    let typed = requests("api")
        .parse_request::<Hello>()
        .filter(|row| row.bar != 7)
        .map(|row| FooLength {
            foo_length: row.foo.chars().count(),
        })
        .make_reply()
        .describe_reply::<FooLength>();
    let fares = requests("api")
        .columns()
        .parse_request("zone STRING, km DOUBLE, passengers INT")?
        .sql("SELECT round(3.5 + 1.75 * km, 2) AS fare FROM requests WHERE km > 0")?
        .make_reply(col("fare"))?;
    // No dates: the fuzzer also sends "" for a text with a format, which to JSON Schema is a remark.
    let types = requests("api")
        .columns()
        .parse_request(
            "b BOOLEAN, i TINYINT, n DECIMAL(9,0) NOT NULL, x BINARY, \
             l ARRAY<STRUCT<y: BIGINT>>, m MAP<STRING, FLOAT>",
        )?
        .sql("SELECT b, i, n, x, l, m FROM requests")?
        .make_reply_of_all()?;
    let query = requests("api")
        .columns()
        .parse_query("zip STRING NOT NULL, count INT, sure BOOLEAN")?
        .parse_headers("x_user STRING")?
        .sql("SELECT concat(zip, CAST(count AS VARCHAR), CAST(sure AS VARCHAR), x_user) AS r FROM requests")?
        .make_reply(col("r"))?;
    Ok(vec![
        ("typed", serve(typed.write_stream())),
        ("fares", serve(fares.write_stream())),
        ("types", serve(types.write_stream())),
        ("query", serve(query.write_stream())),
    ])
}

#[test]
fn a_validator_finds_the_documents_valid() -> Result<()> {
    let Some(programs) = programs("a_validator_finds_the_documents_valid") else {
        return Ok(());
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, service) in services()? {
        let file = folder.path().join(format!("{name}.json"));
        std::fs::write(&file, service.openapi_json()).expect("it is written");
        let mut validator = Command::new(programs.join("openapi-spec-validator"));
        if let Err(said) = run(validator.arg(&file)) {
            panic!("{name}: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_fuzzer_finds_that_services_do_what_they_say() -> Result<()> {
    let Some(programs) = programs("a_fuzzer_finds_that_services_do_what_they_say") else {
        return Ok(());
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, service) in services()? {
        let url = format!("http://127.0.0.1:{}/openapi.json", service.port());
        let mut fuzzer = Command::new(programs.join("schemathesis"));
        fuzzer.args(["run", &url, "--checks", "all", "--max-examples", "50"]);
        fuzzer.args(["--seed", "1", "--no-color"]);
        // What another method means is for the pipeline to decide: none is answered 405.
        fuzzer.args(["--exclude-checks", "unsupported_method"]);
        let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi");
        fuzzer
            .env("PYTHONPATH", hooks)
            .env("SCHEMATHESIS_HOOKS", "hooks");
        fuzzer.env("PYTHONDONTWRITEBYTECODE", "1");
        // It keeps what it found there.
        fuzzer.current_dir(folder.path());
        if let Err(said) = run(&mut fuzzer) {
            panic!("{name}: {said}");
        }
        assert!(service.is_active());
    }
    Ok(())
}
