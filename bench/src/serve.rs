//! The servers of ours that are measured.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use snapback::prelude::*;
use snapback::tee::{Opening, Served, SinkError, TeeSink};

use crate::load::parse_duration;
use crate::tls::SelfSigned;

/// Serves a pipeline until SIGTERM.
#[derive(Args, Debug)]
pub struct ServeArguments {
    /// Which pipeline.
    what: Service,
    /// Where to listen: `HOST:PORT` (port 0: any) or `unix:/path`.
    #[arg(long, default_value = "127.0.0.1:8888")]
    listen: String,
    /// How many partitions.
    #[arg(long, default_value_t = 1)]
    partitions: usize,
    /// The cores to pin them to, for example `0` or `0,1`; `off` does not pin.
    #[arg(long, default_value = "auto")]
    cores: String,
    /// How an idle partition waits: spin, adaptive or blocking.
    #[arg(long, default_value = "adaptive")]
    poll_mode: String,
    /// The directory of the checkpoint, or `none`.
    #[arg(long, default_value = "none")]
    checkpoint: String,
    /// The interval of epochs, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    trigger_ms: u64,
    /// Speak TLS, with a certificate that nobody signed but itself.
    #[arg(long)]
    tls: bool,
    /// Write that certificate here, in PEM, for clients to trust (`load --ca FILE`); it is there
    /// before the server listens.
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_cert_out: Option<PathBuf>,
    /// Where the admin listener is, `HOST:PORT`, or `none`.
    #[arg(long, default_value = "none")]
    admin: String,
    /// Append each progress record of the query to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
    /// Note each request with its reply for a tee whose sink keeps nothing: what a tee costs the
    /// partitions, whatever its sink is.
    #[arg(long)]
    tee: bool,
    /// How much CPU time the operator of `busy` takes.
    #[arg(long, value_parser = parse_duration, default_value = "0.1ms")]
    work: Duration,
    /// How many operators the chain of `hello` has between parsing and replying: 1, 5 or 20.
    #[arg(long, default_value_t = 1, value_parser = parse_operators)]
    operators: usize,
    /// Further options of the query, as `key=value`.
    #[arg(long = "option")]
    options: Vec<String>,
}

/// The pipelines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Service {
    /// `{"foo":"hello world","bar":42}` is answered with `{"fooLength":11}`.
    Hello,
    /// Any request is answered with `{"id":"<request id>"}`.
    Id,
    /// As `hello`, with an operator that takes the CPU time of `--work`.
    Busy,
    /// As `hello`, but `{"foo":"large",…}` is answered with 1 MiB, and the pipeline panics at
    /// `{"foo":"poison",…}`.
    Large,
    /// As `hello`, but the pipeline panics at `{"foo":"poison",…}`.
    Poison,
    /// The body says what happens: `panic`, `refuse` (422), `defer…` (through a future, a batch and
    /// another future, and then echoed); anything else is echoed at once.
    Mixed,
}

#[derive(Deserialize, Row)]
struct Hello<'a> {
    #[serde(borrow)]
    foo: std::borrow::Cow<'a, str>,
    #[expect(
        dead_code,
        reason = "part of the schema: a request without it is refused"
    )]
    bar: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

#[derive(Serialize)]
struct Id {
    id: String,
}

/// The lengths of chains that `hello` can be compiled with.
const OPERATORS: [usize; 3] = [1, 5, 20];

fn parse_operators(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| OPERATORS.contains(count));
    count.ok_or_else(|| format!("`{text}`: expected one of {OPERATORS:?}"))
}

/// Adds an operator for each number, which changes the row by as much, and answers with the row.
macro_rules! and_more {
    ($rows:expr; $($more:literal)*) => {
        $rows
            $(.map(|row: FooLength| FooLength {
                foo_length: std::hint::black_box(row.foo_length) + $more,
            }))*
            .make_reply()
            .write_stream()
    };
}

/// A sink that wants everything and keeps nothing.
struct Discard;

impl TeeSink for Discard {
    fn open(&mut self, _opening: &Opening) -> Result<(), SinkError> {
        Ok(())
    }

    fn write(&mut self, _epoch: u64, _served: &[Served]) -> Result<(), SinkError> {
        Ok(())
    }
}

/// How long the long reply of `large` is.
const LARGE_BYTES: usize = 1 << 20;

/// Works for so much of this thread's CPU time: a thread that waits for its core does not work.
fn work(time: Duration) {
    let start = clock_gettime(ClockId::ThreadCPUTime);
    let spent = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        (now.tv_sec - start.tv_sec) * 1_000_000_000 + now.tv_nsec - start.tv_nsec
    };
    while u128::from(spent().unsigned_abs()) < time.as_nanos() {}
}

