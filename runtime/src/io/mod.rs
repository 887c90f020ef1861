//! The room of the operating system: sockets, readiness, clocks and cores. Syscalls are made here
//! and nowhere else but in the checkpoint's files.

pub(crate) mod activation;
mod alarm;
pub(crate) mod clock;
mod context;
pub(crate) mod cycle_clock;
pub(crate) mod event_fd;
pub(crate) mod file;
pub(crate) mod listen;
pub(crate) mod notify;
pub(crate) mod passing;
pub(crate) mod pin;
pub(crate) mod poller;
pub(crate) mod small_file;
pub(crate) mod socket;
mod unix_socket;
pub(crate) mod usage;
