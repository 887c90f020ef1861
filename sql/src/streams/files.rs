//! The files of a directory, each once.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json;
use datafusion::arrow::record_batch::RecordBatch;

use super::source::{Source, Taken};
use crate::durable::{create_dir_all, names, remove_file, sync_dir, write_durably};
use crate::sink::SinkError;

/// How many files an epoch takes, if nothing is said.
const MOST_FILES: usize = 64;
/// So many records of epochs become one.
const MERGED_RECORDS: usize = 64;

/// What the files of a source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// JSON, an object a line: `.json`, `.jsonl`, `.ndjson`.
    Json,
    /// CSV with a first line of names: `.csv`.
    Csv,
    /// Apache Parquet: `.parquet`.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl FileFormat {
    fn extensions(self) -> &'static [&'static str] {
        match self {
            FileFormat::Json => &["json", "jsonl", "ndjson"],
            FileFormat::Csv => &["csv"],
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => &["parquet"],
        }
    }
}

impl FromStr for FileFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "json" => Ok(FileFormat::Json),
            "csv" => Ok(FileFormat::Csv),
            #[cfg(feature = "parquet")]
            "parquet" => Ok(FileFormat::Parquet),
            _ => Err(format!("`{name}` is none of `json`, `csv`, `parquet`")),
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extensions()[0])
    }
}

/// The rows of the files in a directory, oldest file first, each file once, over restarts too where there is a
/// checkpoint.
///
/// Files are to be renamed into the directory when they are whole. A name that begins with a dot or an
/// underscore is none, nor is one that ends otherwise than the format does. A file is known by its
/// name: one that is replaced by another of its name is not read again. A file that cannot be read is tried
/// again until somebody mends or removes it; those behind it wait.
#[derive(Debug)]
pub struct FilesSource {
    directory: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
    max_files: usize,
    records: Option<PathBuf>,
    /// How many records there are beside each other.
    record_count: usize,
    /// The files that were taken.
    seen: HashSet<String>,
    /// Those of them that are not recorded.
    open: Vec<String>,
}

impl FilesSource {
    /// The files of this format, whose rows have these columns.
    pub fn new(directory: impl Into<PathBuf>, format: FileFormat, schema: SchemaRef) -> Self {
        FilesSource {
            directory: directory.into(),
            format,
            schema,
            max_files: MOST_FILES,
            records: None,
            record_count: 0,
            seen: HashSet::new(),
            open: Vec::new(),
        }
    }

    /// Takes so many files an epoch at most: 64 if nothing is said.
    #[must_use]
    pub fn max_files_per_trigger(self, files: usize) -> Self {
        FilesSource {
            max_files: files.max(1),
            ..self
        }
    }

