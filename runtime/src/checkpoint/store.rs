//! The few operations on files that the log is made of, and local disk as one store of them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A place for files, named relative to its root with `/`; the root itself is the empty name.
///
/// What an implementation may assume and must keep is written in [`super::layout`] under "What is
/// assumed about the medium". A test puts a model of a disk in its place and crashes it.
pub(crate) trait Store {
    /// A file that was created and not yet synced.
    type File;

    /// Creates the directory unless it is there. Durable after `sync_dir` of its parent.
    fn create_dir(&mut self, name: &str) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// The whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Creates or replaces a file. After an error a part of it may be there.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<Self::File>;
    /// Makes the bytes of a written file durable, not its name.
    fn sync(&mut self, file: Self::File) -> io::Result<()>;
    /// Renames within one directory, replacing what is there.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&mut self, dir: &str) -> io::Result<()>;
    /// Where `name` is, for messages.
    fn locate(&self, name: &str) -> PathBuf;
}

/// Local disk.
#[derive(Debug)]
pub(crate) struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// The store at a directory which is there.
    pub(crate) fn at(root: &Path) -> LocalStore {
        let root = root.to_owned();
        LocalStore { root }
    }

    /// Creates the directory and its missing parents, durably.
    ///
    /// The error names the directory or file that it is about.
    pub(crate) fn create(root: &Path) -> Result<LocalStore, (PathBuf, io::Error)> {
        let missing: Vec<&Path> = root
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir())
            .collect();
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                // Another process may have been quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                Err(error) => return Err((path.to_owned(), error)),
                Ok(()) => {
                    if let Some(parent) = path.parent() {
                        sync_directory(parent).map_err(|error| (parent.to_owned(), error))?;
                    }
                }
            }
        }
        // A process may have died between creating it and syncing its parent. Only for those: a
        // parent that cannot be opened does not keep a checkpoint from working.
        if let Some(parent) = root.parent() {
            let _ = sync_directory(parent);
        }
        Ok(LocalStore::at(root))
    }
}

impl Store for LocalStore {
    type File = File;

    fn create_dir(&mut self, name: &str) -> io::Result<()> {
        match fs::create_dir(self.locate(name)) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.locate(name).is_dir() =>
            {
                Ok(())
            }
            result => result,
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.locate(dir))? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.locate(name))
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let mut file = File::create(self.locate(name))?;
        file.write_all(bytes)?;
        Ok(file)
    }

    /// Syncs through the descriptor that wrote, which is the one that a failed write-back is
    /// reported to.
    fn sync(&mut self, file: File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.locate(from), self.locate(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.locate(name))
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        sync_directory(&self.locate(dir))
    }

    fn locate(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            return self.root.clone();
        }
        self.root.join(name)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
