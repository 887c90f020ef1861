//! The room of the operating system: sockets and cores. Syscalls are made here and nowhere else
//! but in the checkpoint's files.

pub(crate) mod listen;
pub(crate) mod pin;
mod unix_socket;