    /// The files that were not taken, oldest first.
    fn new_files(&self) -> Result<Vec<String>, SinkError> {
        let mut files: Vec<(SystemTime, String)> = Vec::new();
        for name in names(&self.directory)? {
            let extension = Path::new(&name).extension().and_then(|its| its.to_str());
            let is_ours = extension.is_some_and(|its| self.format.extensions().contains(&its));
            if !is_ours || name.starts_with(['.', '_']) || self.seen.contains(&name) {
                continue;
            }
            // It may be gone again.
            if let Ok(metadata) = fs::metadata(self.directory.join(&name))
                && metadata.is_file()
            {
                files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), name));
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, name)| name).collect())
    }

    fn read(&self, path: &Path) -> Result<Vec<RecordBatch>, SinkError> {
        let file = fs::File::open(path)?;
        let schema = Arc::clone(&self.schema);
        Ok(match self.format {
            FileFormat::Json => {
                let rows = json::ReaderBuilder::new(schema).build(BufReader::new(file))?;
                rows.collect::<Result<_, _>>()?
            }
            FileFormat::Csv => {
                let rows = csv::ReaderBuilder::new(schema).with_header(true);
                rows.build(file)?.collect::<Result<_, _>>()?
            }
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => {
                use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

                let rows = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
                rows.map(|rows| self.fitted(&rows?))
                    .collect::<Result<_, _>>()?
            }
        })
    }

    /// The columns that the schema names, by their names.
    #[cfg(feature = "parquet")]
    fn fitted(&self, rows: &RecordBatch) -> Result<RecordBatch, SinkError> {
        let columns = self.schema.fields().iter().map(|field| {
            let column = rows
                .column_by_name(field.name())
                .ok_or_else(|| format!("it has no column `{}`", field.name()))?;
            Ok(datafusion::arrow::compute::cast(column, field.data_type())?)
        });
        let columns = columns.collect::<Result<Vec<_>, SinkError>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Puts all records up to an epoch into one. A crash leaves some twice, which is the same.
    fn merge_records(&mut self, records: &Path, epoch: u64) -> Result<(), SinkError> {
        let open: HashSet<&String> = self.open.iter().collect();
        let mut all: Vec<&String> = self
            .seen
            .iter()
            .filter(|name| !open.contains(name))
            .collect();
        all.sort();
        write_record(records, epoch, all.into_iter())?;
        for name in names(records)? {
            if name.parse::<u64>().is_ok_and(|older| older < epoch) {
                remove_file(&records.join(name))?;
            }
        }
        self.record_count = 1;
        sync_dir(records)
    }
}

fn write_record<'n>(
    records: &Path,
    epoch: u64,
    names: impl Iterator<Item = &'n String>,
) -> Result<(), SinkError> {
    let names: Vec<&String> = names.collect();
    let text = serde_json::to_vec(&names)?;
    write_durably(records, &epoch.to_string(), |file| {
        Ok(file.write_all(&text)?)
    })?;
    Ok(())
}

impl Source for FilesSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn begin(
        &mut self,
        records: Option<&Path>,
        committed: Option<(u64, u64)>,
    ) -> Result<(), SinkError> {
        // Whether it can be read is seen now.
        self.new_files()?;
        let Some(records) = records else {
            return Ok(());
        };
        create_dir_all(records)?;
        for name in names(records)? {
            let path = records.join(&name);
            let Ok(epoch) = name.parse::<u64>() else {
                continue;
            };
            if Some(epoch) > committed.map(|(epoch, _)| epoch) {
                // That epoch runs again.
                remove_file(&path)?;
                continue;
            }
            let text = fs::read(&path)
                .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
            let taken: Vec<String> = serde_json::from_slice(&text)
                .map_err(|error| format!("`{}` is damaged: {error}", path.display()))?;
            self.seen.extend(taken);
            self.record_count += 1;
        }
        self.records = Some(records.to_owned());
        if let Some((epoch, _)) = committed
            && self.record_count > 1
        {
            self.merge_records(records, epoch)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Taken>, SinkError> {
        let mut rows = Vec::new();
        let mut taken = Vec::new();
        for name in self.new_files()?.into_iter().take(self.max_files) {
            let path = self.directory.join(&name);
            match self.read(&path) {
                Ok(its) => rows.extend(its),
                // Those before it go on.
                Err(_) if !taken.is_empty() => break,
                Err(error) => {
                    return Err(format!(
                        "cannot read `{}`: {error}; mend it, or take it away",
                        path.display()
                    )
                    .into());
                }
            }
            taken.push(name);
        }
        if taken.is_empty() {
            return Ok(None);
        }
        self.seen.extend(taken.iter().cloned());
        self.open.extend(taken);
        let offset = self.seen.len() as u64;
        Ok(Some(Taken { rows, offset }))
    }

    fn record(&mut self, epoch: u64) -> Result<(), SinkError> {
        if let Some(records) = self.records.clone() {
            write_record(&records, epoch, self.open.iter())?;
            self.record_count += 1;
            if self.record_count > MERGED_RECORDS
                && let Some(before) = epoch.checked_sub(1)
            {
                self.merge_records(&records, before)?;
                self.record_count += 1;
            }
        }
        self.open.clear();
        Ok(())
    }
}
