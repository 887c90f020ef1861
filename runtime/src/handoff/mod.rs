//! The hand-off of a service to a new process, with no connection refused and no request lost.
//!
//! A process with the option `handoffSocket` listens at that path, for its own user alone. A new
//! process with the same option connects there first:
//!
//! ```text
//! new → old   Hello      what it wants to serve
//! old → new   Offer      who it is, and how many listeners come; with the socket of this path itself
//!             Listeners  some listeners, with their descriptors; as often as it takes
//!                        the new process starts its partitions, which accept from now on
//! new → old   Ready
//! old → new   Yours      the old process drains
//! ```
//!
//! Until `Ready` the old process serves as before, so a new one that fails or dies is only a line in
//! its log. Both accept for a moment; the old process closes its listeners when the new one has them
//! watched, so the backlog is never without somebody who looks after it.
//!
//! A listener and the file of its socket belong to one process at a time, whichever of the two ends
//! when. The old one gives them away before it sends the first of them: an end from then on closes its
//! descriptors and no more. It takes them back when the new one hung up, or once it has sent `Refused`.
//! The new one takes them with `Yours`, or when the old one hung up without a word, which it does only
//! by dying. An old process that is told to stop after it has sent the listeners says `Yours` at once.

mod error;
mod message;
mod offer;
mod take_over;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::io::listen::Address;
use crate::listening;
use crate::options::{Options, PortMode};

pub use error::HandoffError;
pub(crate) use offer::{Offered, Offering};
pub(crate) use take_over::{Taken, take_over};

/// Whether this says that the other end is closed.
fn has_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// What a process serves, or wants to. Both must agree on it: a listener of another address would
/// be closed by the old process, and served by nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    service: String,
    /// Scheme, host and port of each place, as the options say.
    places: Vec<String>,
    has_port_per_partition: bool,
}

impl Asked {
    pub(crate) fn of(options: &Options, service: &str) -> Result<Asked> {
        let places = listening::places(options)?.into_iter();
        let places = places.map(|(scheme, address)| match address {
            Address::Tcp { host, port } => format!("{scheme} at {host}, port {port}"),
            Address::Unix(path) => format!("{scheme} at {}", path.display()),
        });
        Ok(Asked {
            service: service.to_owned(),
            places: places.collect(),
            has_port_per_partition: options.port_mode == PortMode::PerPartition,
        })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.has_port_per_partition {
            true => "perPartition",
            false => "shared",
        };
        let places = self.places.join(" and ");
        write!(
            f,
            "the service `{}` ({places}; portMode {mode})",
            self.service
        )
    }
}
