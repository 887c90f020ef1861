//! The handle of a running query.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;
use tokio::sync::watch;

use crate::control::{self, EpochWatch, NotReady};
use crate::epoch::Message;
use crate::error::{Error, Result};
use crate::openapi::OpenApi;
use crate::options::Options;
use crate::partition::{Mailbox, Published};
use crate::progress::QueryProgress;
use crate::reloads::{FailedReload, Reloads};
use crate::service_info::ServiceInfo;
use crate::tee::Tee;
use crate::transport::tls::{CertificateError, Certificates};

/// A query that was started. Clones are handles of the same query; dropping them does not stop it.
///
/// The calls that wait exist twice: blocking, and as futures that need no particular runtime.
#[derive(Clone)]
pub struct StreamingQuery {
    shared: Arc<Shared>,
}

/// What the handles, the session and the epoch thread know of a query.
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) run_id: String,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) service_info: Vec<ServiceInfo>,
    pub(crate) open_api: Arc<OpenApi>,
    /// Kept alive by the partitions alone; none without TLS.
    certificates: Option<Weak<Certificates>>,
    /// What became of the files that it read again.
    pub(crate) reloads: Arc<Reloads>,
    /// When it started, in milliseconds since 1970.
    pub(crate) started_at_ms: u64,
    pub(crate) max_checkpoint_lag: Duration,
    pub(crate) max_in_flight: usize,
    /// What is written of the requests that are served; none without a tee.
    pub(crate) tee: Option<Arc<Tee>>,
    /// What the epoch thread tells of its commits.
    pub(crate) epochs: EpochWatch,
    /// The partitions, from when they serve.
    partitions: OnceLock<Vec<PartitionView>>,
    progress_kept: usize,
    state: Mutex<State>,
    ended: Condvar,
    ended_async: watch::Sender<bool>,
    epoch_thread: Sender<Message>,
}

struct State {
    phase: Phase,
    exception: Option<Error>,
    /// How often a partition panicked and started anew.
    restarts: u64,
    /// The partition whose turn is stuck, if one is.
    stuck: Option<usize>,
    /// The process that has taken over.
    successor: Option<u32>,
    /// Who has the lock of the checkpoint, while this run waits for it.
    awaited_lock: Option<String>,
    progress: VecDeque<QueryProgress>,
}

/// What others see of a partition. Its mailbox goes with it.
pub(crate) struct PartitionView {
    pub(crate) mailbox: Weak<Mailbox>,
    pub(crate) published: Arc<CachePadded<Published>>,
}

impl PartitionView {
    /// Its open connections; none once it has ended.
    pub(crate) fn connections(&self) -> usize {
        let mailbox = self.mailbox.upgrade();
        mailbox.map_or(0, |mailbox| mailbox.connections())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Active,
    Draining,
    Ended,
}

/// What a query is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryStatus {
    /// A sentence.
    pub message: String,
    /// Whether it still answers requests.
    pub is_active: bool,
    /// Whether it was told to stop, and waits for its connections to end.
    pub is_draining: bool,
    /// The partition whose turn takes longer than a second, if one does: it answers nobody now.
    pub stuck_partition: Option<usize>,
    /// How often a partition panicked, outside of the pipeline's operators, and started anew.
    pub restarts: u64,
    /// Why it should get no requests now; nothing when it is ready.
    pub not_ready: Vec<NotReady>,
    /// The files that could not be used when they were read last. It serves on with what it had.
    pub failed_reloads: Vec<FailedReload>,
}

impl StreamingQuery {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        StreamingQuery { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The id of the query, a UUID which it keeps over restarts from its checkpoint.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The id of this run, a UUID which is new at each start.
    pub fn run_id(&self) -> &str {
        &self.shared.run_id
    }

    /// The name of the query.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Whether this is its id, its run id or its name.
    pub(crate) fn is_called(&self, id_or_name: &str) -> bool {
        [self.id(), self.run_id(), self.name()].contains(&id_or_name)
    }

    /// Where the query listens, one entry per listener.
    pub fn service_info(&self) -> &[ServiceInfo] {
        &self.shared.service_info
    }

