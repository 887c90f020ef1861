//! Why an admin listener cannot be opened.

use std::io;
use std::net::SocketAddr;

use crate::control::token::{MIN_BYTES, VARIABLE};

/// Why the admin listener that a query asked for cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// It was not asked for.
    #[error("adminAddress is none: there is no admin listener to open")]
    NotAsked,
    /// Others could reach it, and nothing would keep them from stopping the queries.
    #[error(
        "the admin listener at {address} could be reached from other machines, and has no token: \
         give the option adminTokenFile or the environment variable {VARIABLE}, or a loopback \
         address, or adminAddress none"
    )]
    TokenMissing {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The token is of no use.
    #[error(
        "the admin token of {place} {reason}: give one of {MIN_BYTES} bytes at least without spaces, \
         for example the output of `openssl rand -hex 32`"
    )]
    Token {
        /// Where it was looked for.
        place: String,
        /// What is wrong with it, without a word of it.
        reason: String,
    },
    /// The address is not one of this machine, or its name is not known, or the port is forbidden.
    #[error("cannot listen at adminAddress {address}: {source}; give another one, or none")]
    Bind {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A session has one admin listener.
    #[error(
        "adminAddress {asked} of this query differs from {open}, where the admin listener of its \
         session is open already: give all queries of a session the same one"
    )]
    AnotherAddress {
        /// What this query asked for.
        asked: String,
        /// What an earlier query asked for.
        open: String,
    },
    /// The system refused a thread or what it needs.
    #[error("cannot start the admin listener's thread: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

impl AdminError {
    pub(crate) fn thread(source: io::Error) -> Self {
        AdminError::Thread { source }
    }
}
