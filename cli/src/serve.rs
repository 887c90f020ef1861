//! Services that run: started, told of, and ended in an orderly way.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use snapback::{HasMode, Mode, Pipeline, Requests, Session, StreamingQuery};
use snapback_operators::Start;
use snapback_sql::datafusion::prelude::SessionContext;
use snapback_sql::{LogColumnError, SqlError};
use tokio::runtime::Builder;

use crate::definition::{Part, Service};
use crate::sample;

/// Why a service did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// A part of its definition is wrong.
    Definition(Part, SqlError),
    /// Its request log has other columns than those.
    RequestLog(LogColumnError),
    /// It cannot be served so.
    Runtime(snapback::Error),
}

impl StartError {
    /// The error as text, where whoever wrote the definition calls its parts so.
    pub(crate) fn told(&self, name: impl Fn(Part) -> &'static str) -> String {
        match self {
            StartError::Definition(part, error) => format!("{}: {error}", name(*part)),
            StartError::RequestLog(error) => error.to_string(),
            StartError::Runtime(error) => error.to_string(),
        }
    }
}

/// Drives what reads tables.
///
/// # Errors
///
/// When there is no thread for it.
pub(crate) fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, Box<dyn Error>> {
    let runtime = Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    Ok(runtime.block_on(work))
}

/// An empty pipeline that knows the mode of a service, and is not served.
pub(crate) fn detached(service: &Service) -> Pipeline<Unserved, Requests, Start> {
    Pipeline::from_origin(Unserved(service.mode))
}

/// The origin of a pipeline that is not served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unserved(Mode);

impl HasMode for Unserved {
    fn mode(&self) -> Mode {
        self.0
    }

    fn partitions(&self) -> usize {
        1
    }
}

/// Starts a service.
///
/// # Errors
///
/// [`StartError`]; then nothing of it is left.
pub(crate) fn start(
    session: &Session,
    service: &Service,
    tables: &SessionContext,
    reload: Option<Duration>,
) -> Result<StreamingQuery, StartError> {
    let reader = session.read_stream();
    let reader = match service.mode {
        Mode::Continuous => reader.continuous_server(),
        Mode::Distributed => reader.distributed_server(),
        Mode::Server => reader.server(),
    };
    let listen = &service.listen;
    let mut reader = reader
        .address(&listen.host, listen.port, &listen.path)
        .option("name", &service.name);
    for (key, value) in &service.options {
        reader = reader.option(key, value);
    }
    let pipeline = reader.load().map_err(StartError::Runtime)?;
    let built = service.definition.build(pipeline, tables, reload);
    let mut writer = built
        .map_err(|(part, error)| StartError::Definition(part, error))?
        .write_stream()
        .query_name(&service.name)
        .trigger(service.trigger);
    if let Some(log) = &service.request_log {
        writer = writer.tee(log.sink().map_err(StartError::RequestLog)?);
    }
    writer.start().map_err(StartError::Runtime)
}

/// Says where services are, how to try them, and where their metrics are. From now on a signal ends
/// them in an orderly way: whoever hears of them may send one.
///
/// # Errors
///
/// Signals cannot be heard.
pub(crate) fn announce<'s>(
    services: impl IntoIterator<Item = (&'s Service, &'s StreamingQuery)>,
    session: &Session,
) -> Result<(), Box<dyn Error>> {
    session.drain_on_signals()?;
    for (service, query) in services {
        tell(service, query, session);
    }
    Ok(())
}

fn tell(service: &Service, query: &StreamingQuery, session: &Session) {
    // Whoever started it may have heard enough, as `| head -1` has: that is no reason not to serve.
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", Announcement { service, query });
    if let Some(admin) = session.admin_address() {
        let _ = writeln!(out, "  metrics  http://{admin}/metrics");
    }
}

struct Announcement<'s> {
    service: &'s Service,
    query: &'s StreamingQuery,
}

impl fmt::Display for Announcement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Announcement { service, query } = self;
        writeln!(f, "{} ({})", service.name, service.mode.name())?;
        let infos = query.service_info();
        let mut places: Vec<String> = infos.iter().map(place).collect();
        // All addresses of a machine are two, one of each kind, that are written as one.
        places.dedup();
        for place in places {
            writeln!(f, "  serves   {place}")?;
        }
        let Some(first) = infos.first() else {
            return Ok(());
        };
        let request = sample::request(&service.definition);
        match first.host.strip_prefix("unix:") {
            Some(socket) => write!(
                f,
                "  try      curl --unix-socket {socket} {}",
                request.curl(&format!("http://localhost/{}", first.path))
            ),
            None => write!(f, "  try      curl {}", request.curl(&url(first))),
        }
    }
}

fn place(info: &snapback::service_info::ServiceInfo) -> String {
    match info.host.strip_prefix("unix:") {
        Some(socket) => format!("unix:{socket} at /{}", info.path),
        None => url(info),
    }
}

fn url(info: &snapback::service_info::ServiceInfo) -> String {
    let host = match info.host.as_str() {
        "*" | "0.0.0.0" | "::" => "localhost".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let scheme = match info.scheme {
        snapback::service_info::Scheme::Https => "https",
        _ => "http",
    };
    let port = info.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}/{}", info.path)
}

/// Stops all services of a session, at once.
pub(crate) fn stop(session: &Session) {
    for query in session.streams().active() {
        // What is to be said is why it could not go on; that it cannot be stopped either, less.
        let _ = query.stop();
    }
}

/// Serves until a signal has ended all services, or one of them has failed; then the others are ended
/// in an orderly way.
///
/// # Errors
///
/// Why a service failed, or why the service manager cannot be told.
pub(crate) fn until_ended(
    session: &Session,
    queries: &[StreamingQuery],
) -> Result<ExitCode, Box<dyn Error>> {
    session.notify_service_manager()?;
    let streams = session.streams();
    while queries.iter().any(StreamingQuery::is_active) {
        // Which one it was, the queries say.
        let _ = streams.await_any_termination();
        if let Some(error) = queries.iter().find_map(StreamingQuery::exception) {
            stop(session);
            return Err(error.into());
        }
        streams.reset_terminated();
    }
    match queries.iter().find_map(StreamingQuery::exception) {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}
