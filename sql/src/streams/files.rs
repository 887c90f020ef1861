//! The files of a directory, each once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use snapback::checkpoint::Ledger;
use snapback::options::parse_bytes;

use super::format::{FileFormat, Unreadable};
use super::records::Records;
use super::source::{Source, Taken};
use crate::durable::{names, remove_file};
use crate::sink::SinkError;

/// How many files, and how many bytes of them, an epoch takes if nothing is said.
const MOST_FILES: usize = 64;
const MOST_BYTES: u64 = 256 << 20;
/// So many records of epochs, beyond those that the checkpoint might go back to, become one.
const MERGED_RECORDS: u64 = 64;
/// So many files are looked into for what columns there are, where that is not said.
const INFERRED_FILES: usize = 16;

/// The rows of the files in a directory, oldest file first, each file once, over restarts too where there is a
/// checkpoint.
///
/// Files are to be renamed into the directory when they are whole. A name that begins with a dot or an
/// underscore is none, nor is one that ends otherwise than the format does. A file is known by its
/// name: one that is replaced by another of its name is not read again. A malformed file is named, with
/// the line, and tried again until somebody mends or removes it; those behind it wait, unless
/// [`permissive`](Self::permissive) says otherwise.
#[derive(Debug)]
pub struct FilesSource {
    directory: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
    max_files: usize,
    max_bytes: u64,
    is_permissive: bool,
    deletes: bool,
    records: Option<Records>,
    /// The names of the files that were taken.
    seen: HashSet<String>,
    /// How many were taken, also those that are forgotten since they are gone.
    taken: u64,
    skipped: u64,
    /// The files of the epoch that is open.
    open: Vec<NotedFile>,
}

/// Whose records these are.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    directory: PathBuf,
}

/// What an epoch takes, or what all epochs up to one took.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    /// How many files all epochs up to this one took.
    taken: u64,
    files: Vec<NotedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotedFile {
    name: String,
    /// When it was changed last, in microseconds since 1970, and how long it is: tells it from one
    /// that somebody put in its place.
    modified_us: u64,
    bytes: u64,
    /// It is malformed, and was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_skipped: bool,
}

impl FilesSource {
    /// The files of this format, whose rows have these columns.
    pub fn new(directory: impl Into<PathBuf>, format: FileFormat, schema: SchemaRef) -> Self {
        FilesSource {
            directory: directory.into(),
            format,
            schema,
            max_files: MOST_FILES,
            max_bytes: MOST_BYTES,
            is_permissive: false,
            deletes: false,
            records: None,
            seen: HashSet::new(),
            taken: 0,
            skipped: 0,
            open: Vec::new(),
        }
    }

    /// The files of this format, whose columns are what those say that are there now: the oldest 16, and
    /// the first 1000 rows of each. It is decided anew at each start; say the schema where it matters.
    ///
    /// # Errors
    ///
    /// No file to look into, one that cannot be read, or columns that do not agree.
    pub fn inferred(directory: impl Into<PathBuf>, format: FileFormat) -> Result<Self, SinkError> {
        let source = FilesSource::new(directory, format, Schema::empty().into());
        let mut schemas = Vec::new();
        for file in source.new_files()?.into_iter().take(INFERRED_FILES) {
            let schema = format.infer(&source.directory.join(&file.name));
            schemas.push(schema.map_err(|reason| source.told(&file, &reason))?);
        }
        let directory = source.directory.display();
        if schemas.is_empty() {
            return Err(format!(
                "`{directory}` has no file of {format} to tell what the columns are: give the schema"
            )
            .into());
        }
        let schema = Schema::try_merge(schemas).map_err(|error| {
            format!("the files of `{directory}` do not agree: {error}; give the schema")
        })?;
        Ok(FilesSource {
            schema: schema.into(),
            ..source
        })
    }

    /// Takes so many files an epoch at most: 64 if nothing is said.
    #[must_use]
    pub fn max_files_per_trigger(self, files: usize) -> Self {
        FilesSource {
            max_files: files.max(1),
            ..self
        }
    }

    /// Takes no further file into an epoch that has so many bytes: 256 MiB if nothing is said. A file is
    /// read whole, however large it is.
    #[must_use]
    pub fn max_bytes_per_trigger(self, bytes: u64) -> Self {
        FilesSource {
            max_bytes: bytes,
            ..self
        }
    }

    /// Leaves a malformed file out, whole, instead of waiting for somebody to mend it. It is named in the
    /// log, and counted.
    #[must_use]
    pub fn permissive(self) -> Self {
        FilesSource {
            is_permissive: true,
            ..self
        }
    }

