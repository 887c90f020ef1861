//! How rows are written to files, and read again to be merged.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef};
use datafusion::arrow::json::{LineDelimitedWriter, ReaderBuilder};
use datafusion::arrow::record_batch::RecordBatch;

use super::super::SinkError;

/// Rows that are merged are read so many at a time.
const MERGED_ROWS: usize = 8 << 10;

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// Apache Parquet.
    #[cfg(feature = "parquet")]
    Parquet,
    /// JSON, an object a line.
    Json,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => "parquet",
            FileFormat::Json => "json",
        })
    }
}

/// There is no such format, or no such compression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {known}")]
pub struct UnknownName {
    given: String,
    known: &'static str,
}

impl FromStr for FileFormat {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            #[cfg(feature = "parquet")]
            "parquet" => Ok(FileFormat::Parquet),
            "json" => Ok(FileFormat::Json),
            _ => Err(UnknownName {
                given: name.to_owned(),
                known: "`parquet`, `json`",
            }),
        }
    }
}

/// How Parquet files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Zstandard at its fastest level.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// Not at all.
    None,
}

impl FromStr for Compression {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "zstd" => Ok(Compression::Zstd),
            "snappy" => Ok(Compression::Snappy),
            "none" => Ok(Compression::None),
            _ => Err(UnknownName {
                given: name.to_owned(),
                known: "`zstd`, `snappy`, `none`",
            }),
        }
    }
}

/// Rows, a batch after the other.
type Rows<'r> = dyn Iterator<Item = Result<RecordBatch, SinkError>> + 'r;

/// A format, and what is to be said about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoding {
    pub(super) format: FileFormat,
    pub(super) compression: Compression,
}

impl Encoding {
    pub(super) fn new(format: FileFormat) -> Self {
        Encoding {
            format,
            compression: Compression::default(),
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self.format {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => "parquet",
            FileFormat::Json => "jsonl",
        }
    }

    /// Writes all rows; the file is not synced.
    pub(super) fn write(
        self,
        file: &mut File,
        schema: &SchemaRef,
        rows: &mut Rows<'_>,
    ) -> Result<(), SinkError> {
        match self.format {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => parquet::write(file, schema, self.compression, rows),
            FileFormat::Json => {
                let mut out = BufWriter::new(file);
                let mut writer = LineDelimitedWriter::new(&mut out);
                for rows in rows {
                    writer.write(&rows?)?;
                }
                writer.finish()?;
                drop(writer);
                Ok(out.flush()?)
            }
        }
    }
}

/// The rows of these files, one file after the other.
pub(super) fn read_all(
    paths: Vec<PathBuf>,
    encoding: Encoding,
    schema: &SchemaRef,
) -> impl Iterator<Item = Result<RecordBatch, SinkError>> {
    let schema = Arc::clone(schema);
    paths.into_iter().flat_map(move |path| {
        let rows = read(&path, encoding, &schema)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()));
        match rows {
            Ok(rows) => rows,
            Err(error) => Box::new(std::iter::once(Err(error.into()))),
        }
    })
}

fn read(
    path: &PathBuf,
    encoding: Encoding,
    schema: &SchemaRef,
) -> Result<Box<Rows<'static>>, SinkError> {
    let file = File::open(path)?;
    Ok(match encoding.format {
        #[cfg(feature = "parquet")]
        FileFormat::Parquet => Box::new(parquet::read(file)?),
        FileFormat::Json => {
            let reader = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(MERGED_ROWS);
            let rows = reader.build(BufReader::new(file))?;
            Box::new(rows.map(|rows| Ok(rows?)))
        }
    })
}

/// Whether fewer than half of the first rows of a column are different: then each value is written
/// once, and rows are numbers of it. For others that would only cost time.
fn repeats(rows: &RecordBatch, column: usize) -> bool {
    const SAMPLE: usize = 512;

    let column = rows.column(column);
    let sample = column.slice(0, column.len().min(SAMPLE));
    let distinct = match sample.data_type() {
        DataType::Utf8 => distinct(sample.as_string::<i32>().iter()),
        DataType::Int32 => distinct(sample.as_primitive::<Int32Type>().iter()),
        DataType::Int64 => distinct(sample.as_primitive::<Int64Type>().iter()),
        other => return !other.is_temporal() && !other.is_floating() && !is_text(other),
    };
    2 * distinct < sample.len().max(3)
}

fn distinct<T: Eq + Hash>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<HashSet<T>>().len()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
    )
}

#[cfg(feature = "parquet")]
mod parquet {
    use std::fs::File;
    use std::sync::Arc;

    use datafusion::arrow::datatypes::SchemaRef;
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use datafusion::parquet::basic::{Compression as Codec, ZstdLevel};
    use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
    use datafusion::parquet::schema::types::ColumnPath;

    use super::super::super::SinkError;
    use super::{Compression, MERGED_ROWS, Rows, is_text, repeats};

    /// A group of rows is in memory until it is written.
    const GROUP_ROWS: usize = 128 << 10;

    pub(super) fn write(
        file: &mut File,
        schema: &SchemaRef,
        compression: Compression,
        rows: &mut Rows<'_>,
    ) -> Result<(), SinkError> {
        let mut rows = rows.peekable();
        let mut properties = WriterProperties::builder()
            .set_compression(match compression {
                Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1)?),
                Compression::Snappy => Codec::SNAPPY,
                Compression::None => Codec::UNCOMPRESSED,
            })
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        if let Some(Ok(first)) = rows.peek() {
            for (index, field) in schema.fields().iter().enumerate() {
                let path = ColumnPath::new(vec![field.name().clone()]);
                let repeats = repeats(first, index);
                properties = properties.set_column_dictionary_enabled(path.clone(), repeats);
                // Nobody looks for bodies between two others.
                if is_text(field.data_type()) && !repeats {
                    properties =
                        properties.set_column_statistics_enabled(path, EnabledStatistics::None);
                }
            }
        }
        let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties.build()))?;
        for rows in rows {
            let rows: RecordBatch = rows?;
            writer.write(&rows)?;
        }
        writer.close()?;
        Ok(())
    }

    pub(super) fn read(
        file: File,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, SinkError>>, SinkError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let rows = reader.with_batch_size(MERGED_ROWS).build()?;
        Ok(rows.map(|rows| Ok(rows?)))
    }
}
