//! On a real disk, with real locks and a real lack of space.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::checkpoint::{Checkpoint, Location, read_committed};

fn open_at(path: &Path, service: &str) -> Result<(Checkpoint, Recovered), CheckpointError> {
    let location = Location::parse(path.to_str().unwrap()).unwrap();
    Checkpoint::open(&location, service, 100)
}

#[test]
fn a_query_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    // Missing parents are made.
    let path = dir.path().join("a/b/my_api");
    let (mut checkpoint, first) = open_at(&path, "my_api").unwrap();
    assert_eq!(state(&first), (None, Partitions::new()));
    for epoch in 0..120 {
        assert!(
            checkpoint
                .commit(RUN, epoch, &marks_of(epoch), false)
                .unwrap()
        );
    }

    // While the query runs, others can look.
    let location = format!("file://{}", path.display());
    let epochs = read_committed(&location).unwrap();
    let numbers: Vec<u64> = epochs.iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(numbers, (20..120).collect::<Vec<_>>());
    assert_eq!(epochs[99].partitions, marks_of(119));
    assert_eq!(epochs[99].run_id, RUN);

    drop(checkpoint);
    let (_checkpoint, again) = open_at(&path, "my_api").unwrap();
    assert_eq!(state(&again), (Some(119), marks_of(119)));
    assert_eq!(again.query_id, first.query_id);
    // The files are those of Spark's layout.
    let lines = fs::read_to_string(path.join("offsets/119")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0], lines[2]), ("v1", r#"{"0":11900,"1":1190}"#));
    let commit = fs::read_to_string(path.join("commits/119")).unwrap();
    assert!(commit.starts_with("v1\n{"), "{commit}");
}

#[test]
fn a_checkpoint_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (mut held, _) = open_at(dir.path(), "my_api").unwrap();
    held.commit(RUN, 1, &marks_of(1), false).unwrap();
    // A second query of the same process, of the same name or another.
    for service in ["my_api", "other"] {
        let refused = open_at(dir.path(), service).unwrap_err().to_string();
        let pid = std::process::id();
        let holder = format!("is in use by process {pid} (service `my_api`); stop that one first");
        assert!(refused.contains(&holder), "{refused}");
    }

    // A copy is a checkpoint of its own.
    let copy = tempfile::tempdir().unwrap();
    let mut copying = Command::new("cp");
    copying.arg("-r").arg(dir.path()).arg(copy.path());
    assert!(copying.status().unwrap().success());
    let copy = copy.path().join(dir.path().file_name().unwrap());
    let (_copy, recovered) = open_at(&copy, "my_api").unwrap();
    assert_eq!(state(&recovered), (Some(1), marks_of(1)));

    drop(held);
    let refused = open_at(dir.path(), "other").unwrap_err().to_string();
    assert!(
        refused.contains("belongs to the service `my_api`, this one is `other`"),
        "{refused}"
    );
    open_at(dir.path(), "my_api").unwrap();
}

/// This test runs itself as the other process, which holds the checkpoint until it is killed.
#[test]
fn another_process_is_named_and_its_lock_dies_with_it() {
    const HOLD: &str = "SNAPBACK_TEST_HOLD_CHECKPOINT";
    if let Some(path) = std::env::var_os(HOLD) {
        let _held = open_at(Path::new(&path), "theirs").unwrap();
        println!("\nheld");
        std::io::stdout().flush().unwrap();
        // Until the pipe is closed, if nobody kills it first.
        let _ = std::io::stdin().lines().next();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("checkpoint::tests::local::another_process_is_named_and_its_lock_dies_with_it")
        .env(HOLD, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"));
    let refused = open_at(dir.path(), "theirs").unwrap_err().to_string();
    let holder = format!("process {} (service `theirs`)", other.id());
    assert!(refused.contains(&holder), "{refused}");
    other.kill().unwrap();
    other.wait().unwrap();
    open_at(dir.path(), "theirs").unwrap();
}

#[test]
fn a_location_that_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = open_at(&path, "my_api").unwrap_err();
        let CheckpointError::NotADirectory { file: named, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*named, file);
    }
    // The kernel lets nobody create anything there, not even root.
    let refused = open_at(Path::new("/proc/self/net/my_api"), "my_api").unwrap_err();
    let CheckpointError::Io { action, path, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*action, "create");
    assert!(path.ends_with("my_api"));

    let absent = read_committed(dir.path().join("absent").to_str().unwrap());
    let absent = absent.unwrap_err().to_string();
    assert!(
        absent.contains("absent") && absent.contains("check the"),
        "{absent}"
    );
    assert_eq!(read_committed(dir.path().to_str().unwrap()).unwrap(), []);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _) = open_at(dir.path(), "my_api").unwrap();
    checkpoint.commit(RUN, 1, &marks_of(1), false).unwrap();
    drop(checkpoint);
    let file = dir.path().join("commits/2");
    fs::write(&file, "v2\n{}").unwrap();
    let refused = open_at(dir.path(), "my_api").unwrap_err().to_string();
    let name = file.display();
    assert!(
        refused.starts_with(&format!(
            "`{name}` was written by a newer version of Snapback (its format is `v2`"
        )),
        "{refused}"
    );
    // Nothing was touched: the newer version goes on as if nobody had looked.
    assert_eq!(fs::read(&file).unwrap(), b"v2\n{}");
}

#[test]
fn a_full_disk_passes() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.0.path().join("my_api");
    let (mut checkpoint, _) = open_at(&path, "my_api").unwrap();
    checkpoint.commit(RUN, 1, &marks_of(1), false).unwrap();

    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let full = std::iter::repeat_with(|| file.write_all(&[7; 512])).find_map(Result::err);
    assert_eq!(full.unwrap().kind(), ErrorKind::StorageFull);
    for _ in 0..3 {
        let refused = checkpoint.commit(RUN, 2, &marks_of(2), false).unwrap_err();
        let CheckpointError::Io { source, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(source.kind(), ErrorKind::StorageFull);
    }
    let epochs = read_committed(path.to_str().unwrap()).unwrap();
    assert_eq!(epochs.len(), 1);
    for dir in ["", "offsets", "commits"] {
        for entry in fs::read_dir(path.join(dir)).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_str().unwrap().ends_with(".tmp"), "{name:?}");
        }
    }

    // Its space is free once it is closed, too.
    drop(file);
    fs::remove_file(&filler).unwrap();
    assert!(checkpoint.commit(RUN, 2, &marks_of(3), false).unwrap());
    drop(checkpoint);
    let (_checkpoint, recovered) = open_at(&path, "my_api").unwrap();
    assert_eq!(state(&recovered), (Some(2), marks_of(3)));
}

/// A file system of 64 KiB, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(dir.path())
            .output();
        let why = match mount {
            Ok(output) if output.status.success() => return Some(SmallDisk(dir)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("skipped: a_full_disk_passes: cannot mount a tmpfs: {why}");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since the checkpoint may still be open when a test fails.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
