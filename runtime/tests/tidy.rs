//! The absences that ARCHITECTURE.md promises, executed over the files of the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that may be longer than [`MAX_LINES`].
const LONG_FILES: [&str; 0] = [];
const MAX_LINES: usize = 500;

/// Where `unsafe` may stand.
const UNSAFE_ROOMS: [&str; 2] = ["runtime/src/io/", "operators/src/text.rs"];

/// Where syscalls may be made.
const SYSCALL_ROOMS: [&str; 2] = ["runtime/src/io/", "runtime/src/checkpoint"];

/// What runs in a partition's turn, where no lock may be taken.
const PARTITION_ROOMS: [&str; 8] = [
    "operators/src/",
    "runtime/src/connection",
    "runtime/src/content",
    "runtime/src/http1",
    "runtime/src/inbox",
    "runtime/src/outbox",
    "runtime/src/partition",
    "runtime/src/transport",
];

#[test]
fn operators_have_no_sockets_no_threads_and_no_clock() {
    let words = [
        "TcpListener",
        "TcpStream",
        "UdpSocket",
        "UnixListener",
        "UnixStream",
        "UnixDatagram",
        "thread",
        "Instant",
        "SystemTime",
    ];
    forbid(
        &words,
        |file| file.starts_with("operators/src/"),
        "operators are pure",
    );
}

#[test]
fn a_partition_never_takes_a_lock() {
    let runs_in_a_turn = |file: &str| PARTITION_ROOMS.iter().any(|room| file.starts_with(room));
    forbid(
        &["Mutex", "RwLock", "Condvar"],
        runs_in_a_turn,
        "a partition never takes a lock",
    );
}

#[test]
fn syscalls_are_made_in_their_rooms_only() {
    let outside = |file: &str| {
        file.starts_with("runtime/src/") && !SYSCALL_ROOMS.iter().any(|room| file.starts_with(room))
    };
    forbid(
        &["rustix", "libc"],
        outside,
        "syscalls belong into io/ and checkpoint/",
    );
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let outside = |file: &str| {
        file.contains("src/") && !UNSAFE_ROOMS.iter().any(|room| file.starts_with(room))
    };
    forbid(
        &["unsafe"],
        outside,
        "unsafe code belongs into io/ or a room named in this test",
    );
}

#[test]
fn only_sql_names_datafusion() {
    let outside = |file: &str| file.ends_with("/Cargo.toml") && !file.starts_with("sql/");
    let mut found = Vec::new();
    for file in files().into_iter().filter(|file| outside(file)) {
        found.extend(lines_where(&file, |line| line.contains("datafusion")));
    }
    assert_none(
        found,
        "only sql/ depends on DataFusion, which costs minutes to build",
    );
}

#[test]
fn dependency_versions_stand_in_the_workspace_only() {
    let mut found = Vec::new();
    for file in files()
        .into_iter()
        .filter(|file| file.ends_with("/Cargo.toml"))
    {
        let mut in_dependencies = false;
        found.extend(lines_where(&file, |line| {
            if line.starts_with('[') {
                // `[dependencies]`, `[dev-dependencies]`, `[target.….dependencies]`.
                in_dependencies = line.trim_end().ends_with("dependencies]");
            }
            in_dependencies
                && line.contains('=')
                && !line.replace(' ', "").contains("workspace=true")
        }));
    }
    assert_none(
        found,
        "versions stand once, in the Cargo.toml of the workspace",
    );
}

#[test]
fn files_are_short() {
    let found: Vec<_> = files()
        .into_iter()
        .filter(|file| file.ends_with(".rs") && !LONG_FILES.contains(&file.as_str()))
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, file)| format!("{file}: {lines} lines"))
        .collect();
    assert_none(found, "one concept per file: at most 500 lines");
}