    /// Deletes a file when its epoch is committed. Those that were left out stay; so may one whose process
    /// died in between.
    #[must_use]
    pub fn delete_taken(self) -> Self {
        FilesSource {
            deletes: true,
            ..self
        }
    }

    /// The files that were not taken, oldest first.
    fn new_files(&self) -> Result<Vec<NotedFile>, SinkError> {
        let mut files: Vec<NotedFile> = Vec::new();
        for name in names(&self.directory)? {
            let extension = Path::new(&name).extension().and_then(|its| its.to_str());
            let is_ours = extension.is_some_and(|its| self.format.extensions().contains(&its));
            if !is_ours || name.starts_with(['.', '_']) || self.seen.contains(&name) {
                continue;
            }
            files.extend(self.look_at(name));
        }
        files.sort_by(|a, b| (a.modified_us, &a.name).cmp(&(b.modified_us, &b.name)));
        Ok(files)
    }

    /// What the file of this name is; none if there is none, or none any more.
    fn look_at(&self, name: String) -> Option<NotedFile> {
        let metadata = fs::metadata(self.directory.join(&name)).ok()?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        metadata.is_file().then_some(NotedFile {
            name,
            modified_us: modified.as_micros() as u64,
            bytes: metadata.len(),
            is_skipped: false,
        })
    }

    /// Takes new files, as many as an epoch may have.
    fn take_new(&mut self) -> Result<Vec<RecordBatch>, SinkError> {
        let (mut rows, mut bytes) = (Vec::new(), 0_u64);
        for mut file in self.new_files()?.into_iter().take(self.max_files) {
            if !self.open.is_empty() && bytes.saturating_add(file.bytes) > self.max_bytes {
                break;
            }
            bytes = bytes.saturating_add(file.bytes);
            let path = self.directory.join(&file.name);
            match self.format.read(&path, &self.schema) {
                Ok(its) => rows.extend(its),
                Err(reason @ Unreadable::Malformed { .. }) if self.is_permissive => {
                    tracing::warn!("the file `{}` {reason}; it is left out", path.display());
                    file.is_skipped = true;
                }
                // Those before it go on.
                Err(_) if !self.open.is_empty() => break,
                Err(reason) => return Err(self.told(&file, &reason)),
            }
            self.open.push(file);
        }
        Ok(rows)
    }

    /// Takes again what an earlier run had taken into an epoch.
    fn take_again(&mut self, files: Vec<NotedFile>) -> Result<Vec<RecordBatch>, SinkError> {
        let mut rows = Vec::new();
        for mut file in files {
            let path = self.directory.join(&file.name);
            if !file.is_skipped {
                match self.format.read(&path, &self.schema) {
                    Ok(its) => rows.extend(its),
                    // Nobody can have its rows any more.
                    Err(Unreadable::System(error))
                        if error.kind() == std::io::ErrorKind::NotFound =>
                    {
                        tracing::warn!(
                            "the file `{}` is gone, of an epoch that runs again; it is left out",
                            path.display()
                        );
                        file.is_skipped = true;
                    }
                    Err(reason) => return Err(self.told(&file, &reason)),
                }
            }
            self.open.push(file);
        }
        Ok(rows)
    }

    fn told(&self, file: &NotedFile, reason: &Unreadable) -> SinkError {
        let path = self.directory.join(&file.name);
        let path = path.display();
        format!("the file `{path}` {reason}; mend it, or take it away").into()
    }

    /// Puts the records that the checkpoint cannot go back to any more into one, with the names that
    /// are still in the directory.
    fn merge_records(&mut self, epoch: u64) -> Result<(), SinkError> {
        let Some(records) = &mut self.records else {
            return Ok(());
        };
        let Some(last) = epoch.checked_sub(Ledger::RETAINED_EPOCHS) else {
            return Ok(());
        };
        let Some(first) = records
            .first()
            .filter(|first| first + MERGED_RECORDS <= last)
        else {
            return Ok(());
        };
        let mut all = Noted {
            taken: 0,
            files: Vec::new(),
        };
        if let Some((_, merged)) = records.merged::<Noted>()? {
            all = merged;
        }
        for epoch in first..=last {
            let noted: Noted = records.of_committed(epoch)?;
            all.taken = noted.taken;
            all.files.extend(noted.files);
        }
        let there: HashSet<String> = names(&self.directory)?.into_iter().collect();
        let is_gone = |file: &NotedFile| !there.contains(&file.name);
        for file in all.files.extract_if(.., |file| is_gone(file)) {
            self.seen.remove(&file.name);
        }
        records.merge(last, &all)
    }

