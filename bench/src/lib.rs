//! The servers to measure, the load that measures them, and the comparison of the two.
//!
//! - [`floor`]: the hand-written server that nothing can be much faster than.
//! - [`load`]: the load generator, closed loop and open loop.
//! - [`tls`]: what TLS costs, plain and secured in pairs.
//! - [`compare`]: servers against each other, in pairs measured back to back.
//! - [`alternate`]: servers that all stay up, loaded in turns.
//! - [`lab`]: all of it in one run, with a report.
//! - [`lossless`]: drains and hand-overs under load, in which nothing may be lost.
//! - [`hostile`]: honest requests beside clients that mean harm.
//! - [`overload`]: a server that is asked for more than it can do.
//! - [`soak`]: millions of requests of every kind, and a memory that must not grow.
//!
//! Everything here speaks one workload, `hello`: `POST /my_api` with
//! `{"foo":"hello world","bar":42}` is answered with `{"fooLength":11}`.

pub mod address;
pub mod alternate;
pub mod compare;
pub mod floor;
pub mod footprint;
pub mod hostile;
pub mod lab;
pub mod load;
pub mod lossless;
pub mod output;
pub mod overload;
pub mod poller;
pub mod process;
pub mod random;
#[cfg(feature = "rivals")]
pub mod rivals;
pub mod serve;
pub mod soak;
pub mod tls;

/// The body that a client of the workload `hello` sends.
pub const HELLO_BODY: &str = r#"{"foo":"hello world","bar":42}"#;

/// The body that a server of the workload `hello` answers [`HELLO_BODY`] with.
pub const HELLO_REPLY: &str = r#"{"fooLength":11}"#;

/// Where a server of the workload `hello` listens for requests.
pub const HELLO_PATH: &str = "/my_api";
