//! The latency run: our server against the floor (and rivals, with `--features rivals`; nginx where
//! it is installed), over loopback sockets, each in a process of its own. Writes a report with its
//! raw data into `latency-reports/`.
//!
//! `cargo bench -p snapback-bench --bench latency` takes about five minutes. Run as a test, it goes
//! through everything once, briefly, and keeps nothing.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

const PROGRAM: &str = env!("CARGO_BIN_EXE_snapback-bench");
const SERVE: &str = "{self} serve hello --listen 127.0.0.1:0 --cores {core}";

/// How much is measured.
struct Extent {
    rounds: &'static str,
    duration: &'static str,
    open_loop: &'static str,
}

const FULL: Extent = Extent {
    rounds: "7",
    duration: "1s",
    open_loop: "10s",
};
const SMOKE: Extent = Extent {
    rounds: "1",
    duration: "50ms",
    open_loop: "100ms",
};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo passes `--bench` when it benches, and nothing when it tests.
    let benches = std::env::args().any(|argument| argument == "--bench");
    if std::thread::available_parallelism()?.get() < 2 {
        eprintln!("skipped: latency run: it needs a core for the server and one for the load");
        return Ok(());
    }
    let scratch = tempfile::tempdir()?;
    let checkpoint = scratch.path().join("checkpoint").display().to_string();
    if !benches {
        let folder = scratch.path().join("report");
        return report(&SMOKE, &folder, &checkpoint);
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../latency-reports");
    let folder = root.join(format!("{seconds}-{}", commit()));
    report(&FULL, &folder, &checkpoint)?;
    println!("report: {}", folder.join("report.md").display());
    Ok(())
}

fn report(extent: &Extent, folder: &Path, checkpoint: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut page = format!("# Latency run at commit {}\n\n", commit());
    writeln!(
        page,
        "`cargo bench -p snapback-bench --bench latency`. Server on core 0, load on core 1, loopback \
         TCP, a checkpoint each second. Each server is measured back to back with the base, {} \
         rounds of {}; ratios are medians of the pairs with their quartiles, and the A/A row is the \
         base against itself: a difference inside its spread is none.\n",
        extent.rounds, extent.duration,
    )?;
    for (mode, base) in [("blocking", "floor"), ("spin", "floor-spin")] {
        let ours = |name: &str, mode: &str| {
            format!("{name}={SERVE} --poll-mode {mode} --checkpoint {checkpoint}")
        };
        let json = folder.join(format!("{mode}.json"));
        let mut command = Command::new(PROGRAM);
        command.args([
            "compare",
            "--base",
            base,
            "--scenarios",
            "single,c64,pipeline16",
        ]);
        command.args(["--rounds", extent.rounds, "--duration", extent.duration]);
        command
            .args(["--against", &ours("snapback", mode)])
            .arg("--json")
            .arg(&json);
        if mode == "blocking" {
            command.args(["--against", &ours("snapback-adaptive", "adaptive")]);
            for rival in rivals() {
                command.args(["--against", &rival]);
            }
        }
        writeln!(page, "## Poll mode {mode}\n")?;
        page.push_str(&output(&mut command)?);
        page.push('\n');
    }
    writeln!(
        page,
        "## Open loop\n\n20,000 requests/s over 32 connections, Poisson arrivals, latency from the intended send time.\n"
    )?;
    for mode in ["blocking", "adaptive", "spin"] {
        let latency = open_loop(extent, folder, mode, checkpoint)?;
        writeln!(page, "- snapback, {mode}: {latency}")?;
    }
    fs::write(folder.join("report.md"), page)?;
    Ok(())
}

/// Servers that others wrote, as far as they are there.
fn rivals() -> Vec<String> {
    let mut rivals = Vec::new();
    if cfg!(feature = "rivals") {
        for rival in ["axum", "may_minihttp"] {
            rivals.push(format!(
                "{rival}={{self}} rival {rival} --listen 127.0.0.1:{{port}}"
            ));
        }
    }
    let nginx = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status();
    if nginx.is_ok_and(|status| status.success()) {
        rivals.push("nginx".to_owned());
    }
    rivals
}

/// One open-loop run, whose histogram is kept; gives the line with its percentiles.
fn open_loop(
    extent: &Extent,
    folder: &Path,
    mode: &str,
    checkpoint: &str,
) -> Result<String, Box<dyn Error>> {
    let mut server = Command::new(PROGRAM)
        .args([
            "serve",
            "hello",
            "--listen",
            "127.0.0.1:0",
            "--cores",
            "0",
            "--poll-mode",
            mode,
        ])
        .args(["--checkpoint", checkpoint])
        .stdout(Stdio::piped())
        .spawn()?;
    let run = || -> Result<String, Box<dyn Error>> {
        let stdout = server.stdout.take().ok_or("its output is piped")?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .ok_or("it does not listen")?;
        let hgrm: PathBuf = folder.join(format!("open-loop-{mode}.hgrm"));
        let printed = output(
            Command::new(PROGRAM)
                .args(["load", &format!("http://{address}/my_api"), "--core", "1"])
                .args([
                    "--connections",
                    "32",
                    "--rate",
                    "20000",
                    "--arrivals",
                    "poisson",
                ])
                .args(["--duration", extent.open_loop, "--hgrm"])
                .arg(hgrm),
        )?;
        let latency = printed.lines().find(|line| line.starts_with("latency"));
        Ok(latency.ok_or("the load says no latency")?.to_owned())
    };
    let mut run = run;
    let result = run();
    server.kill()?;
    server.wait()?;
    result
}

fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn commit() -> String {
    let git = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit.unwrap_or_else(|| "unknown".to_owned())
}