/// Serves until SIGTERM or Ctrl-C; prints `listening on …` once it does.
///
/// # Errors
///
/// Whatever keeps the query from starting, or ends it.
pub fn main(arguments: &ServeArguments) -> Result<ExitCode, Box<dyn Error>> {
    let session = Session::new();
    session.drain_on_signals()?;
    let (host, port) = match arguments.listen.strip_prefix("unix:") {
        Some(_) => (arguments.listen.as_str(), 0),
        None => {
            let (host, port) = arguments.listen.rsplit_once(':').ok_or_else(|| {
                format!(
                    "--listen {:?} is not HOST:PORT or unix:/path",
                    arguments.listen
                )
            })?;
            (
                host,
                port.parse()
                    .map_err(|error| format!("port {port:?}: {error}"))?,
            )
        }
    };
    let mut reader = session
        .read_stream()
        .continuous_server()
        .address(host, port, "my_api")
        .option("numPartitions", arguments.partitions)
        .option("pinning", &arguments.cores)
        .option("pollMode", &arguments.poll_mode)
        .option("adminAddress", &arguments.admin);
    // Its files are read at the start, and again when they change: they stay until the end.
    let certificate = match arguments.tls {
        true => Some(SelfSigned::new()?),
        false => None,
    };
    if let Some(certificate) = &certificate {
        reader = reader
            .option("tlsCertFile", certificate.certificate_file().display())
            .option("tlsKeyFile", certificate.key_file().display());
        if let Some(path) = &arguments.tls_cert_out {
            fs::copy(certificate.certificate_file(), path)
                .map_err(|error| format!("--tls-cert-out {}: {error}", path.display()))?;
        }
    }
    for option in &arguments.options {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| format!("--option {option:?} is not key=value"))?;
        reader = reader.option(key, value);
    }
    let requests = reader.load()?;
    let mut writer = match arguments.what {
        Service::Hello => {
            let counted = requests.parse_request::<Hello>().map(|row| FooLength {
                foo_length: row.foo.chars().count(),
            });
            match arguments.operators {
                5 => and_more!(counted; 0 0 0 0),
                20 => and_more!(counted; 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0),
                _ => and_more!(counted;),
            }
        }
        Service::Poison => requests
            .parse_request::<Hello>()
            .map(|row| {
                assert_ne!(row.foo, "poison");
                FooLength {
                    foo_length: row.foo.chars().count(),
                }
            })
            .make_reply()
            .write_stream(),
        Service::Busy => requests
            .parse_request::<Hello>()
            .map({
                let time = arguments.work;
                move |row| {
                    work(time);
                    FooLength {
                        foo_length: row.foo.chars().count(),
                    }
                }
            })
            .make_reply()
            .write_stream(),
        Service::Large => {
            let large: Arc<[u8]> = vec![b'x'; LARGE_BYTES].into();
            requests
                .parse_request::<Hello>()
                .make_reply_with(move |row, reply| {
                    assert_ne!(row.foo, "poison");
                    match &*row.foo {
                        "large" => reply.bytes(&large),
                        text => reply.json(&FooLength {
                            foo_length: text.chars().count(),
                        }),
                    }
                })
                .write_stream()
        }
        Service::Mixed => requests
            .map(|request| String::from_utf8_lossy(request.body()).into_owned())
            .try_map(|body| match body.as_str() {
                "panic" => panic!("as the body says"),
                "refuse" => Err((422, "refused, as the body says")),
                _ => Ok(body),
            })
            .send_reply(|body| (!body.starts_with("defer")).then(|| body.clone()))
            .filter(|body| body.starts_with("defer"))
            .map_async(|body| async { body })
            .batch(BatchOptions::default(), |bodies, out| {
                out.extend_from_slice(bodies)
            })
            .map_async(|body| async { body })
            .make_reply()
            .write_stream(),
        Service::Id => requests
            .map(|request| Id {
                id: request.id().to_string(),
            })
            .make_reply()
            .write_stream(),
    };
    if arguments.checkpoint != "none" {
        writer = writer.option("checkpointLocation", &arguments.checkpoint);
    }
    if arguments.tee {
        writer = writer.tee(Discard);
    }
    let query = writer
        .trigger(Continuous::millis(arguments.trigger_ms))
        .start()?;
    let service = &query.service_info()[0];
    match service.port {
        Some(port) => println!("listening on {}:{port}", service.host),
        None => println!("listening on {}", service.host),
    }
    session.notify_service_manager()?;
    match &arguments.progress {
        Some(path) => write_progress(&query, path, Duration::from_millis(arguments.trigger_ms))?,
        None => query.await_termination()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Appends the progress records to a file until the query has ended.
fn write_progress(
    query: &StreamingQuery,
    path: &Path,
    interval: Duration,
) -> Result<(), Box<dyn Error>> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let file = File::options().create(true).append(true).open(path);
    let mut file = file.map_err(named)?;
    let mut written_ms = 0;
    loop {
        let has_ended = query.await_termination_timeout(interval)?;
        for record in query.recent_progress() {
            if record.timestamp_ms > written_ms {
                written_ms = record.timestamp_ms;
                let line = serde_json::to_string(&record)? + "\n";
                file.write_all(line.as_bytes()).map_err(named)?;
            }
        }
        if has_ended {
            return Ok(());
        }
    }
}