    /// Deletes the files of an epoch that is committed.
    fn delete(&self, files: &[NotedFile]) -> Result<(), SinkError> {
        for file in files.iter().filter(|file| !file.is_skipped) {
            // Another one of its name may be there, which nobody has read.
            if self.look_at(file.name.clone()).as_ref() == Some(file) {
                remove_file(&self.directory.join(&file.name))?;
            }
        }
        Ok(())
    }

    /// Reads from the records what the epochs up to this one took.
    fn recall(&mut self, records: &Records, epoch: u64, offset: u64) -> Result<(), SinkError> {
        let merged = records.merged::<Noted>()?;
        let first = merged.as_ref().map_or(0, |(epoch, _)| epoch + 1);
        let mut newest = merged.map(|(_, noted)| noted);
        for epoch in first..=epoch {
            let noted: Noted = records.of_committed(epoch)?;
            let before = newest.replace(noted);
            self.seen.extend(before.into_iter().flat_map(names_in));
        }
        if let Some(noted) = newest {
            self.taken = noted.taken;
            self.seen.extend(names_in(noted));
        }
        if self.taken != offset {
            return Err(format!(
                "the source's records say {} files, and the checkpoint {offset}: restore both from a \
                 copy, or, to begin anew, give a new checkpointLocation",
                self.taken
            )
            .into());
        }
        Ok(())
    }
}

fn names_in(noted: Noted) -> impl Iterator<Item = String> {
    noted.files.into_iter().map(|file| file.name)
}

impl Source for FilesSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn options(&self) -> &'static [&'static str] {
        &[
            "maxFilesPerTrigger",
            "maxBytesPerTrigger",
            "mode",
            "cleanSource",
        ]
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let one_of = |no: &str, yes: &str| match value.trim() {
            its if its.eq_ignore_ascii_case(no) => Ok(false),
            its if its.eq_ignore_ascii_case(yes) => Ok(true),
            _ => Err(format!("`{no}` or `{yes}`")),
        };
        match key {
            "maxFilesPerTrigger" => {
                let files = value.trim().parse().ok().filter(|files| *files > 0);
                self.max_files = files.ok_or("a number, 1 at least")?;
            }
            "maxBytesPerTrigger" => {
                self.max_bytes = parse_bytes(value).ok_or("a size, such as `64 MiB`")?;
            }
            "mode" => self.is_permissive = one_of("failFast", "permissive")?,
            _ => self.deletes = one_of("off", "delete")?,
        }
        Ok(())
    }

    fn begin(
        &mut self,
        records: Option<&Path>,
        committed: Option<(u64, u64)>,
    ) -> Result<(), SinkError> {
        // Whether it can be read is seen now.
        names(&self.directory)?;
        let Some(directory) = records else {
            return Ok(());
        };
        let origin = Origin {
            directory: std::path::absolute(&self.directory)?,
        };
        let wanted = origin.directory.clone();
        let epoch = committed.map(|(epoch, _)| epoch);
        let (records, known) = Records::open(directory, origin, epoch)?;
        if known.directory != wanted {
            return Err(format!(
                "the checkpoint knows the files of `{}`, and this stream reads `{}`: give it that \
                 directory, or a new checkpointLocation",
                known.directory.display(),
                wanted.display()
            )
            .into());
        }
        if let Some((epoch, offset)) = committed {
            self.recall(&records, epoch, offset)?;
        }
        self.records = Some(records);
        Ok(())
    }

    fn take(&mut self, epoch: u64) -> Result<Option<Taken>, SinkError> {
        self.open.clear();
        let noted = match &self.records {
            Some(records) => records.of::<Noted>(epoch)?,
            None => None,
        };
        let is_new = noted.is_none();
        let rows = match noted {
            Some(noted) => self.take_again(noted.files)?,
            None => self.take_new()?,
        };
        if self.open.is_empty() {
            return Ok(None);
        }
        let offset = self.taken + self.open.len() as u64;
        if is_new && let Some(records) = &mut self.records {
            let noted = Noted {
                taken: offset,
                files: self.open.clone(),
            };
            records.write(epoch, &noted)?;
        }
        self.taken = offset;
        self.skipped += self.open.iter().filter(|file| file.is_skipped).count() as u64;
        self.seen
            .extend(self.open.iter().map(|file| file.name.clone()));
        Ok(Some(Taken { rows, offset }))
    }

    fn committed(&mut self, epoch: u64) -> Result<(), SinkError> {
        let files = std::mem::take(&mut self.open);
        let deleted = match self.deletes {
            true => self.delete(&files),
            false => Ok(()),
        };
        self.merge_records(epoch)?;
        deleted
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
