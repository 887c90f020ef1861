//! Whether a query is ready for requests, and a process alive.

use std::fmt;
use std::time::{Duration, Instant};

use crate::io::clock::now_ns;
use crate::query::{Phase, Shared, StreamingQuery};

/// A turn that takes longer is stuck: its partition answers nobody meanwhile.
pub(crate) const STUCK_TURN: Duration = Duration::from_secs(1);
/// A turn that takes longer will not end by itself: only a new process helps.
const DEAD_TURN: Duration = Duration::from_secs(60);

/// For so long after it last turned requests away a partition counts as overloaded, so that what asks
/// every second or two does not miss it.
const OVERLOAD_LASTS: Duration = Duration::from_secs(1);

/// Why a query should get no requests now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// It was told to stop, and answers what still comes.
    Draining,
    /// It has stopped.
    Stopped,
    /// It was ended by an error.
    Failed {
        /// The error.
        error: String,
    },
    /// A turn of this partition takes longer than a second: an operator blocks it.
    StuckTurn {
        /// Which partition.
        partition: usize,
        /// For how long the turn has run.
        lasts: Duration,
    },
    /// Requests wait for their turn for longer than `maxQueueDelay`, so this partition turns some away.
    Overloaded {
        /// Which partition.
        partition: usize,
    },
    /// As many requests of this partition wait in deferred operators as `maxInFlight` allows: further
    /// ones are turned away.
    QueueFull {
        /// Which partition.
        partition: usize,
        /// How many wait.
        waiting: u64,
    },
    /// As many rows of this partition wait for the sink of the tee as `teeBufferBytes` allows: requests
    /// are turned away.
    TeeFull {
        /// Which partition.
        partition: usize,
        /// How many bytes of rows wait.
        pending_bytes: usize,
        /// Why the last write to the sink failed, if it did.
        failure: Option<String>,
    },
    /// The checkpoint is behind by more than `maxCheckpointLag`.
    CheckpointLag {
        /// For how long there has been something that is not committed.
        lag: Duration,
        /// `maxCheckpointLag`.
        limit: Duration,
        /// Why the last commit failed, if it did.
        failure: Option<String>,
    },
}

impl NotReady {
    /// Its short name, as the API gives it.
    pub fn code(&self) -> &'static str {
        match self {
            NotReady::Draining => "draining",
            NotReady::Stopped => "stopped",
            NotReady::Failed { .. } => "failed",
            NotReady::StuckTurn { .. } => "stuck_turn",
            NotReady::Overloaded { .. } => "overloaded",
            NotReady::QueueFull { .. } => "queue_full",
            NotReady::TeeFull { .. } => "tee_full",
            NotReady::CheckpointLag { .. } => "checkpoint_lag",
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::Draining => write!(f, "draining: it was told to stop"),
            NotReady::Stopped => write!(f, "stopped"),
            NotReady::Failed { error } => write!(f, "ended by an error: {error}"),
            NotReady::StuckTurn { partition, lasts } => write!(
                f,
                "a turn of partition {partition} has run for {:.1} s: an operator blocks it",
                lasts.as_secs_f64()
            ),
            NotReady::Overloaded { partition } => write!(
                f,
                "requests of partition {partition} wait for longer than maxQueueDelay: some are \
                 turned away"
            ),
            NotReady::QueueFull { partition, waiting } => write!(
                f,
                "{waiting} requests of partition {partition} wait, as many as maxInFlight allows"
            ),
            NotReady::TeeFull {
                partition,
                pending_bytes,
                failure,
            } => {
                write!(
                    f,
                    "{pending_bytes} bytes of rows of partition {partition} wait for the sink, more \
                     than teeBufferBytes allows: requests are turned away"
                )?;
                match failure {
                    Some(failure) => write!(f, "; the last write failed: {failure}"),
                    None => Ok(()),
                }
            }
            NotReady::CheckpointLag {
                lag,
                limit,
                failure,
            } => {
                let (lag, limit) = (lag.as_secs_f64(), limit.as_secs_f64());
                write!(
                    f,
                    "the checkpoint is {lag:.1} s behind, more than maxCheckpointLag of {limit:.1} s"
                )?;
                match failure {
                    Some(failure) => write!(f, "; the last commit failed: {failure}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Everything that keeps a query from being ready; nothing if it is.
pub(crate) fn not_ready(shared: &Shared) -> Vec<NotReady> {
    match shared.phase() {
        (Phase::Ended, None) => return vec![NotReady::Stopped],
        (_, Some(error)) => {
            let error = error.to_string();
            return vec![NotReady::Failed { error }];
        }
        (Phase::Draining, None) => return vec![NotReady::Draining],
        (Phase::Active, None) => {}
    }
    let mut reasons = stuck_turns(shared, STUCK_TURN);
    reasons.extend(overloaded(shared));
    reasons.extend(full_queues(shared));
    reasons.extend(full_tee(shared));
    reasons.extend(checkpoint_lag(shared));
    reasons
}

/// The turns that have run for longer than this.
fn stuck_turns(shared: &Shared, limit: Duration) -> Vec<NotReady> {
    let now_ns = now_ns();
    let lasts = shared.partitions().iter().enumerate();
    lasts
        .filter_map(|(partition, view)| {
            let lasts = Duration::from_nanos(view.published.turn_ns(now_ns)?);
            (lasts > limit).then_some(NotReady::StuckTurn { partition, lasts })
        })
        .collect()
}

/// The partitions that have turned requests away of late, because others had waited too long. A
/// partition that has had no turn since has nothing to do any more.
fn overloaded(shared: &Shared) -> impl Iterator<Item = NotReady> {
    let now_ns = now_ns();
    let partitions = shared.partitions().iter().enumerate();
    partitions.filter_map(move |(partition, view)| {
        let last_ns = view.published.traffic.overloaded_ns()?;
        let since_ns = now_ns.saturating_sub(last_ns);
        (since_ns < OVERLOAD_LASTS.as_nanos() as u64).then_some(NotReady::Overloaded { partition })
    })
}

fn full_queues(shared: &Shared) -> impl Iterator<Item = NotReady> {
    let partitions = shared.partitions().iter().enumerate();
    let waiting = partitions.map(|(partition, view)| {
        let waiting = view.published.traffic.read().waiting;
        (partition, waiting)
    });
    waiting
        .filter(|(_, waiting)| *waiting >= shared.max_in_flight as u64)
        .map(|(partition, waiting)| NotReady::QueueFull { partition, waiting })
}

fn full_tee(shared: &Shared) -> Option<NotReady> {
    let tee = shared.tee.as_ref()?;
    let (partition, pending_bytes) = tee.refusing()?;
    Some(NotReady::TeeFull {
        partition,
        pending_bytes,
        failure: tee.read().failure,
    })
}

fn checkpoint_lag(shared: &Shared) -> Option<NotReady> {
    let limit = shared.max_checkpoint_lag;
    let epochs = shared.epochs.read();
    let lag = epochs.lag(Instant::now());
    (!limit.is_zero() && lag > limit).then_some(NotReady::CheckpointLag {
        lag,
        limit,
        failure: epochs.failure,
    })
}

/// What an answer about health says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Each thing that was looked at, and what is wrong with it.
    pub(super) checks: Vec<(String, Vec<Trouble>)>,
}

/// One thing that is wrong: its short name, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Trouble {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Trouble {
            code,
            message: message.into(),
        }
    }

    pub(super) fn of(reason: &NotReady) -> Self {
        Trouble::new(reason.code(), reason.to_string())
    }
}

/// The queries of a session by name; those without a handle are about to start.
pub(super) type Queries = [(String, Option<StreamingQuery>)];

const NONE_STARTED: &str = "no query has started";

impl Health {
    pub(super) fn is_good(&self) -> bool {
        self.checks.iter().all(|(_, troubles)| troubles.is_empty())
    }

