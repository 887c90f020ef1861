//! Snapback: a streaming pipeline as a web service.
//!
//! Requests enter on pinned per-partition threads, pass a lock-free chain of compiled operators,
//! and the reply leaves in place on the same connection, while an epoch trigger checkpoints offsets
//! without any request waiting. It begins with a [`Session`].

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod auth;
pub mod checkpoint;
mod connection;
mod content;
mod control;
mod epoch;
mod error;
mod handoff;
mod http1;
mod inbox;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
mod io;
mod listening;
mod log_limit;
mod openapi;
pub mod options;
mod outbox;
mod panics;
mod partition;
mod progress;
mod query;
mod reader;
mod reloads;
mod route;
pub mod service_info;
mod service_manager;
mod session;
mod signals;
mod sources;
mod start;
pub mod tee;
mod transport;
mod trigger;
mod writer;

pub use auth::{AuthKeysError, LineFault};
pub use checkpoint::CheckpointError;
pub use control::{AdminError, NotReady};
pub use error::{Error, Result};
pub use handoff::HandoffError;
pub use io::activation::ActivationError;
pub use io::listen::{AdoptError, BindError};
pub use io::pin::PinError;
pub use options::OptionError;
pub use progress::{
    CheckpointProgress, LatencySummary, PartitionProgress, QueryProgress, TeeProgress,
};
pub use query::{QueryStatus, StreamingQuery};
pub use reader::{Server, ServerReader, StreamReader};
pub use reloads::{FailedReload, ReloadKind};
pub use service_info::{Scheme, ServiceInfo};
pub use session::{QueryName, Session, Streams};
pub use snapback_operators::{
    BatchOptions, Chain, ContentType, Context, CorrelationId, HasMode, Headers, IntoRefusal,
    IntoReply, Mode, Owned, ParseSafe, Peer, Pipeline, Refusal, Reply, Request, RequestId,
    Requests, Row, SpanId, Table, TraceContext, TraceId, test,
};
pub use transport::tls::CertificateError;
pub use trigger::{Continuous, ProcessingTime, Trigger};
pub use writer::StreamWriter;

/// What a program with a pipeline names.
pub mod prelude {
    pub use crate::{
        BatchOptions, Continuous, Pipeline, ProcessingTime, Refusal, Reply, Request, Row, Session,
        StreamingQuery, Table,
    };
}
