//! Messages to the service manager: datagrams to the socket that it names (sd_notify(3)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto};

use super::context::IoContext;

/// Sends a message to the socket at `address`: a path, or an abstract name behind `@`.
pub(crate) fn notify(address: &OsStr, message: &str) -> io::Result<()> {
    let to = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        [b'/', ..] => SocketAddrUnix::new(address),
        _ => {
            return Err(io::Error::other(
                "NOTIFY_SOCKET is neither a path nor `@name`",
            ));
        }
    };
    let to = to.context("use NOTIFY_SOCKET")?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .context("make a socket")?;
    sendto(&socket, message.as_bytes(), SendFlags::NOSIGNAL, &to)
        .context("send to NOTIFY_SOCKET")?;
    Ok(())
}

/// Where the service manager listens; `None` when there is none.
pub(crate) fn address() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())
}
