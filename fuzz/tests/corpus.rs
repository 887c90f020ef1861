//! Replays the committed files of each target, which are what fuzzing found to be worth keeping.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// How large all files together may be.
const MAX_BYTES: usize = 500 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The files of a target, in the order of their names.
fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(target)).expect("a folder for each target");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .map(|path| {
            let bytes = fs::read(&path).expect("a readable file");
            (path, bytes)
        })
        .collect();
    files.sort();
    files
}

/// Runs the target over its files, of which there are at least `min_files`.
fn replay(target: &str, min_files: usize, run: fn(&[u8])) {
    let files = files(target);
    assert!(files.len() >= min_files, "{target}: only {}", files.len());
    let fails = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| run(bytes))).is_err();
    let failed: Vec<_> = files.iter().filter(|(_, bytes)| fails(bytes)).collect();
    let paths: Vec<_> = failed.iter().map(|(path, _)| path).collect();
    assert!(paths.is_empty(), "{target} fails for {paths:?}");
}

#[test]
fn heads() {
    replay("head", 20, snapback_fuzz::head::run);
}

#[test]
fn chunked_bodies() {
    replay("chunked", 20, snapback_fuzz::chunked::run);
}

#[test]
fn encoded_bodies() {
    replay("content", 20, snapback_fuzz::content::run);
}

#[test]
fn connections() {
    replay("connection", 20, snapback_fuzz::connection::run);
}

#[test]
fn checkpoints() {
    replay("checkpoint", 20, snapback_fuzz::checkpoint::run);
}

#[test]
fn options() {
    replay("options", 20, snapback_fuzz::options::run);
}

#[test]
fn proxy_headers() {
    replay("proxy", 20, snapback_fuzz::proxy::run);
}

#[test]
fn oracle() {
    replay("oracle", 20, snapback_fuzz::oracle::run);
}

/// Every target has a corpus and a test above, and all files together are small.
#[test]
fn the_corpora_are_complete_and_small() {
    let this_file = include_str!("corpus.rs");
    let manifest = include_str!("../Cargo.toml");
    let targets = manifest
        .split("[[bin]]\nname = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let mut bytes = 0;
    for target in targets {
        let replayed = format!("replay(\"{target}\"");
        assert!(this_file.contains(&replayed), "{target} is not replayed");
        bytes += files(target).iter().map(|file| file.1.len()).sum::<usize>();
    }
    assert!(bytes > 0 && bytes <= MAX_BYTES, "{bytes} bytes of corpora");
}
