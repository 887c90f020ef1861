//! What can go wrong for a user of the API.

use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::auth::AuthKeysError;
use crate::checkpoint::CheckpointError;
use crate::control::AdminError;
use crate::handoff::HandoffError;
use crate::io::activation::ActivationError;
use crate::io::listen::BindError;
use crate::io::pin::PinError;
use crate::options::OptionError;
use crate::transport::tls::CertificateError;

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a query did not start, or ended.
///
/// Its `Debug` is its message, so that a `main` that returns it prints something to read. It can be
/// cloned, since every handle of a query may ask why it ended.
#[derive(Clone, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is unknown, or cannot have the value it was given.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The service cannot listen where it was asked to.
    #[error(transparent)]
    Bind(Arc<BindError>),
    /// The sockets that the service manager passed cannot be used.
    #[error(transparent)]
    Activation(Arc<ActivationError>),
    /// The service cannot be taken over from the process that serves it.
    #[error(transparent)]
    Handoff(Arc<HandoffError>),
    /// A partition cannot be pinned to its core.
    #[error(transparent)]
    Pin(Arc<PinError>),
    /// The keys of those who may send requests cannot be used.
    #[error(transparent)]
    AuthKeys(#[from] AuthKeysError),
    /// The certificates for TLS cannot be used.
    #[error(transparent)]
    Certificate(Arc<CertificateError>),
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(Arc<CheckpointError>),
    /// The admin listener cannot be opened.
    #[error(transparent)]
    Admin(Arc<AdminError>),
    /// Two services of a session cannot have one name.
    #[error(
        "cannot make 2 services with the same name `{name}`: stop the query `{query}` that serves \
         it, or give this one another path, or the option `name`"
    )]
    DuplicateService {
        /// The name of the service.
        name: String,
        /// The query that serves it.
        query: String,
    },
    /// Two active queries of a session cannot have one name.
    #[error(
        "a query with the name `{name}` is active: stop it, or give this one another query_name"
    )]
    DuplicateQuery {
        /// The name of the query.
        name: String,
    },
    /// The sink replies to another service than the one that the stream reads from.
    #[error(
        "reply_to(\"{reply_to}\") names another service than the one that this stream reads from, \
         `{service}`: leave reply_to out, or give it that name"
    )]
    ReplyTo {
        /// The name given to `reply_to`.
        reply_to: String,
        /// The name of the service.
        service: String,
    },
    /// The interval of the trigger is zero.
    #[error("the trigger's interval is zero: give it a millisecond at least")]
    Trigger,
    /// The sink of the tee cannot be used.
    #[error("the sink of the tee cannot be opened: {reason}")]
    Tee {
        /// What the sink said.
        reason: String,
    },
    /// The operating system refused something that a query needs.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A partition failed while the query ran.
    #[error("partition {partition} failed: {reason}")]
    Partition {
        /// Which partition.
        partition: usize,
        /// What it met.
        reason: String,
    },
}

impl Error {
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Error::System {
            action,
            source: Arc::new(source),
        }
    }
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        Error::Bind(Arc::new(error))
    }
}

impl From<ActivationError> for Error {
    fn from(error: ActivationError) -> Self {
        Error::Activation(Arc::new(error))
    }
}

impl From<HandoffError> for Error {
    fn from(error: HandoffError) -> Self {
        Error::Handoff(Arc::new(error))
    }
}

impl From<PinError> for Error {
    fn from(error: PinError) -> Self {
        Error::Pin(Arc::new(error))
    }
}

impl From<CertificateError> for Error {
    fn from(error: CertificateError) -> Self {
        Error::Certificate(Arc::new(error))
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        Error::Checkpoint(Arc::new(error))
    }
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        Error::Admin(Arc::new(error))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
