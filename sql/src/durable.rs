//! Steps on the file system, for what must survive the process. Each names what it failed at; a test
//! lets the process die before any of them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::sink::SinkError;

#[cfg(test)]
pub(crate) use fault::{FAULT, Fault};

#[cfg(test)]
use fault::step;

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in tests a step may fail")]
fn step() -> io::Result<()> {
    Ok(())
}

/// Creates a directory, unless it is there.
pub(crate) fn create_dir(path: &Path) -> Result<(), SinkError> {
    let created = step().and_then(|()| fs::create_dir(path));
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.map_err(named("create", path)),
    }
}

/// Creates a directory and its missing parents.
pub(crate) fn create_dir_all(path: &Path) -> Result<(), SinkError> {
    let created = step().and_then(|()| fs::create_dir_all(path));
    created.map_err(named("create", path))
}

pub(crate) fn create(path: &Path) -> Result<File, SinkError> {
    let created = step().and_then(|()| File::create(path));
    created.map_err(named("create", path))
}

/// Makes what was written durable, not its name.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), SinkError> {
    let synced = step().and_then(|()| file.sync_all());
    synced.map_err(named("sync", path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), SinkError> {
    // `Path::parent` of a name alone is empty, which is the present directory.
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let directory = step().and_then(|()| File::open(path));
    let directory = directory.map_err(named("open", path))?;
    directory.sync_all().map_err(named("sync", path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), SinkError> {
    let renamed = step().and_then(|()| fs::rename(from, to));
    renamed.map_err(named("rename", from))
}

/// Lets two directories change their places; false where the file system cannot.
pub(crate) fn exchange(one: &Path, other: &Path) -> Result<bool, SinkError> {
    step().map_err(named("exchange", other))?;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(named("exchange", other)(error.into())),
    }
}

pub(crate) fn remove_file(path: &Path) -> Result<(), SinkError> {
    let removed = step().and_then(|()| fs::remove_file(path));
    removed.map_err(named("remove", path))
}

/// Removes an empty directory.
pub(crate) fn remove_dir(path: &Path) -> Result<(), SinkError> {
    let removed = step().and_then(|()| fs::remove_dir(path));
    removed.map_err(named("remove", path))
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_dir_all(path: &Path) -> Result<(), SinkError> {
    match step().and_then(|()| fs::remove_dir_all(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The names in a directory that are UTF-8, as all of ours are.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, SinkError> {
    let entries = fs::read_dir(directory).map_err(named("read", directory))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(named("read", directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

/// Says what was tried with which path, and what helps.
pub(crate) fn named(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    let path = path.display().to_string();
    move |error| {
        let way_out = match error.kind() {
            io::ErrorKind::StorageFull => "; make room there",
            io::ErrorKind::PermissionDenied => "; let this process write there",
            _ => "",
        };
        format!("cannot {action} `{path}`: {error}{way_out}").into()
    }
}

/// Writes a file under a hidden name, and gives it its own when it is durable. After an error it is
/// not there.
pub(crate) fn write_durably(
    directory: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> Result<(), SinkError>,
) -> Result<u64, SinkError> {
    let (hidden, path) = (directory.join(format!(".{name}.tmp")), directory.join(name));
    let all = || -> Result<u64, SinkError> {
        let mut file = create(&hidden)?;
        write(&mut file).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        sync(&file, &path)?;
        let bytes = file.metadata().map_err(named("look at", &path))?.len();
        rename(&hidden, &path)?;
        sync_dir(directory)?;
        Ok(bytes)
    };
    all().inspect_err(|_| {
        // Of the two there is one at most.
        let _ = remove_file(&hidden);
        let _ = remove_file(&path);
    })
}

#[cfg(test)]
mod fault {
    use std::cell::Cell;

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Fault {
        /// After so many steps the process is dead: no further one has any effect.
        Dies(usize),
        /// After so many steps one fails.
        Fails(usize),
    }

    thread_local! {
        pub(crate) static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    pub(super) fn step() -> std::io::Result<()> {
        let (next, is_fault) = match FAULT.get() {
            None => (None, false),
            Some(Fault::Dies(0)) => (Some(Fault::Dies(0)), true),
            Some(Fault::Dies(left)) => (Some(Fault::Dies(left - 1)), false),
            Some(Fault::Fails(0)) => (None, true),
            Some(Fault::Fails(left)) => (Some(Fault::Fails(left - 1)), false),
        };
        FAULT.set(next);
        match is_fault {
            true => Err(std::io::Error::other("a fault of the test")),
            false => Ok(()),
        }
    }
}