    /// What the service takes and answers, as an OpenAPI 3.1 document in JSON.
    pub fn openapi_json(&self) -> &str {
        self.shared.open_api.json()
    }

    /// Whether the query still answers requests.
    pub fn is_active(&self) -> bool {
        self.shared.lock().phase != Phase::Ended
    }

    /// Why the query ended, when it ended by an error.
    pub fn exception(&self) -> Option<Error> {
        self.shared.lock().exception.clone()
    }

    /// What the query is doing.
    pub fn status(&self) -> QueryStatus {
        let not_ready = control::not_ready(&self.shared);
        let stuck = not_ready.iter().find_map(|reason| match reason {
            NotReady::StuckTurn { partition, .. } => Some(*partition),
            _ => None,
        });
        let state = self.shared.lock();
        let message = match (state.phase, &state.exception) {
            (Phase::Active, _) => match stuck {
                None => match &state.awaited_lock {
                    None => "answering requests".to_owned(),
                    Some(holder) => format!(
                        "answering requests; waiting for the checkpoint's lock, which {holder} has"
                    ),
                },
                Some(partition) => format!("partition {partition} is stuck in an operator"),
            },
            (Phase::Draining, None) => match state.successor {
                None => "draining: answering what comes on open connections".to_owned(),
                Some(pid) => format!(
                    "draining: process {pid} has taken over; answering what comes on open connections"
                ),
            },
            (Phase::Draining, Some(error)) => format!("stopping: {error}"),
            (Phase::Ended, None) => "stopped".to_owned(),
            (Phase::Ended, Some(error)) => format!("ended by an error: {error}"),
        };
        QueryStatus {
            message,
            is_active: state.phase != Phase::Ended,
            is_draining: state.phase == Phase::Draining,
            stuck_partition: stuck,
            restarts: state.restarts,
            not_ready,
            failed_reloads: self.shared.reloads.failed(),
        }
    }

    /// Whether another process has taken over.
    pub(crate) fn has_successor(&self) -> bool {
        self.shared.lock().successor.is_some()
    }

    /// The newest progress record, once an interval of the trigger is over.
    pub fn last_progress(&self) -> Option<QueryProgress> {
        self.shared.lock().progress.back().cloned()
    }

    /// The newest progress records, oldest first; as many as the option `recentProgress` says.
    pub fn recent_progress(&self) -> Vec<QueryProgress> {
        self.shared.lock().progress.iter().cloned().collect()
    }

    /// Reads the files of `tlsCertFile`, `tlsKeyFile` and `tlsClientCaFile` again, and serves new
    /// connections with what they say now; open ones go on as they are. The query also looks after
    /// the files by itself, within two seconds of a change.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] when the files cannot be used; new connections then get what they got
    /// before. Also when the query does not speak TLS, or has ended.
    pub fn reload_tls(&self) -> Result<()> {
        let certificates = self.shared.certificates.as_ref().and_then(Weak::upgrade);
        certificates
            .ok_or(CertificateError::NotInUse)?
            .reload()
            .map_err(Error::from)
    }

    /// Drains and ends the query: accepts no more connections, answers what comes on open ones with
    /// `Connection: close` until they are gone or `shutdownTimeout` is over, commits a last epoch.
    /// Returns when that is done. Stopping a query that has ended does nothing.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub fn stop(&self) -> Result<()> {
        self.request_stop();
        self.await_termination()
    }

    /// [`stop`](Self::stop) as a future.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub async fn stop_async(&self) -> Result<()> {
        self.request_stop();
        self.await_termination_async().await
    }

    /// Tells the query to stop, and does not wait for it.
    pub(crate) fn request_stop(&self) {
        // At once, though the epoch thread may be at a commit that takes long.
        self.shared.begin_drain();
        // The epoch thread is gone when the query has ended.
        let _ = self.shared.epoch_thread.send(Message::Stop);
    }

    /// Waits until the query has ended.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub fn await_termination(&self) -> Result<()> {
        let state = self.shared.lock();
        let waited = self
            .shared
            .ended
            .wait_while(state, |state| state.phase != Phase::Ended);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        state.exception.clone().map_or(Ok(()), Err)
    }

    /// Waits until the query has ended, so long at most; tells whether it has.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub fn await_termination_timeout(&self, timeout: Duration) -> Result<bool> {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            if state.phase == Phase::Ended {
                return state.exception.clone().map_or(Ok(true), Err);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let waited = self.shared.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// [`await_termination`](Self::await_termination) as a future.
    ///
    /// # Errors
    ///
    /// The query's [`exception`](Self::exception).
    pub async fn await_termination_async(&self) -> Result<()> {
        let mut ended = self.shared.ended_async.subscribe();
        // The sender lives in `shared`, so it cannot be gone before it says so.
        let _ = ended.wait_for(|ended| *ended).await;
        self.exception().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for StreamingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingQuery")
            .field("name", &self.name())
            .field("run_id", &self.run_id())
            .field("is_active", &self.is_active())
            .finish_non_exhaustive()
    }
}