#[test]
fn no_file_names_a_machine_or_postpones_work() {
    // Put together here, so that this file does not find itself.
    let paths = ["work", "root", "home", "Users"].map(|top| format!("/{top}/"));
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut found = Vec::new();
    for file in files() {
        found.extend(lines_where(&file, |line| {
            let names_machine = paths.iter().any(|path| {
                // A path that begins there, not one that only passes through such a name.
                line.match_indices(path.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-*~}".contains(c))
                })
            });
            names_machine || marks.iter().any(|mark| has_word(line, mark))
        }));
    }
    assert_none(
        found,
        "no absolute paths of a machine, and no work left for later in comments",
    );
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    if let Ok(changelog) = std::fs::read_to_string(root().join("CHANGELOG.md")) {
        assert!(
            changelog.contains("Unreleased"),
            "CHANGELOG.md has no Unreleased section"
        );
    }
}

#[test]
fn every_dependency_has_a_licence_on_the_list() {
    let rustc = output(Command::new("rustc").arg("-vV"));
    let host = rustc
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host triple");
    // Only what is built here: the crates of other platforms may not have been fetched.
    let metadata = output(
        Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--filter-platform",
                host,
            ])
            .current_dir(root()),
    );
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON of cargo");
    let allowed = allowed_licences();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(
        packages.len() > 10,
        "cargo metadata lists only {} packages",
        packages.len()
    );
    let mut found = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            found.push(format!(
                "{} {}: {licence}",
                package["name"], package["version"]
            ));
        }
    }
    assert_none(found, "a licence that deny.toml does not allow");
}

#[test]
fn licence_expressions_are_read_as_spdx_does() {
    let allowed = BTreeSet::from([
        "MIT".to_owned(),
        "Apache-2.0 WITH LLVM-exception".to_owned(),
    ]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Apache-2.0 WITH LLVM-exception", true),
        ("MIT OR GPL-3.0 AND GPL-2.0", true),
        ("GPL-3.0 AND (MIT OR MIT)", false),
        ("Apache-2.0", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

/// The `allow` list of `deny.toml`: one quoted licence per line.
fn allowed_licences() -> BTreeSet<String> {
    let deny = read("deny.toml");
    let list = deny
        .split_once("allow = [")
        .and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.expect("an allow list in deny.toml");
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Evaluates an SPDX expression: `OR` binds weakest, then `AND`; `/` is an old `OR`. Parentheses
/// are resolved from the innermost outwards.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let mut expression = expression.replace('/', " OR ");
    while let Some(close) = expression.find(')') {
        let open = expression[..close]
            .rfind('(')
            .expect("balanced parentheses");
        let inner = is_allowed(&expression[open + 1..close], allowed);
        expression.replace_range(open..=close, if inner { "true" } else { "false" });
    }
    let holds = |licence: &str| licence == "true" || allowed.contains(licence);
    expression
        .split(" OR ")
        .any(|either| either.split(" AND ").all(|licence| holds(licence.trim())))
}

/// Fails if code (comments aside) of a Rust file in `room` has one of `words`.
fn forbid(words: &[&str], room: impl Fn(&str) -> bool, rule: &str) {
    let mut found = Vec::new();
    for file in files()
        .into_iter()
        .filter(|file| file.ends_with(".rs") && room(file))
    {
        found.extend(lines_where(&file, |line| {
            let code = line.split("//").next().unwrap_or(line);
            words.iter().any(|word| has_word(code, word))
        }));
    }
    assert_none(found, rule);
}

fn has_word(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(in_word) && !line[at + word.len()..].starts_with(in_word)
    })
}

/// The lines of `file` that `hit` finds, as `file:line: text`.
fn lines_where(file: &str, mut hit: impl FnMut(&str) -> bool) -> Vec<String> {
    let text = read(file);
    let hits = text.lines().enumerate().filter(|(_, line)| hit(line));
    hits.map(|(index, line)| format!("{file}:{}: {}", index + 1, line.trim()))
        .collect()
}

fn assert_none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The text files of the repository, without those that git ignores.
fn files() -> Vec<String> {
    let list = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let list = output(Command::new("git").args(list).current_dir(root()));
    let is_text_file = |file: &&str| {
        let path = root().join(file);
        path.is_file() && std::fs::read(path).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok())
    };
    let files: Vec<_> = list
        .split_terminator('\0')
        .filter(is_text_file)
        .map(str::to_owned)
        .collect();
    assert!(
        files.iter().any(|file| file == "runtime/src/lib.rs"),
        "git lists no files"
    );
    files
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
