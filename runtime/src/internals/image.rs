//! A checkpoint in memory, for whoever wants to open one that no query wrote.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::checkpoint::log::Log;
use crate::checkpoint::store::Store;
use crate::checkpoint::{CheckpointError, Marks};

/// The files of a checkpoint directory: their names relative to it, and their bytes.
pub type Image = BTreeMap<String, Vec<u8>>;

/// What the checkpoint in an [`Image`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The id of the query.
    pub query_id: String,
    /// The newest committed epoch.
    pub last_epoch: Option<u64>,
    /// How far its partitions came.
    pub partitions: BTreeMap<u32, Marks>,
}

/// Opens a checkpoint as the start of a query does; the image is then what that left on the disk.
///
/// # Errors
///
/// As at the start of a query.
pub fn open(image: &mut Image, service: &str) -> Result<Opened, CheckpointError> {
    with_log(image, service, |_, opened| Ok(opened))
}

/// Opens a checkpoint and commits an epoch into it.
///
/// # Errors
///
/// As at the start of a query.
pub fn commit(
    image: &mut Image,
    service: &str,
    epoch: u64,
    marks: &BTreeMap<u32, Marks>,
) -> Result<bool, CheckpointError> {
    with_log(image, service, |log, _| log.commit("run", epoch, marks))
}

fn with_log<T>(
    image: &mut Image,
    service: &str,
    then: impl FnOnce(&mut Log<&mut Files<'_>>, Opened) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let mut files = Files { image };
    let (mut log, recovered) = Log::open(&mut files, service, 3)?;
    let opened = Opened {
        query_id: recovered.query_id.to_string(),
        last_epoch: recovered.last_epoch,
        partitions: recovered.partitions,
    };
    then(&mut log, opened)
}

/// A disk that never fails. Directories are there as soon as they are asked for.
#[derive(Debug)]
struct Files<'i> {
    image: &'i mut Image,
}

impl Store for &mut Files<'_> {
    type File = ();

    fn create_dir(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let in_dir = |name: &String| {
            match dir {
                "" => Some(name.as_str()),
                _ => name.strip_prefix(dir)?.strip_prefix('/'),
            }
            .map(str::to_owned)
        };
        let names = self.image.keys().filter_map(in_dir);
        Ok(names.filter(|name| !name.contains('/')).collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.image.get(name).cloned().ok_or_else(not_found)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.image.insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn sync(&mut self, (): ()) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.image.remove(from).ok_or_else(not_found)?;
        self.image.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.image.remove(name).map(drop).ok_or_else(not_found)
    }

    fn sync_dir(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn locate(&self, name: &str) -> PathBuf {
        PathBuf::from("image").join(name)
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
