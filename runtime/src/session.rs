//! The entry point.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::control::Admin;
use crate::error::{Error, Result};
use crate::options::{AdminAddress, Options};
use crate::panics;
use crate::query::StreamingQuery;
use crate::reader::StreamReader;
use crate::service_info::ServiceInfo;
use crate::service_manager::{self, ServiceManager};
use crate::signals;

/// The entry point of a process: makes readers, and knows the queries that were started.
///
/// Clones are handles of the same session. Queries run on when the session's handles are dropped.
///
/// ```no_run
/// use serde::{Deserialize, Serialize};
/// use snapback::prelude::*;
///
/// #[derive(Deserialize, Row)]
/// struct Hello { foo: String }
/// #[derive(Serialize)]
/// #[serde(rename_all = "camelCase")]
/// struct FooLength { foo_length: usize }
///
/// fn main() -> snapback::Result<()> {
///     let query = Session::new()
///         .read_stream().continuous_server().address("localhost", 8888, "my_api")
///         .load()?
///         .parse_request::<Hello>()
///         .map(|row| FooLength { foo_length: row.foo.chars().count() })
///         .make_reply()
///         .write_stream().query_name("my_query")
///         .trigger(Continuous::secs(1))
///         .start()?;
///     query.await_termination()
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Session {
    registry: Arc<Registry>,
}

/// The queries of a session.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    queries: Mutex<Vec<Entry>>,
    /// Names that queries of other crates have. Locked behind `queries`.
    reserved: Mutex<BTreeSet<String>>,
    changed: Condvar,
    changed_async: watch::Sender<u64>,
    /// Who is to be told of the end, if a service manager started this process.
    service_manager: OnceLock<ServiceManager>,
    /// Runs the futures of all queries; made for the first query that has some.
    runtime: Mutex<Option<Runtime>>,
    /// Opened by the first query that asks for it.
    admin: Mutex<Option<Admin>>,
}

/// A name that is taken, and the query that has it once it has started.
#[derive(Debug)]
struct Entry {
    service: String,
    name: String,
    query: Option<StreamingQuery>,
}

impl Session {
    /// A session without queries.
    pub fn new() -> Self {
        Session::default()
    }

    /// Begins a stream.
    pub fn read_stream(&self) -> StreamReader {
        StreamReader::new(self.clone())
    }

    /// The queries of the session.
    pub fn streams(&self) -> Streams {
        Streams {
            registry: Arc::clone(&self.registry),
        }
    }

    /// Where the service of this name listens, one entry per listener, for balancers; empty when
    /// no active query serves it.
    ///
    /// Spark Serving's `serviceInfoJson(name)` is this list as JSON: [`Session::service_info_json`].
    pub fn service_info(&self, service: &str) -> Vec<ServiceInfo> {
        let queries = self.streams().active();
        let query = queries
            .iter()
            .find(|query| query.shared().service == service);
        query.map_or_else(Vec::new, |query| query.service_info().to_vec())
    }

    /// [`Session::service_info`] as JSON.
    pub fn service_info_json(&self, service: &str) -> String {
        serde_json::to_string(&self.service_info(service)).expect("plain data serializes")
    }

