//! What the files of a stream hold: their rows, or where they are wrong.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::array::new_null_array;
use datafusion::arrow::compute::cast;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// So many rows of a file decide what its columns are, where that is not said.
const INFERRED_ROWS: usize = 1000;

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

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The system is in the way, which may pass by itself.
    System(io::Error),
    /// It does not hold what it should.
    Malformed {
        /// The first line that is wrong, counted from 1, where there are lines.
        line: Option<u64>,
        reason: String,
    },
}

impl FileFormat {
    pub(super) fn extensions(self) -> &'static [&'static str] {
        match self {
            FileFormat::Json => &["json", "jsonl", "ndjson"],
            FileFormat::Csv => &["csv"],
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => &["parquet"],
        }
    }

    /// The rows of a file, with these columns by their names. What a file does not have of them is null, where
    /// it may be; what it has beside them is not read.
    pub(super) fn read(
        self,
        path: &Path,
        schema: &SchemaRef,
    ) -> Result<Vec<RecordBatch>, Unreadable> {
        let mut file = File::open(path)?;
        match self {
            FileFormat::Json => {
                let rows = json::ReaderBuilder::new(Arc::clone(schema));
                let rows = rows.build(BufReader::new(&file))?;
                match rows.collect::<Result<Vec<_>, _>>() {
                    Ok(rows) => Ok(rows),
                    Err(error) => {
                        file.rewind()?;
                        Err(first_bad_line(BufReader::new(file), schema, error))
                    }
                }
            }
            FileFormat::Csv => {
                let format = csv::reader::Format::default().with_header(true);
                let (names, _) = format.infer_schema(BufReader::new(&file), Some(0))?;
                if names.fields().is_empty() {
                    return Ok(Vec::new());
                }
                file.rewind()?;
                let of_file = as_in_file(&names, schema);
                let rows = csv::ReaderBuilder::new(Arc::clone(&of_file)).with_header(true);
                match rows.build(&file)?.collect::<Result<Vec<_>, _>>() {
                    Ok(rows) => fitted(rows.into_iter().map(Ok), schema),
                    Err(error) => Err(first_bad_record(&std::fs::read(path)?, of_file, error)),
                }
            }
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => {
                use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

                let rows = ParquetRecordBatchReaderBuilder::try_new(file);
                let rows = rows.and_then(ParquetRecordBatchReaderBuilder::build);
                fitted(rows.map_err(ArrowError::from)?, schema)
            }
        }
    }

    /// The columns of a file, as it seems. All may be null.
    pub(super) fn infer(self, path: &Path) -> Result<Schema, Unreadable> {
        let file = File::open(path)?;
        let schema = match self {
            FileFormat::Json => {
                let file = BufReader::new(file);
                json::reader::infer_json_schema(file, Some(INFERRED_ROWS))?.0
            }
            FileFormat::Csv => {
                let format = csv::reader::Format::default().with_header(true);
                let (schema, _) = format.infer_schema(BufReader::new(file), Some(INFERRED_ROWS))?;
                schema
            }
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => {
                use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

                let rows = ParquetRecordBatchReaderBuilder::try_new(file);
                rows.map_err(ArrowError::from)?.schema().as_ref().clone()
            }
        };
        let fields = schema.fields().iter().map(|field| {
            let data_type = match field.data_type() {
                // Nothing but nulls so far.
                DataType::Null => DataType::Utf8,
                known => known.clone(),
            };
            Field::new(field.name(), data_type, true)
        });
        Ok(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Looks for the line that a file of JSON fails at. The reader knows no lines, so it is given one after
/// the other.
fn first_bad_line(mut file: impl BufRead, schema: &SchemaRef, error: ArrowError) -> Unreadable {
    let builder = json::ReaderBuilder::new(Arc::clone(schema));
    let Ok(mut decoder) = builder.build_decoder() else {
        return Unreadable::from(error);
    };
    let mut decode = |line: &[u8]| -> Result<(), ArrowError> {
        let mut rest = line;
        while !rest.is_empty() {
            let read = decoder.decode(rest)?;
            rest = &rest[read..];
            // An object may go on in the next line, if there is one.
            if !decoder.has_partial_record() || line == END {
                decoder.flush()?;
            }
        }
        Ok(())
    };
    /// What follows the last line.
    const END: &[u8] = b" ";
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        match file.read_until(b'\n', &mut line) {
            Ok(0) => line.extend_from_slice(END),
            Ok(_) => number += 1,
            Err(error) => return Unreadable::System(error),
        }
        if let Err(error) = decode(&line) {
            return Unreadable::from(error).at(number);
        }
        if line == END {
            return Unreadable::from(error);
        }
    }
}

/// Looks for the record that a file of CSV fails at. What the reader says of lines is of no use: it counts
/// records, from 0 or from 1, and a record may have several lines.
fn first_bad_record(text: &[u8], of_file: SchemaRef, error: ArrowError) -> Unreadable {
    let records = csv::ReaderBuilder::new(of_file).with_header(true);
    let mut decoder = records.with_batch_size(1).build_decoder();
    // The line of names.
    let mut at = decoder.decode(text).unwrap_or(text.len());
    loop {
        let ends = text[at..].iter().take_while(|byte| b"\r\n".contains(byte));
        let begin = at + ends.count();
        let read = decoder.decode(&text[at..]);
        let record = read.and_then(|read| {
            at += read;
            decoder.flush()
        });
        match record {
            Ok(Some(_)) => {}
            Ok(None) => return Unreadable::from(error),
            Err(error) => {
                let lines = text[..begin].iter().filter(|byte| **byte == b'\n');
                let number = 1 + lines.count() as u64;
                return Unreadable::from(without_line(error)).at(number);
            }
        }
    }
}

/// What the reader of CSV says, but for the line.
fn without_line(error: ArrowError) -> ArrowError {
    let cut = |mut text: String| {
        for mark in [" at line ", " for line "] {
            if let Some(begin) = text.find(mark) {
                let rest = &text[begin + mark.len()..];
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                text.replace_range(begin..begin + mark.len() + digits, "");
            }
        }
        text
    };
    match error {
        ArrowError::ParseError(text) => ArrowError::ParseError(cut(text)),
        ArrowError::CsvError(text) => ArrowError::CsvError(cut(text)),
        other => other,
    }
}

impl Unreadable {
    fn at(self, number: u64) -> Self {
        match self {
            Unreadable::Malformed { reason, .. } => Unreadable::Malformed {
                line: Some(number),
                reason,
            },
            system => system,
        }
    }
}

/// The columns of a file of CSV in its order, typed as the schema says; the others are texts.
fn as_in_file(names: &Schema, schema: &SchemaRef) -> SchemaRef {
    let typed = |field: &FieldRef| -> FieldRef {
        let known = schema.fields().find(field.name());
        known.map_or_else(
            || Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            |(_, known)| Arc::clone(known),
        )
    };
    let fields: Vec<FieldRef> = names.fields().iter().map(typed).collect();
    Arc::new(Schema::new(fields))
}

/// Rows with the columns of the schema, by their names.
fn fitted(
    rows: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, Unreadable> {
    let fit = |rows: RecordBatch| {
        let column = |field: &FieldRef| match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows.num_rows())),
            None => Err(ArrowError::SchemaError(format!(
                "it has no column `{}`, which is NOT NULL",
                field.name()
            ))),
        };
        let columns = schema.fields().iter().map(column);
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    };
    Ok(rows.map(|rows| fit(rows?)).collect::<Result<_, _>>()?)
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Unreadable::System(error)
    }
}

impl From<ArrowError> for Unreadable {
    fn from(error: ArrowError) -> Self {
        // Whoever reads through the system says what it said, however deep.
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            if let Some(system) = inner.downcast_ref::<io::Error>()
                && let Some(code) = system.raw_os_error()
            {
                return Unreadable::System(io::Error::from_raw_os_error(code));
            }
            cause = inner.source();
        }
        Unreadable::Malformed {
            line: None,
            reason: error.to_string(),
        }
    }
}

/// Completes "the file …".
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::System(error) => write!(f, "cannot be read: {error}"),
            Unreadable::Malformed { line, reason } => {
                f.write_str("is malformed")?;
                if let Some(line) = line {
                    write!(f, " at line {line}")?;
                }
                write!(f, ": {reason}")
            }
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
