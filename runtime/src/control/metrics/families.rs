//! The table of metrics. Names and units follow OpenTelemetry's conventions for HTTP servers, as
//! Prometheus writes them, where there is one, and Prometheus' own for processes.

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from 0 at the start of the query or process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric, whatever its labels say.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The unit of its values; that of the name, if the name ends in one.
    pub(super) unit: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($(#[doc = $help:literal])+ $id:ident = $kind:ident $name:literal, $unit:literal, [$($label:literal),*];)+) => {
        $(pub(super) const $id: Family = Family {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: concat!($($help),+).trim_ascii(),
        };)+

        /// All of them, in the order in which they are shown.
        #[cfg(test)]
        pub(super) const FAMILIES: &[Family] = &[$($id),+];
    };
}

families! {
    /// Time from the wake-up that brought a request until its reply was with the kernel, for
    /// requests that reached the pipeline; to 1 %.
    REQUEST_DURATION = Histogram "http_server_request_duration_seconds", "seconds", ["query"];
    /// Requests that reached the pipeline, each with an offset of its own.
    REQUESTS = Counter "snapback_requests_total", "requests", ["query", "partition"];
    /// Replies of every kind by the class of their status, also to malformed requests and those
    /// that were turned away.
    RESPONSES = Counter "http_server_responses_total", "replies", ["query", "status_class"];
    /// Requests that wait in deferred operators now, as of the end of the last turn: the depth of
    /// the queue. All others are answered within their turn.
    ACTIVE_REQUESTS = Gauge "http_server_active_requests", "requests", ["query"];
    /// Requests and connections that were turned away before work was spent on them.
    SHED = Counter "snapback_shed_total", "requests", ["query", "reason"];
    /// What took too long and was given up on.
    TIMEOUTS = Counter "snapback_timeouts_total", "events", ["query", "kind"];
    /// Open connections.
    CONNECTIONS = Gauge "snapback_connections", "connections", ["query", "partition"];
    /// Connections that were taken in.
    CONNECTIONS_ACCEPTED = Counter "snapback_connections_accepted_total", "connections", ["query", "partition"];
    /// Bytes of HTTP that were read for requests; with TLS, decrypted.
    RECEIVED_BYTES = Counter "snapback_received_bytes_total", "bytes", ["query"];
    /// Bytes of HTTP that the kernel took as replies; with TLS, before encryption.
    SENT_BYTES = Counter "snapback_sent_bytes_total", "bytes", ["query"];
    /// Turns in which something was to be done.
    TURNS = Counter "snapback_turns_total", "turns", ["query", "partition"];
    /// Time in turns. Its rate is the part of its core that the partition works; divided by that of
    /// the turns, how long a request waits for its turn at most, on average.
    TURN_SECONDS = Counter "snapback_turn_seconds_total", "seconds", ["query", "partition"];
    /// The longest turn of the last finished epoch or since.
    TURN_LONGEST = Gauge "snapback_turn_longest_seconds", "seconds", ["query", "partition"];
    /// For how long the present turn has run; 0 between turns. Above one second the turn is stuck.
    TURN_RUNNING = Gauge "snapback_turn_running_seconds", "seconds", ["query", "partition"];
    /// How often a partition panicked outside of the pipeline's operators and started anew.
    RESTARTS = Counter "snapback_partition_restarts_total", "restarts", ["query"];
    /// How often files were read again while the query served: kind is certificates or keys, result is
    /// success or failure. After a failure those that were read before stay in use.
    RELOADS = Counter "snapback_reloads_total", "reloads", ["query", "kind", "result"];
    /// 0 if the files could not be used when they were read last, so that older ones are in use, else 1.
    LAST_RELOAD = Gauge "snapback_last_reload_successful", "0 or 1", ["query", "kind"];
    /// Time of a row in a deferring operator, from the turn that brought it there to the end of
    /// the one in which it went on. Deferring operators count from 0; those from 7 on are one.
    STAGE_DURATION = Histogram "snapback_stage_duration_seconds", "seconds", ["query", "stage"];
    /// Rows that a batch operator handed to its closure at once.
    BATCH_ROWS = Histogram "snapback_batch_rows", "rows", ["query"];
    /// Time to commit an epoch to the checkpoint; its count is that of committed epochs.
    EPOCH_DURATION = Histogram "snapback_epoch_duration_seconds", "seconds", ["query"];
    /// Commits to the checkpoint that failed; they are tried again.
    COMMIT_FAILURES = Counter "snapback_epoch_failures_total", "commits", ["query"];
    /// For how long there has been something that no committed epoch says; 0 without a checkpoint.
    LAG_SECONDS = Gauge "snapback_checkpoint_lag_seconds", "seconds", ["query"];
    /// Epochs that were cut since the last one that was committed.
    LAG_EPOCHS = Gauge "snapback_checkpoint_lag_epochs", "epochs", ["query"];
    /// Rows of served requests that are in the sink of the tee.
    TEE_ROWS = Counter "snapback_tee_rows_total", "rows", ["query"];
    /// Rows of served requests that were dropped, since the sink of the tee was too slow.
    TEE_DROPPED = Counter "snapback_tee_dropped_rows_total", "rows", ["query"];
    /// Rows of served requests that wait for the sink of the tee, but for those of the open epoch.
    TEE_PENDING = Gauge "snapback_tee_pending_bytes", "bytes", ["query"];
    /// For how long there have been rows that were to be in the sink of the tee.
    TEE_LAG = Gauge "snapback_tee_lag_seconds", "seconds", ["query"];
    /// Writes to the sink of the tee that failed; they are tried again.
    TEE_FAILURES = Counter "snapback_tee_failures_total", "writes", ["query"];
    /// 1 if the query is ready, as /readyz says it, else 0.
    QUERY_READY = Gauge "snapback_query_ready", "0 or 1", ["query"];
    /// When the query started, since 1970.
    QUERY_START_TIME = Gauge "snapback_query_start_time_seconds", "seconds", ["query"];
    /// 1, with the ids of the query in its labels.
    QUERY_INFO = Gauge "snapback_query_info", "1", ["query", "query_id", "run_id", "service"];
    /// 1, with the version of Snapback in its label.
    BUILD_INFO = Gauge "snapback_build_info", "1", ["version"];
    /// CPU time of the process, in user and in kernel space.
    PROCESS_CPU = Counter "process_cpu_seconds_total", "seconds", [];
    /// When the process started, since 1970.
    PROCESS_START_TIME = Gauge "process_start_time_seconds", "seconds", [];
    /// Memory of the process that is in RAM.
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes", "bytes", [];
    /// Address space of the process.
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes", "bytes", [];
    /// Threads of the process.
    PROCESS_THREADS = Gauge "process_threads", "threads", [];
    /// Open descriptors of the process.
    PROCESS_OPEN_FDS = Gauge "process_open_fds", "descriptors", [];
    /// How many descriptors the process may open.
    PROCESS_MAX_FDS = Gauge "process_max_fds", "descriptors", [];
}