/// The names of a query, and where it listens.
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) run_id: String,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) service_info: Vec<ServiceInfo>,
    pub(crate) certificates: Option<Weak<Certificates>>,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) open_api: Arc<OpenApi>,
}

impl Shared {
    pub(crate) fn new(
        identity: Identity,
        options: &Options,
        tee: Option<Arc<Tee>>,
        epoch_thread: Sender<Message>,
    ) -> Self {
        let Identity {
            id,
            run_id,
            name,
            service,
            service_info,
            certificates,
            reloads,
            open_api,
        } = identity;
        Shared {
            id,
            run_id,
            name,
            service,
            service_info,
            certificates,
            reloads,
            open_api,
            started_at_ms: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            max_checkpoint_lag: options.max_checkpoint_lag,
            max_in_flight: options.max_in_flight,
            tee,
            epochs: EpochWatch::new(),
            partitions: OnceLock::new(),
            progress_kept: options.recent_progress,
            state: Mutex::new(State {
                phase: Phase::Active,
                exception: None,
                restarts: 0,
                stuck: None,
                successor: None,
                awaited_lock: None,
                progress: VecDeque::new(),
            }),
            ended: Condvar::new(),
            ended_async: watch::Sender::new(false),
            epoch_thread,
        }
    }

    /// A panic of a thread that held the lock leaves nothing half done in the state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record_progress(&self, progress: QueryProgress) {
        let mut state = self.lock();
        state.progress.push_back(progress);
        while state.progress.len() > self.progress_kept {
            state.progress.pop_front();
        }
    }

    /// Lets others see the partitions.
    pub(crate) fn show_partitions(&self, partitions: Vec<PartitionView>) {
        // It is called once, at the start.
        let _ = self.partitions.set(partitions);
    }

    /// The partitions; none while the query starts.
    pub(crate) fn partitions(&self) -> &[PartitionView] {
        self.partitions.get().map_or(&[], Vec::as_slice)
    }

    /// Where the query is in its life, and the error that ended or ends it.
    pub(crate) fn phase(&self) -> (Phase, Option<Error>) {
        let state = self.lock();
        (state.phase, state.exception.clone())
    }

    /// From now on the query is not ready.
    fn begin_drain(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Active {
            state.phase = Phase::Draining;
        }
    }

    pub(crate) fn note_restart(&self) {
        self.lock().restarts += 1;
    }

    /// Notes which partition is stuck; whether that is news.
    pub(crate) fn set_stuck(&self, partition: Option<usize>) -> bool {
        std::mem::replace(&mut self.lock().stuck, partition) != partition
    }

    /// Notes the process that has taken over.
    pub(crate) fn set_successor(&self, pid: u32) {
        self.lock().successor = Some(pid);
    }

    /// Notes who has the lock of the checkpoint that this run waits for.
    pub(crate) fn set_awaited_lock(&self, holder: Option<String>) {
        self.lock().awaited_lock = holder;
    }

    /// Who has the lock of the checkpoint that this run waits for.
    pub(crate) fn awaited_lock(&self) -> Option<String> {
        self.lock().awaited_lock.clone()
    }

    /// Notes why the query is about to end; the first reason stays.
    pub(crate) fn set_exception(&self, error: Error) {
        self.lock().exception.get_or_insert(error);
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
        if phase == Phase::Ended {
            self.ended.notify_all();
            self.ended_async.send_replace(true);
        }
    }
}
