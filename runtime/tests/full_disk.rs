//! A checkpoint whose disk is full: serving goes on, the lag shows, commits resume.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use snapback::checkpoint::read_committed;
use snapback::prelude::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A file system of 256 KiB, unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(directory.path())
            .output()
            .map_err(|error| format!("no mount command: {error}"))?;
        if mounted.status.success() {
            Ok(SmallDisk(directory))
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).expect("an empty file fits");
        while file.write_all(&[0; 1024]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.path().join("filler")).expect("the filler is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_stops_commits_but_not_replies() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: full disk: cannot mount a tmpfs: {why}"
            );
            return;
        }
    };
    let location = disk.path().join("checkpoint");
    let location = location.to_str().expect("a UTF-8 path");
    let query = Session::new()
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, "api")
        .option("numPartitions", 1)
        .load()
        .expect("the options are valid")
        .map(|request| request.body().len())
        .make_reply()
        .write_stream()
        .option("checkpointLocation", location)
        .option("shutdownTimeout", "100ms")
        .trigger(Continuous::millis(10))
        .start()
        .expect("there is room for a start");
    let port = query.service_info()[0].port.expect("a TCP port");
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    client
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout is accepted");

    let checkpoint =
        |query: &StreamingQuery| query.last_progress().and_then(|last| last.checkpoint);
    serve_until(&mut client, || {
        checkpoint(&query).is_some_and(|now| now.committed_epoch >= Some(2))
    });

    disk.fill();
    serve_until(&mut client, || {
        checkpoint(&query).is_some_and(|now| now.failure.is_some())
    });
    let stuck = newest(location);
    serve_until(&mut client, || {
        checkpoint(&query).is_some_and(|now| now.lag_ms > 200.0)
    });
    let failure = checkpoint(&query)
        .and_then(|now| now.failure)
        .expect("it still fails");
    assert!(failure.contains("No space left on device"), "{failure}");
    assert_eq!(
        newest(location),
        stuck,
        "nothing was committed meanwhile, and nothing was lost"
    );
    assert!(query.is_active());

    disk.clear();
    serve_until(&mut client, || {
        checkpoint(&query).is_some_and(|now| now.lag_ms == 0.0 && now.failure.is_none())
    });
    assert!(newest(location) > stuck, "commits resumed");
    query.stop().expect("it ends in order");
}

fn newest(location: &str) -> Option<u64> {
    let epochs = read_committed(location).expect("what is committed can be read");
    epochs.last().map(|epoch| epoch.epoch)
}

/// Sends requests, each of which must be answered 200, until the condition holds.
fn serve_until(client: &mut TcpStream, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "nothing happened within {PATIENCE:?}"
        );
        client
            .write_all(b"POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            .expect("it serves on");
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n3") {
            let mut buffer = [0; 512];
            let bytes = client.read(&mut buffer).expect("it answers");
            assert!(bytes > 0, "it closed the connection");
            reply.extend_from_slice(&buffer[..bytes]);
        }
        assert!(
            reply.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "{}",
            reply.escape_ascii()
        );
    }
}
