//! Tables in files, registered for queries.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use snapback_sql::datafusion::arrow::datatypes::Schema;
use snapback_sql::datafusion::error::DataFusionError;
use snapback_sql::datafusion::execution::options::ArrowReadOptions;
use snapback_sql::datafusion::prelude::{
    CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext,
};
use snapback_sql::ddl;

use crate::definition::Table;
use crate::file::{FORMATS, quoted};

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// There is no such file.
    #[error("cannot read `{file}`: {error}")]
    File {
        /// The file.
        file: String,
        /// Why not.
        error: std::io::Error,
    },
    /// A folder without a file of the format.
    #[error("`{file}` has no file that ends with `.{format}`")]
    Empty {
        /// The folder.
        file: String,
        /// The format.
        format: String,
    },
    /// What the file is is not known.
    #[error("`{file}` does not say by its name what it is: let its name end so, or in a service file set `format`, one of {}", quoted(FORMATS.iter().copied()))]
    Format {
        /// The file.
        file: String,
    },
    /// The name is the stream's.
    #[error("a table cannot be called `requests`: that is what the stream is called")]
    Name,
    /// The schema is not one.
    #[error(transparent)]
    Schema(#[from] ddl::DdlError),
    /// A schema for a format that has its own.
    #[error("a {format} file has a schema of its own: leave `schema` out")]
    OwnSchema {
        /// The format.
        format: String,
    },
    /// DataFusion cannot read it.
    #[error("cannot read `{file}` as {format}: {error}")]
    Read {
        /// The file.
        file: String,
        /// The format.
        format: String,
        /// Why not.
        error: DataFusionError,
    },
}

impl TableError {
    /// The key in a file that is at fault.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            TableError::Schema(_) | TableError::OwnSchema { .. } => "schema",
            _ => "file",
        }
    }
}

impl Table {
    /// Registers the table under its name.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) async fn register(&self, context: &SessionContext) -> Result<(), TableError> {
        let file = self.file.display().to_string();
        if self.name == snapback_sql::REQUESTS {
            return Err(TableError::Name);
        }
        let metadata = fs::metadata(&self.file).map_err(|error| TableError::File {
            file: file.clone(),
            error,
        })?;
        let format = match self.format.clone().or_else(|| format_of(&self.file)) {
            Some(format) => format,
            None => return Err(TableError::Format { file }),
        };
        if metadata.is_dir() && !has_file(&self.file, &format) {
            return Err(TableError::Empty { file, format });
        }
        let schema = match &self.schema {
            Some(_) if ["parquet", "arrow"].contains(&format.as_str()) => {
                return Err(TableError::OwnSchema { format });
            }
            Some(ddl) => Some(ddl::parse(ddl)?),
            None => None,
        };
        let read = self.read(context, &file, &format, schema.as_ref(), metadata.is_dir());
        read.await.map_err(|error| TableError::Read {
            file,
            format,
            error,
        })
    }

    async fn read(
        &self,
        context: &SessionContext,
        file: &str,
        format: &str,
        schema: Option<&Schema>,
        is_folder: bool,
    ) -> Result<(), DataFusionError> {
        // Files of a folder are told by how their names end; a file that was named is taken as it is.
        let own_ending = self.file.extension().and_then(|ending| ending.to_str());
        let ending = match own_ending {
            Some(ending) if !is_folder => format!(".{ending}"),
            None if !is_folder => String::new(),
            _ => format!(".{format}"),
        };
        let path = match is_folder {
            true => format!("{}/", file.trim_end_matches('/')),
            false => file.to_owned(),
        };
        let name = self.name.as_str();
        match format {
            "csv" => {
                let mut options = CsvReadOptions::new()
                    .has_header(self.header)
                    .file_extension(&ending);
                options.schema = schema;
                context.register_csv(name, path, options).await
            }
            "json" => {
                let options = JsonReadOptions {
                    file_extension: &ending,
                    schema,
                    ..JsonReadOptions::default()
                };
                context.register_json(name, path, options).await
            }
            "arrow" => {
                let options = ArrowReadOptions {
                    file_extension: &ending,
                    ..ArrowReadOptions::default()
                };
                context.register_arrow(name, path, options).await
            }
            _ => {
                let options = ParquetReadOptions {
                    file_extension: &ending,
                    ..ParquetReadOptions::default()
                };
                context.register_parquet(name, path, options).await
            }
        }
    }
}

/// What a file is by how its name ends.
fn format_of(file: &Path) -> Option<String> {
    let ending = file.extension()?.to_str()?.to_ascii_lowercase();
    let format = match ending.as_str() {
        "ndjson" | "jsonl" => "json",
        "feather" | "ipc" => "arrow",
        known if FORMATS.contains(&known) => known,
        _ => return None,
    };
    Some(format.to_owned())
}

fn has_file(folder: &Path, format: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|ending| ending == format)
    })
}

/// A context with these tables.
///
/// # Errors
///
/// The first table that cannot be read.
pub(crate) async fn context<'t>(
    tables: impl IntoIterator<Item = &'t Table>,
) -> Result<Arc<SessionContext>, (String, TableError)> {
    let context = snapback_sql::context();
    for table in tables {
        let registered = table.register(&context).await;
        registered.map_err(|error| (table.name.clone(), error))?;
    }
    Ok(Arc::new(context))
}