    /// Where the admin listener is, which answers for all queries of the session: health, metrics and
    /// the API. None before the first query that asks for it, and while its port is taken.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.registry.admin().as_ref().and_then(Admin::address)
    }

    /// From now on SIGTERM and Ctrl-C stop all queries of this session in an orderly way, so that
    /// [`await_termination`](StreamingQuery::await_termination) returns; a second signal ends the
    /// process at once, as does one when no query is active.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the handlers cannot be installed.
    pub fn drain_on_signals(&self) -> Result<()> {
        signals::drain_on_signals(self.streams())
            .map_err(Error::system("cannot install signal handlers"))
    }

    /// Tells the service manager that started this process (systemd, `Type=notify`) that the
    /// queries serve; later that they live (`WatchdogSec=`), unless an operator blocks a partition;
    /// and in the end that they stop. Does nothing where there is no service manager.
    ///
    /// To be called once, when all queries of the process have started.
    ///
    /// ```no_run
    /// # fn main() -> snapback::Result<()> {
    /// # let session = snapback::Session::new();
    /// session.drain_on_signals()?;
    /// // … the queries are started …
    /// session.notify_service_manager()?;
    /// session.streams().await_any_termination()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the service manager cannot be reached.
    pub fn notify_service_manager(&self) -> Result<()> {
        let told = service_manager::tell_ready(self.streams());
        let manager = told.map_err(Error::system(
            "cannot tell the service manager that the service is ready",
        ))?;
        if let Some(manager) = manager {
            // At a second call the first one keeps the place.
            let _ = self.registry.service_manager.set(manager);
        }
        Ok(())
    }

    /// Keeps a name from the queries of this session, for a query that another crate runs. Such a
    /// query is not among [`streams`](Self::streams), nor does the admin listener know it.
    ///
    /// ```
    /// let session = snapback::Session::new();
    /// let name = session.reserve_query_name("sizes")?;
    /// assert!(session.reserve_query_name("sizes").is_err());
    /// drop(name);
    /// assert!(session.reserve_query_name("sizes").is_ok());
    /// # Ok::<(), snapback::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateQuery`] when an active query has the name.
    pub fn reserve_query_name(&self, name: &str) -> Result<QueryName> {
        let entries = self.registry.lock();
        let is_taken = entries
            .iter()
            .any(|entry| !entry.has_ended() && entry.name == name);
        if is_taken || !self.registry.reserved().insert(name.to_owned()) {
            let name = name.to_owned();
            return Err(Error::DuplicateQuery { name });
        }
        Ok(QueryName {
            registry: Arc::clone(&self.registry),
            name: name.to_owned(),
        })
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

/// A name that no query of the session gets while this lives: [`Session::reserve_query_name`].
#[derive(Debug)]
#[must_use = "the name is given back when this is dropped"]
pub struct QueryName {
    registry: Arc<Registry>,
    name: String,
}

impl Drop for QueryName {
    fn drop(&mut self) {
        self.registry.reserved().remove(&self.name);
    }
}

/// The queries of a session: `session.streams()`.
#[derive(Clone, Debug)]
pub struct Streams {
    registry: Arc<Registry>,
}

impl Streams {
    /// The queries that are running.
    pub fn active(&self) -> Vec<StreamingQuery> {
        let entries = self.registry.lock();
        let queries = entries.iter().filter_map(|entry| entry.query.clone());
        queries.filter(StreamingQuery::is_active).collect()
    }

    /// The running query with this id, run id or name.
    pub fn get(&self, id_or_name: &str) -> Option<StreamingQuery> {
        let mut active = self.active().into_iter();
        active.find(|query| query.is_called(id_or_name))
    }

    /// Waits until any query of the session has ended, at once if that happened before this call
    /// since the last [`reset_terminated`](Self::reset_terminated).
    ///
    /// # Errors
    ///
    /// The exception of a query that ended by one.
    pub fn await_any_termination(&self) -> Result<()> {
        let mut entries = self.registry.lock();
        loop {
            if let Some(query) = any_ended(&entries) {
                return query.exception().map_or(Ok(()), Err);
            }
            let waited = self.registry.changed.wait(entries);
            entries = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// [`await_any_termination`](Self::await_any_termination) as a future.
    ///
    /// # Errors
    ///
    /// The exception of a query that ended by one.
    pub async fn await_any_termination_async(&self) -> Result<()> {
        let mut changed = self.registry.changed_async.subscribe();
        loop {
            let ended = any_ended(&self.registry.lock()).cloned();
            if let Some(query) = ended {
                return query.exception().map_or(Ok(()), Err);
            }
            // The sender lives as long as the registry.
            let _ = changed.changed().await;
        }
    }

    /// Forgets the queries that have ended.
    pub fn reset_terminated(&self) {
        self.registry.lock().retain(|entry| !entry.has_ended());
    }
}

fn any_ended(entries: &[Entry]) -> Option<&StreamingQuery> {
    entries
        .iter()
        .find(|entry| entry.has_ended())
        .and_then(|entry| entry.query.as_ref())
}

impl Entry {
    fn has_ended(&self) -> bool {
        self.query.as_ref().is_some_and(|query| !query.is_active())
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queries by name, also those that have ended; those without a handle are about to start.
    pub(crate) fn queries(&self) -> Vec<(String, Option<StreamingQuery>)> {
        let entries = self.lock();
        let queries = entries.iter();
        queries
            .map(|entry| (entry.name.clone(), entry.query.clone()))
            .collect()
    }

    /// The query of this id, run id or name, also one that has ended.
    pub(crate) fn find(&self, id_or_name: &str) -> Option<StreamingQuery> {
        let queries = self.queries().into_iter().filter_map(|(_, query)| query);
        let mut queries = queries.filter(|query| query.is_called(id_or_name));
        queries.next()
    }

    fn admin(&self) -> MutexGuard<'_, Option<Admin>> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the admin listener that a query asks for, unless it is open. It is closed again when
    /// this call opened it and the query does not start.
    pub(crate) fn open_admin(self: &Arc<Self>, options: &Options) -> Result<OpenedAdmin> {
        let mut admin = self.admin();
        let opens = match &*admin {
            _ if options.admin_address == AdminAddress::None => false,
            Some(open) => {
                open.serves(&options.admin_address)?;
                false
            }
            None => {
                *admin = Some(Admin::open(options, Arc::downgrade(self))?);
                true
            }
        };
        Ok(OpenedAdmin(opens.then(|| Arc::clone(self))))
    }

    /// Closes the admin listener when all that the session still serves is left to successors: they
    /// wait for its address, and their probes tell the truth about what is served there.
    pub(crate) fn leave_admin(&self) {
        let queries = self.queries().into_iter().filter_map(|(_, query)| query);
        let mut active = queries.filter(StreamingQuery::is_active);
        if active.all(|query| query.has_successor()) {
            let mut admin = self.admin();
            if admin.as_ref().is_some_and(Admin::is_known) {
                *admin = None;
                tracing::info!("the admin listener is closed: its address is the successor's");
            }
        }
    }

    /// The runtime for the futures of queries.
    pub(crate) fn runtime(&self) -> Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let built = tokio::runtime::Builder::new_multi_thread()
            .thread_name(panics::TASK_THREAD)
            .enable_all()
            .build()
            .map_err(Error::system(
                "cannot start the runtime of asynchronous operators",
            ))?;
        Ok(runtime.insert(built).handle().clone())
    }

    /// Takes the names of a query that is about to start. A query of the same name that has ended
    /// is forgotten.
    pub(crate) fn reserve(self: &Arc<Self>, service: &str, name: &str) -> Result<Reservation> {
        let mut entries = self.lock();
        for entry in entries.iter().filter(|entry| !entry.has_ended()) {
            if entry.service == service {
                let query = entry.name.clone();
                return Err(Error::DuplicateService {
                    name: service.to_owned(),
                    query,
                });
            }
            if entry.name == name {
                return Err(Error::DuplicateQuery {
                    name: name.to_owned(),
                });
            }
        }
        if self.reserved().contains(name) {
            let name = name.to_owned();
            return Err(Error::DuplicateQuery { name });
        }
        entries.retain(|entry| {
            !(entry.has_ended() && (entry.service == service || entry.name == name))
        });
        entries.push(Entry {
            service: service.to_owned(),
            name: name.to_owned(),
            query: None,
        });
        Ok(Reservation {
            registry: Arc::clone(self),
            service: service.to_owned(),
            kept: false,
        })
    }

    /// Tells the service manager when the last query begins to end.
    pub(crate) fn query_ends(&self) {
        if let Some(manager) = self.service_manager.get() {
            let entries = self.lock();
            let queries = entries.iter().filter_map(|entry| entry.query.clone());
            let queries: Vec<_> = queries.collect();
            drop(entries);
            manager.tell_if_stopping(&queries);
        }
    }

    /// Tells those who wait for an end.
    pub(crate) fn query_ended(&self) {
        drop(self.lock());
        self.changed.notify_all();
        self.changed_async.send_modify(|changes| *changes += 1);
    }
}

impl Drop for Registry {
    /// A runtime that is dropped waits for its threads, which it must not do within another one.
    fn drop(&mut self) {
        let runtime = self
            .runtime
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An admin listener that is closed unless the query starts that opened it.
#[derive(Debug)]
pub(crate) struct OpenedAdmin(Option<Arc<Registry>>);

impl OpenedAdmin {
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for OpenedAdmin {
    fn drop(&mut self) {
        if let Some(registry) = self.0.take() {
            *registry.admin() = None;
        }
    }
}

/// Names that are given back unless the query starts.
#[derive(Debug)]
pub(crate) struct Reservation {
    registry: Arc<Registry>,
    service: String,
    kept: bool,
}

impl Reservation {
    pub(crate) fn keep(mut self, query: StreamingQuery) {
        let mut entries = self.registry.lock();
        if let Some(entry) = entries
            .iter_mut()
            .find(|entry| entry.service == self.service)
        {
            entry.query = Some(query);
        }
        drop(entries);
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            self.registry
                .lock()
                .retain(|entry| entry.service != self.service);
        }
    }
}