    /// Ready: each query is, and there is one.
    pub(super) fn ready(queries: &Queries) -> Self {
        Health::of(queries, true, |query| {
            not_ready(query.shared()).iter().map(Trouble::of).collect()
        })
    }

    /// Started: no query is about to start, and one has.
    pub(super) fn started(queries: &Queries) -> Self {
        Health::of(queries, true, |_| Vec::new())
    }

    /// Alive: nothing is broken that only a new process mends.
    pub(super) fn live(queries: &Queries) -> Self {
        let mut health = Health::of(queries, false, |query| {
            let dead = stuck_turns(query.shared(), DEAD_TURN);
            dead.iter().map(Trouble::of).collect()
        });
        health.checks.insert(0, ("process".to_owned(), Vec::new()));
        health
    }

    fn of(
        queries: &Queries,
        must_run: bool,
        check: impl Fn(&StreamingQuery) -> Vec<Trouble>,
    ) -> Self {
        let starting = || match must_run {
            true => vec![Trouble::new("starting", "it is about to start")],
            false => Vec::new(),
        };
        let mut checks: Vec<_> = queries
            .iter()
            .map(|(name, query)| (name.clone(), query.as_ref().map_or_else(starting, &check)))
            .collect();
        if must_run && checks.is_empty() {
            let none = vec![Trouble::new("starting", NONE_STARTED)];
            checks.push(("session".to_owned(), none));
        }
        Health { checks }
    }

    /// As text: one word, or with `verbose` a line for each thing that was looked at.
    pub(super) fn text(&self, good: &str, verbose: bool) -> String {
        let mut text = String::new();
        for (name, troubles) in &self.checks {
            if troubles.is_empty() && verbose {
                text += &format!("[+] {name}\n");
            }
            for Trouble { code, message } in troubles {
                text += &format!("[-] {name}: {code}: {message}\n");
            }
        }
        let word = if self.is_good() { "" } else { "not " };
        format!("{text}{word}{good}\n")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let checks = self.checks.iter().map(|(name, troubles)| {
            let troubles: Vec<_> = troubles.iter().map(Trouble::json).collect();
            serde_json::json!({ "name": name, "ok": troubles.is_empty(), "reasons": troubles })
        });
        serde_json::json!({ "ok": self.is_good(), "checks": checks.collect::<Vec<_>>() })
    }
}

impl Trouble {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "reason": self.code, "message": self.message })
    }
}
