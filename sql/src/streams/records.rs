//! What a source notes of its epochs, in files beside the checkpoint.
//!
//! ```text
//! sources/0/origin          what the source is, once
//! sources/0/<epoch>         what the epoch takes, before it runs
//! sources/0/merged-<epoch>  what the epochs up to this one took, where a source keeps that
//! ```
//!
//! Each is three lines: the version, the CRC32C of the last line, and JSON. A file gets its name when it is
//! durable, so it is whole or not there; what is damaged nevertheless is told, never guessed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::durable::{create_dir, named, names, remove_file, sync_dir, write_durably};
use crate::sink::SinkError;

const VERSION: &str = "v1";
const ORIGIN: &str = "origin";
const MERGED: &str = "merged-";

/// The records of a source.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    /// The epochs that have one of their own.
    epochs: BTreeSet<u64>,
    /// Up to which epoch the newest merged one goes.
    merged: Option<u64>,
}

impl Records {
    /// Opens the records of a source whose committed epoch is this one, or begins them. Of the epochs
    /// behind it the next one stays, which may have run, and no other.
    pub(super) fn open<T>(
        directory: &Path,
        origin: T,
        committed: Option<u64>,
    ) -> Result<(Self, T), SinkError>
    where
        T: Serialize + DeserializeOwned,
    {
        // Their names must be as durable as what they hold.
        for directory in [directory.parent().unwrap_or(directory), directory] {
            create_dir(directory)?;
            sync_dir(directory.parent().unwrap_or(directory))?;
        }
        let mut records = Records {
            directory: directory.to_owned(),
            epochs: BTreeSet::new(),
            merged: None,
        };
        let known = records.origin(origin, committed)?;
        let next = committed.map_or(0, |epoch| epoch + 1);
        for name in names(directory)? {
            let merged = name.strip_prefix(MERGED).and_then(|it| it.parse().ok());
            match name.parse::<u64>() {
                Ok(epoch) if epoch <= next => drop(records.epochs.insert(epoch)),
                Ok(_) => records.remove(&name)?,
                // A process died while it wrote it.
                Err(_) if name.starts_with('.') && name.ends_with(".tmp") => {
                    records.remove(&name)?;
                }
                Err(_) => records.merged = records.merged.max(merged),
            }
        }
        if records.merged > committed {
            let name = format!("{MERGED}{}", records.merged.unwrap_or_default());
            return Err(records.damaged(&name, "is newer than the checkpoint"));
        }
        records.tidy()?;
        Ok((records, known))
    }

    /// What the source is, as the records say, or as they are told when they begin.
    fn origin<T>(&self, origin: T, committed: Option<u64>) -> Result<T, SinkError>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.read(ORIGIN)? {
            Some(known) => Ok(known),
            None if committed.is_none() => {
                self.write_named(ORIGIN, &origin)?;
                Ok(origin)
            }
            None => Err(self.damaged(ORIGIN, "is missing")),
        }
    }

    /// What was noted of the epoch.
    pub(super) fn of<T: DeserializeOwned>(&self, epoch: u64) -> Result<Option<T>, SinkError> {
        match self.epochs.contains(&epoch) {
            true => self.read(&epoch.to_string()),
            false => Ok(None),
        }
    }

    /// What was noted of an epoch that is committed.
    pub(super) fn of_committed<T: DeserializeOwned>(&self, epoch: u64) -> Result<T, SinkError> {
        let missing = || self.damaged(&epoch.to_string(), "is missing");
        self.of(epoch)?.ok_or_else(missing)
    }

    /// Notes what the epoch takes, durably.
    pub(super) fn write<T: Serialize>(&mut self, epoch: u64, record: &T) -> Result<(), SinkError> {
        self.write_named(&epoch.to_string(), record)?;
        self.epochs.insert(epoch);
        Ok(())
    }

    /// The newest merged record, and up to which epoch it goes.
    pub(super) fn merged<T: DeserializeOwned>(&self) -> Result<Option<(u64, T)>, SinkError> {
        let Some(epoch) = self.merged else {
            return Ok(None);
        };
        let record = self.read(&format!("{MERGED}{epoch}"))?;
        Ok(record.map(|record| (epoch, record)))
    }

    /// Puts this in the place of the records up to an epoch.
    pub(super) fn merge<T: Serialize>(&mut self, epoch: u64, record: &T) -> Result<(), SinkError> {
        // Under a name of its own: until it is durable the older ones say the same.
        self.write_named(&format!("{MERGED}{epoch}"), record)?;
        self.merged = Some(epoch);
        self.tidy()
    }

    /// Forgets the epochs before this one.
    pub(super) fn forget_before(&mut self, epoch: u64) -> Result<(), SinkError> {
        while let Some(&oldest) = self.epochs.first().filter(|oldest| **oldest < epoch) {
            self.remove(&oldest.to_string())?;
            self.epochs.pop_first();
        }
        Ok(())
    }

    /// The first epoch that has a record of its own.
    pub(super) fn first(&self) -> Option<u64> {
        self.epochs.first().copied()
    }

    /// Removes what the merged record says as well.
    fn tidy(&mut self) -> Result<(), SinkError> {
        let Some(merged) = self.merged else {
            return Ok(());
        };
        self.forget_before(merged + 1)?;
        for name in names(&self.directory)? {
            let older = name.strip_prefix(MERGED).and_then(|it| it.parse().ok());
            if older.is_some_and(|older: u64| older < merged) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), SinkError> {
        remove_file(&self.directory.join(name))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SinkError> {
        let path = self.directory.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named("read", &path)(error)),
        };
        let mut lines = text.splitn(3, |byte| *byte == b'\n');
        let (version, checksum, json) = (lines.next(), lines.next(), lines.next());
        let (Some(version), Some(checksum), Some(json)) = (version, checksum, json) else {
            return Err(self.damaged(name, "ends too early"));
        };
        if version != VERSION.as_bytes() {
            return Err(self.damaged(name, "is of another version"));
        }
        if checksum != sum(json).as_bytes() {
            return Err(self.damaged(name, "does not have its checksum"));
        }
        match serde_json::from_slice(json) {
            Ok(record) => Ok(Some(record)),
            Err(_) => Err(self.damaged(name, "is of another kind of source")),
        }
    }

    fn write_named<T: Serialize>(&self, name: &str, record: &T) -> Result<(), SinkError> {
        let json = serde_json::to_string(record)?;
        let checksum = sum(json.as_bytes());
        write_durably(&self.directory, name, |file| {
            Ok(write!(file, "{VERSION}\n{checksum}\n{json}")?)
        })?;
        Ok(())
    }

    fn damaged(&self, name: &str, reason: &str) -> SinkError {
        let path = self.directory.join(name);
        format!(
            "the source's record `{}` {reason}: restore it from a copy, or, to begin anew, give a new \
             checkpointLocation",
            path.display()
        )
        .into()
    }
}

fn sum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}
