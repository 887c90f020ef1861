//! Listening sockets that another process made: checked before they are taken over.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};

use super::{Listener, LocalAddress};
use crate::io::unix_socket::SocketFile;
use crate::service_info::Scheme;

/// Why a descriptor that this process was given cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// It is no socket, or the system says nothing about it.
    #[error("it is no socket ({0})")]
    NotASocket(std::io::Error),
    /// A datagram or packet socket, for instance.
    #[error("it is no stream socket; give `ListenStream=`, not another kind")]
    NotAStream,
    /// A socket that is connected, or not even bound.
    #[error("it does not listen; give `Accept=no`, which is the default")]
    NotListening,
    /// Neither IPv4, IPv6, nor a Unix domain socket with a path.
    #[error("its address is neither of IPv4, nor of IPv6, nor the path of a Unix domain socket")]
    Address,
}

/// Who goes on with a socket that was taken over, and removes the file if it is a Unix domain socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketOwner {
    /// Who made the socket, whatever becomes of this process: a service manager.
    Giver,
    /// This process, once it has [taken](Listener::take) it.
    Taker,
}

impl Listener {
    /// Takes over a listening socket, and sets it as those are that this library binds. Its end in this
    /// process leaves it open for the one that gave it, until it is [taken](Listener::take).
    ///
    /// # Errors
    ///
    /// Everything that is no listening stream socket of a known family.
    pub(crate) fn adopt(
        fd: OwnedFd,
        scheme: Scheme,
        owner: SocketOwner,
    ) -> Result<Listener, AdoptError> {
        let local = local_address(&fd)?;
        let failed = |errno: rustix::io::Errno| AdoptError::NotASocket(errno.into());
        rustix::io::ioctl_fionbio(&fd, true).map_err(failed)?;
        let is_kept = matches!(owner, SocketOwner::Giver);
        let file = match &local {
            LocalAddress::Tcp(_) => {
                // Accepted sockets inherit it.
                sockopt::set_tcp_nodelay(&fd, true).map_err(failed)?;
                None
            }
            LocalAddress::Unix(path) => match owner {
                SocketOwner::Giver => None,
                SocketOwner::Taker => {
                    Some(SocketFile::of_another(path).map_err(AdoptError::NotASocket)?)
                }
            },
        };
        Ok(Listener {
            fd,
            local,
            scheme,
            file,
            is_shared: AtomicBool::new(true),
            is_kept,
        })
    }

    /// Whether this process removes a socket file when it closes the listener.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether a service manager has it too, whoever else takes it.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Gives the listener to another process. However this one ends from now on, it neither shuts the
    /// socket down nor removes its file. So it comes before the descriptor is sent.
    pub(crate) fn give(&self) {
        self.file.iter().for_each(SocketFile::leave);
        self.is_shared.store(true, Ordering::Release);
    }

    /// Takes the listener from another process, or back from it, and with it the socket file, which is
    /// to be removed in the end; false when the file is not there any more.
    pub(crate) fn take(&self) -> bool {
        self.is_shared.store(self.is_kept, Ordering::Release);
        self.file.as_ref().is_none_or(SocketFile::claim)
    }

    /// Whether connections to this address arrive here: it is bound there, or to all addresses of
    /// both families.
    pub(crate) fn serves(&self, wanted: &LocalAddress) -> bool {
        match (&self.local, wanted) {
            (
                LocalAddress::Tcp(SocketAddr::V6(local)),
                LocalAddress::Tcp(SocketAddr::V4(wanted)),
            ) => {
                local.ip().is_unspecified()
                    && wanted.ip().is_unspecified()
                    && local.port() == wanted.port()
                    && sockopt::ipv6_v6only(&self.fd).is_ok_and(|only| !only)
            }
            (local, wanted) => local == wanted,
        }
    }
}

fn local_address(fd: &OwnedFd) -> Result<LocalAddress, AdoptError> {
    let failed = |errno: rustix::io::Errno| AdoptError::NotASocket(errno.into());
    if sockopt::socket_type(fd).map_err(failed)? != SocketType::STREAM {
        return Err(AdoptError::NotAStream);
    }
    if !sockopt::socket_acceptconn(fd).map_err(failed)? {
        return Err(AdoptError::NotListening);
    }
    let address = rustix::net::getsockname(fd).map_err(failed)?;
    if address.address_family() == AddressFamily::UNIX {
        let address = SocketAddrUnix::try_from(address).map_err(|_| AdoptError::Address)?;
        let path = address.path_bytes().ok_or(AdoptError::Address)?;
        return Ok(LocalAddress::Unix(OsStr::from_bytes(path).into()));
    }
    let address = SocketAddr::try_from(address).map_err(|_| AdoptError::Address)?;
    Ok(LocalAddress::Tcp(address))
}
