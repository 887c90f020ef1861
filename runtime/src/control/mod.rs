//! The control plane: what operators and their tools ask of a process, answered beside its queries.
//!
//! One admin listener per session, on a thread of its own with a small runtime: a future of the
//! pipeline that blocks the session's runtime cannot silence it, and no partition takes part in it.
//! It reads what partitions publish with plain loads.

mod api;
mod epochs;
mod error;
mod guard;
mod health;
mod listen;
mod metrics;
mod page;
mod reference;
mod router;
mod server;
mod token;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use tokio::sync::oneshot;

use crate::options::{AdminAddress, Options};
use crate::session::Registry;
pub(crate) use epochs::EpochWatch;
pub use error::AdminError;
pub use health::NotReady;
pub(crate) use health::{STUCK_TURN, not_ready};

/// The admin listener of a session, open until this is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    asked: AdminAddress,
    bound: Arc<OnceLock<SocketAddr>>,
    _open: oneshot::Sender<()>,
}

impl Admin {
    /// Opens the listener that a query asks for. It answers from now on, also while the query still
    /// starts.
    pub(crate) fn open(options: &Options, registry: Weak<Registry>) -> Result<Admin, AdminError> {
        let asked = options.admin_address.clone();
        let (host, port) = match &asked {
            AdminAddress::Auto => (listen::AUTO_HOST, listen::AUTO_PORT),
            AdminAddress::At { host, port } => (host.as_str(), *port),
            AdminAddress::None => return Err(AdminError::NotAsked),
        };
        let address = listen::resolve(&asked, host, port)?;
        let token = token::Token::of(options)?;
        if token.is_none() && !address.ip().is_loopback() {
            return Err(AdminError::TokenMissing { address });
        }
        let wanted = listen::Wanted::new(address, asked == AdminAddress::Auto);
        let listener = wanted.bind()?;
        let bound = Arc::new(OnceLock::new());
        let guard = guard::Guard::new(token, host.to_owned());
        let server = server::Server::new(router::Router::new(registry, guard), Arc::clone(&bound));
        let (open, closed) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AdminError::thread)?;
        if let Some(listener) = &listener {
            server.note_bound(listener).map_err(AdminError::thread)?;
        }
        thread::Builder::new()
            .name("snapback-admin".to_owned())
            .spawn(move || {
                // The sender is dropped, never used.
                runtime.block_on(server.run(wanted, listener, closed));
            })
            .map_err(AdminError::thread)?;
        Ok(Admin {
            asked,
            bound,
            _open: open,
        })
    }

    /// Where it listens, once it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.bound.get().copied()
    }

    /// Whether the address is one that somebody was told of, so that a successor waits for it.
    pub(crate) fn is_known(&self) -> bool {
        matches!(self.asked, AdminAddress::At { .. })
    }

    /// Whether a further query of the session may ask for this address: a session has one admin
    /// listener. `auto` asks for nothing in particular.
    pub(crate) fn serves(&self, asked: &AdminAddress) -> Result<(), AdminError> {
        if *asked == self.asked || *asked == AdminAddress::Auto {
            return Ok(());
        }
        Err(AdminError::AnotherAddress {
            asked: asked.to_string(),
            open: self.asked.to_string(),
        })
    }
}
