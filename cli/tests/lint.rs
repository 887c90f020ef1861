//! Seeded mistakes in service files: each is told with its place and the way out.
//!
//! `tests/lint/*.case` hold them: `=== what it is`, the file, `---`, what is printed. With `UPDATE=1`
//! the last part is written anew; then read it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A seeded mistake.
struct Case {
    name: String,
    file: String,
    expected: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in text.split("=== ").skip(1) {
        let (name, rest) = part.split_once('\n').expect("a name");
        let (file, expected) = rest
            .split_once("\n---\n")
            .expect("a file and what is printed");
        cases.push(Case {
            name: name.to_owned(),
            file: format!("{file}\n"),
            expected: expected.trim().to_owned(),
        });
    }
    cases
}

/// What `snapback lint` prints of a file, and its exit code.
fn lint(folder: &Path, file: &str) -> (String, Option<i32>) {
    fs::write(folder.join("service.yaml"), file).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_snapback"))
        .args(["lint", "service.yaml"])
        .current_dir(folder)
        .env("SHELL_HOME", "here")
        .output()
        .expect("the program runs");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    let trimmed: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    (trimmed.join("\n"), output.status.code())
}

#[test]
fn each_mistake_is_told_with_its_place_and_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("zips.csv"), "zip,city\n10115,Berlin\n").expect("a file");
    fs::write(folder.path().join("broken.parquet"), "this is none").expect("a file");
    fs::write(folder.path().join("notes.txt"), "what is this?").expect("a file");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let update = std::env::var_os("UPDATE").is_some();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let (mut mistakes, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(&all).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mut written = String::new();
        for case in cases(&fs::read_to_string(&path).expect("a text")) {
            let (printed, code) = lint(folder.path(), &case.file);
            let is_good = case.name.starts_with("good: ");
            assert_eq!(code, Some(i32::from(!is_good)), "{}:\n{printed}", case.name);
            if !is_good {
                mistakes += 1;
                assert!(
                    printed.contains("--> service.yaml:"),
                    "{}:\n{printed}",
                    case.name
                );
            }
            if printed != case.expected {
                wrong.push(format!(
                    "=== {}\nexpected:\n{}\nprinted:\n{printed}",
                    case.name, case.expected
                ));
            }
            written += &format!("=== {}\n{}---\n{printed}\n\n", case.name, case.file);
        }
        if update {
            fs::write(&path, written.trim_end().to_owned() + "\n").expect("a file");
        }
    }
    assert!(mistakes >= 40, "{mistakes}");
    assert!(update || wrong.is_empty(), "{}", wrong.join("\n\n"));
}
