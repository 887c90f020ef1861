//! The file of a Unix domain socket: taken over when stale, removed when done.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::listen::BindError;

/// The kernel takes one byte more, but most clients end the path with a NUL (unix(7)).
const MAX_PATH_BYTES: usize = 107;

/// Who may connect to a socket file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Whom the umask of the process lets.
    Umask,
    /// The user of the process alone (mode 0600).
    Owner,
}

/// Binds `fd` to `path` and listens.
///
/// A socket file that nobody listens at, as a killed process leaves it, is replaced. One with a
/// listener is an error, and so is anything that is no socket; both are left alone.
pub(super) fn bind_and_listen(
    fd: &OwnedFd,
    path: &Path,
    backlog: i32,
    access: Access,
) -> Result<SocketFile, BindError> {
    let name = || path.display().to_string();
    let system = |source: io::Error| BindError::System {
        address: name(),
        source,
    };
    let address = SocketAddrUnix::new(path)
        .ok()
        .filter(|_| (1..=MAX_PATH_BYTES).contains(&path.as_os_str().len()))
        .ok_or_else(|| BindError::SocketPath { path: name() })?;

    // Held until the socket listens: a socket that is bound but not yet listening looks stale to
    // another process that starts at the same moment, and it would remove it.
    let _lock = lock_directory_of(path).map_err(system)?;
    match rustix::net::bind(fd, &address) {
        Err(Errno::ADDRINUSE) => {
            if !fs::symlink_metadata(path)
                .map_err(system)?
                .file_type()
                .is_socket()
            {
                return Err(BindError::NotASocket { path: name() });
            }
            if is_live(&address).map_err(|errno| system(errno.into()))? {
                return Err(BindError::SocketInUse { path: name() });
            }
            fs::remove_file(path).map_err(system)?;
            rustix::net::bind(fd, &address).map_err(|errno| system(errno.into()))?;
        }
        bound => bound.map_err(|errno| system(errno.into()))?,
    }
    let file = SocketFile::at(path).map_err(system)?;
    // Before it listens, so that nobody else can have connected.
    if access == Access::Owner {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(system)?;
    }
    rustix::net::listen(fd, backlog).map_err(|errno| system(errno.into()))?;
    Ok(file)
}

/// A socket file, removed on drop if it is ours and no other one has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode. While our socket is open its inode is not given to another file.
    identity: (u64, u64),
    is_ours: AtomicBool,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
            is_ours: AtomicBool::new(true),
        })
    }

    /// The file of a socket that another process still has.
    pub(super) fn of_another(path: &Path) -> io::Result<Self> {
        let file = Self::at(path)?;
        file.leave();
        Ok(file)
    }

    /// Leaves the file to another process, which has the socket as well: before that one can claim it,
    /// or this one might remove what the other serves at.
    pub(super) fn leave(&self) {
        self.is_ours.store(false, Ordering::Relaxed);
    }

    /// Takes the file, to be removed on drop; whether it still is the same one.
    pub(super) fn claim(&self) -> bool {
        self.is_ours.store(true, Ordering::Relaxed);
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !*self.is_ours.get_mut() {
            return;
        }
        let _lock = lock_directory_of(&self.path);
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            // The next start takes the file over, so this is no more than untidy.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Whether somebody listens at `address`: then a connection is accepted or the queue is full.
fn is_live(address: &SocketAddrUnix) -> rustix::io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(probe.as_fd(), address) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        // A datagram socket of another program: it is not ours to remove.
        Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Locks the directory of `path` among the processes of this library, until the file is dropped.
/// A file system without locks leaves the short race that there would be without them.
fn lock_directory_of(path: &Path) -> io::Result<File> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = File::open(directory)?;
    let _ = file.lock();
    Ok(file)
}
