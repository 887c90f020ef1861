//! Rows into a directory of files, of which any reader of files may take all.

mod directory;
mod format;
mod segment;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;

use super::{BatchSink, Opening, Resume, SinkError};
use directory::Directory;
use format::Encoding;
pub use format::{Compression, FileFormat, UnknownName};
use segment::{DataFile, Segment};

/// How many files a segment has, or how many bytes, when the next one begins.
const COMPACT_FILES: usize = 60;
const COMPACT_BYTES: u64 = 128 << 20;

/// Writes rows to files in a directory: one file for each epoch, which appears whole or not at all;
/// small files become larger ones; the oldest may be removed.
///
/// ```text
/// requests/
///   _snapback/metadata                   whose rows these are, and their columns
///   segment-00000000000000000000-0192f5a1/     closed: its files were merged
///     00000000000000000059-0192f5a1-0.parquet
///   segment-00000000000000000060-0192f5a1/     open: a file for each epoch
///     00000000000000000060-0192f5a1-0.parquet
///     00000000000000000061-0192f5a1-0.parquet
/// ```
///
/// Whoever reads `**/*.parquet` (or `**/*.jsonl`) sees at any moment each row of the epochs that were
/// written once: a file gets its name when it is durable, and a merged segment takes the place of
/// its files in one step (`renameat2` with `RENAME_EXCHANGE`). Names that begin with a dot are not for
/// readers.
///
/// An epoch that the checkpoint does not have is removed when the next run opens the directory. So after
/// a crash the rows are exactly those of the committed epochs.
pub struct FileSink {
    path: PathBuf,
    encoding: Encoding,
    compact_files: usize,
    max_disk_bytes: Option<u64>,
    open: Option<Open>,
}

/// The sink, once it is open.
struct Open {
    directory: Directory,
    schema: SchemaRef,
    /// The first part of the names that this run gives.
    run: String,
    /// Whether a checkpoint's lock keeps all others away. Else the segments of other runs are left
    /// alone: one of them may still be written, by a process that is being replaced.
    is_alone: bool,
    /// What is added to the caller's epochs.
    shift: u64,
    /// Oldest first; the last one is being written.
    segments: Vec<Segment>,
    /// The file system cannot exchange directories, so segments stay as they are.
    cannot_compact: bool,
}

impl FileSink {
    /// A sink of files in this directory, which is created where it is missing.
    pub fn new(directory: impl Into<PathBuf>, format: FileFormat) -> Self {
        FileSink {
            path: directory.into(),
            encoding: Encoding::new(format),
            compact_files: COMPACT_FILES,
            max_disk_bytes: None,
            open: None,
        }
    }

    /// How Parquet files are compressed; [`Compression::Zstd`] if nothing is said.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.encoding.compression = compression;
        self
    }

    /// Merges so many files of single epochs into one: 60 if nothing is said; 1 merges none. Fewer are
    /// merged when they have 128 MiB together.
    #[must_use]
    pub fn compact_files(self, files: usize) -> Self {
        FileSink {
            compact_files: files.max(1),
            ..self
        }
    }

    /// Removes the oldest segments when all files together have more bytes. The newest file stays in
    /// any case.
    #[must_use]
    pub fn max_disk_bytes(self, bytes: u64) -> Self {
        FileSink {
            max_disk_bytes: Some(bytes),
            ..self
        }
    }

    /// What was opened.
    fn opened(&mut self) -> Result<&mut Open, SinkError> {
        let path = &self.path;
        self.open
            .as_mut()
            .ok_or_else(|| format!("the sink at `{}` is not open", path.display()).into())
    }
}

impl BatchSink for FileSink {
    fn open(&mut self, opening: &Opening, schema: &SchemaRef) -> Result<(), SinkError> {
        let extension = self.encoding.extension();
        let mut directory = Directory::open(&self.path, extension)?;
        directory.claim(opening, self.encoding.format, schema)?;
        let is_alone = opening.resume != Resume::Append;
        let mut segments = directory.segments(is_alone)?;
        let shift = match opening.resume {
            Resume::After(committed) => {
                let removed = directory.take_back(&mut segments, committed)?;
                if removed > 0 {
                    tracing::info!(
                        files = removed,
                        path = %self.path.display(),
                        "removed what the checkpoint does not have"
                    );
                }
                0
            }
            Resume::Append => {
                let last_epochs = segments.iter().map(Segment::last_epoch);
                last_epochs.max().map_or(0, |epoch| epoch + 1)
            }
        };
        self.open = Some(Open {
            directory,
            schema: SchemaRef::clone(schema),
            run: opening.run_id.chars().take(16).collect(),
            is_alone,
            shift,
            segments,
            cannot_compact: false,
        });
        Ok(())
    }

    fn write(&mut self, epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
        let compact_files = self.compact_files;
        let encoding = self.encoding;
        let open = self.opened()?;
        if rows.iter().all(|rows| rows.num_rows() == 0) {
            return Ok(());
        }
        let epoch = epoch + open.shift;
        let is_full = |segment: &Segment| {
            segment.files.len() >= compact_files || segment.bytes() >= COMPACT_BYTES
        };
        let continues = |segment: &Segment| {
            open.may_change(segment) && (segment.first == epoch || !is_full(segment))
        };
        if !open.segments.last().is_some_and(continues) {
            let segment = Segment::begin(epoch, &open.run);
            open.directory.create(&segment)?;
            open.segments.push(segment);
        }
        let Some(segment) = open.segments.last_mut() else {
            return Ok(());
        };
        let earlier = segment.files.iter().filter(|file| file.epoch == epoch);
        let name = DataFile::name(epoch, &open.run, earlier.count(), encoding.extension());
        let bytes = open.directory.write(segment, &name, |file| {
            encoding.write(file, &open.schema, &mut rows.iter().cloned().map(Ok))
        })?;
        segment.files.push(DataFile { epoch, name, bytes });
        Ok(())
    }

    fn committed(&mut self, epoch: u64) -> Result<(), SinkError> {
        let (encoding, max_disk_bytes) = (self.encoding, self.max_disk_bytes);
        let open = self.opened()?;
        let epoch = epoch + open.shift;
        open.compact(epoch, encoding)?;
        if let Some(max_bytes) = max_disk_bytes {
            open.remove_oldest(max_bytes)?;
        }
        Ok(())
    }
}

impl Open {
    /// Whether nobody else writes the segment.
    fn may_change(&self, segment: &Segment) -> bool {
        self.is_alone || segment.run == self.run
    }

    /// Merges the files of each segment that is closed, and of which the checkpoint has all.
    fn compact(&mut self, committed: u64, encoding: Encoding) -> Result<(), SinkError> {
        let closed = self.segments.len().saturating_sub(1);
        for index in 0..closed {
            let segment = &self.segments[index];
            let last_epoch = segment.last_epoch();
            let is_small = segment.files.len() > 1 && last_epoch <= committed;
            if self.cannot_compact || !is_small || !self.may_change(segment) {
                continue;
            }
            let name = DataFile::name(last_epoch, &self.run, 0, encoding.extension());
            let mut rows = format::read_all(self.directory.paths(segment), encoding, &self.schema);
            let merged = self.directory.exchange(segment, &name, |file| {
                encoding.write(file, &self.schema, &mut rows)
            })?;
            let Some(bytes) = merged else {
                tracing::warn!(
                    path = %self.directory.path().display(),
                    "this file system cannot exchange two directories: small files stay as they are"
                );
                self.cannot_compact = true;
                return Ok(());
            };
            self.segments[index].files = vec![DataFile {
                epoch: last_epoch,
                name,
                bytes,
            }];
        }
        Ok(())
    }

    fn remove_oldest(&mut self, max_bytes: u64) -> Result<(), SinkError> {
        let mut total: u64 = self.segments.iter().map(Segment::bytes).sum();
        while total > max_bytes && self.segments.len() > 1 {
            let segment = &self.segments[0];
            self.directory.remove(segment)?;
            total -= segment.bytes();
            tracing::info!(
                files = segment.files.len(),
                bytes = segment.bytes(),
                path = %self.directory.path().display(),
                "removed the oldest rows, for maxDiskBytes"
            );
            self.segments.remove(0);
        }
        // What is left is being written: its oldest files go, its newest stays.
        while total > max_bytes
            && let Some(segment) = self.segments.first_mut()
            && segment.files.len() > 1
        {
            let file = &segment.files[0];
            self.directory.remove_file(segment, &file.name)?;
            total -= file.bytes;
            segment.files.remove(0);
        }
        Ok(())
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("path", &self.path)
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}
