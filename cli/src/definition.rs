//! What a service is, however it was written: on a command line or in a file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use snapback::{HasMode, Mode, Pipeline, Requests, Trigger};
use snapback_operators::{Replied, Then};
use snapback_sql::datafusion::prelude::{SessionContext, when};
use snapback_sql::sink::{Compression, FileFormat, FileSink};
use snapback_sql::{
    ColumnOperator, ColumnStream, Columns, LogColumnError, ParsingCheck, ReplyMode, RequestLog,
    SqlError, col,
};

use crate::cases::Case;

/// A service, with all that starting it takes.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its name, which is its query's too.
    pub(crate) name: String,
    /// What it answers with.
    pub(crate) definition: Definition,
    /// How its requests are worked on.
    pub(crate) mode: Mode,
    /// Where it listens.
    pub(crate) listen: Listen,
    /// When its epochs end.
    pub(crate) trigger: Trigger,
    /// Where its requests are written, with their replies.
    pub(crate) request_log: Option<LogFiles>,
    /// Options of reader and writer.
    pub(crate) options: Vec<(String, String)>,
    /// Its tests.
    pub(crate) cases: Vec<Case>,
}

/// From requests to replies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definition {
    /// What a body is.
    pub(crate) body: BodyKind,
    /// The columns of a JSON body, as DDL.
    pub(crate) schema: Option<String>,
    /// How strictly a JSON body is held against them.
    pub(crate) check: ParsingCheck,
    /// Query parameters as columns, as DDL.
    pub(crate) parameters: Option<String>,
    /// Header fields as columns, as DDL.
    pub(crate) headers: Option<String>,
    /// Conditions and replies in front of the query, as expressions in SQL.
    pub(crate) send_reply: Vec<(String, String)>,
    /// The query.
    pub(crate) sql: String,
    /// The column that is the reply; all of them when there is none.
    pub(crate) reply: Option<String>,
    /// What becomes of several rows of one request, if it is said.
    pub(crate) reply_mode: Option<ReplyMode>,
}

/// What a body is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// JSON, where there is a schema.
    #[default]
    Json,
    /// JSON: an array of objects, each of which is a row, or one object.
    Rows,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
}

/// The files of a request log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFiles {
    pub(crate) directory: PathBuf,
    pub(crate) format: FileFormat,
    pub(crate) compression: Compression,
    /// The usual ones, when none are said.
    pub(crate) columns: Option<Vec<String>>,
    /// How many files are merged into one.
    pub(crate) compact_files: Option<usize>,
    pub(crate) max_disk_bytes: Option<u64>,
}

impl LogFiles {
    /// Parquet in this directory.
    pub(crate) fn at(directory: PathBuf) -> Self {
        LogFiles {
            directory,
            format: FileFormat::Parquet,
            compression: Compression::default(),
            columns: None,
            compact_files: None,
            max_disk_bytes: None,
        }
    }

    /// What writes them.
    ///
    /// # Errors
    ///
    /// A column that there is not.
    pub(crate) fn sink(&self) -> Result<RequestLog<FileSink>, LogColumnError> {
        let mut files = FileSink::new(&self.directory, self.format).compression(self.compression);
        if let Some(bytes) = self.max_disk_bytes {
            files = files.max_disk_bytes(bytes);
        }
        if let Some(number) = self.compact_files {
            files = files.compact_files(number);
        }
        let log = RequestLog::to(files);
        match &self.columns {
            Some(columns) => log.columns(columns),
            None => Ok(log),
        }
    }
}

/// A table that queries may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its name in SQL.
    pub(crate) name: String,
    /// Its file, or the folder of its files.
    pub(crate) file: PathBuf,
    /// What it is; what its name ends with, when it is not said.
    pub(crate) format: Option<String>,
    /// The columns of CSV and JSON, as DDL; inferred, when they are not said.
    pub(crate) schema: Option<String>,
    /// Whether the first line of CSV names the columns.
    pub(crate) header: bool,
    /// How often to look whether it has changed.
    pub(crate) reload: Option<Duration>,
}

/// Where a service listens, and the path that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// A host, or `unix:/path`.
    pub(crate) host: String,
    /// 0 for a free one; 0 for a Unix domain socket.
    pub(crate) port: u16,
    /// Without its outer slashes.
    pub(crate) path: String,
}

/// The parts of the definition that can be wrong by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The columns of the body.
    Schema,
    /// The query parameters.
    Parameters,
    /// The header fields.
    Headers,
    /// The replies in front of the query.
    SendReply,
    /// The query.
    Sql,
    /// The column that is the reply.
    Reply,
}

impl Part {
    /// Its key in a file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Part::Schema => "schema",
            Part::Parameters => "parameters",
            Part::Headers => "headers",
            Part::SendReply => "sendReply",
            Part::Sql => "sql",
            Part::Reply => "reply",
        }
    }
}

/// What a definition makes of an empty pipeline.
pub(crate) type Replies<S, O> = Pipeline<S, Replied, Then<O, ColumnOperator>>;

impl Definition {
    /// Builds the pipeline: the same for a service, and for its tests.
    ///
    /// # Errors
    ///
    /// Which part is wrong, and why.
    pub(crate) fn build<S: HasMode, O>(
        &self,
        pipeline: Pipeline<S, Requests, O>,
        tables: &SessionContext,
        reload: Option<Duration>,
    ) -> Result<Replies<S, O>, (Part, SqlError)> {
        let stream = self.columns(pipeline, tables)?;
        let stream = match self.reply_mode {
            Some(reply_mode) => stream.reply_mode(reply_mode),
            None => stream,
        };
        let reads_files = stream.reads_files().map_err(|error| (Part::Sql, error))?;
        let stream = match reload {
            Some(every) if reads_files => stream.reload_tables(every),
            _ => stream,
        };
        match &self.reply {
            // A column that is not there is the fault of who names it; all else is the query's.
            Some(reply) => {
                let schema = stream.schema().map_err(|error| (Part::Sql, error))?;
                let part = match schema.field_with_name(reply) {
                    Ok(_) => Part::Sql,
                    Err(_) => Part::Reply,
                };
                stream.make_reply(col(reply)).map_err(|error| (part, error))
            }
            None => stream
                .make_reply_of_all()
                .map_err(|error| (Part::Sql, error)),
        }
    }

    /// The stream behind the query.
    ///
    /// # Errors
    ///
    /// Which part is wrong, and why.
    pub(crate) fn columns<S: HasMode, O>(
        &self,
        pipeline: Pipeline<S, Requests, O>,
        tables: &SessionContext,
    ) -> Result<ColumnStream<S, O>, (Part, SqlError)> {
        let of = |part| move |error| (part, error);
        let mut stream = pipeline.columns_in(tables);
        stream = match (self.body, &self.schema) {
            (BodyKind::Text, _) => stream.parse_text().map_err(of(Part::Schema))?,
            (BodyKind::Bytes, _) => stream.parse_bytes().map_err(of(Part::Schema))?,
            (BodyKind::Json, Some(schema)) => stream
                .parse_request_with(schema.as_str(), self.check)
                .map_err(of(Part::Schema))?,
            (BodyKind::Rows, Some(schema)) => stream
                .parse_rows_with(schema.as_str(), self.check)
                .map_err(of(Part::Schema))?,
            (BodyKind::Json | BodyKind::Rows, None) => stream,
        };
        if let Some(parameters) = &self.parameters {
            let parsed = stream.parse_query(parameters.as_str());
            stream = parsed.map_err(of(Part::Parameters))?;
        }
        if let Some(headers) = &self.headers {
            let parsed = stream.parse_headers(headers.as_str());
            stream = parsed.map_err(of(Part::Headers))?;
        }
        for (condition, reply) in &self.send_reply {
            let sent = stream.condition(condition).and_then(|condition| {
                let reply = stream.expr(reply)?;
                // A value keeps its column's name.
                let (_, name) = reply.qualified_name();
                stream.send_reply(when(condition, reply).end()?.alias(name))
            });
            stream = sent.map_err(of(Part::SendReply))?;
        }
        stream.sql(&self.sql).map_err(of(Part::Sql))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str =
            "expected HOST:PORT/path or unix:/socket, as `localhost:8888/my_api`";
        let plain = text.strip_prefix("http://").unwrap_or(text);
        if plain.starts_with("https://") {
            return Err(
                "TLS is an option: `tlsPort`, with `tlsCertFile` and `tlsKeyFile`".to_owned(),
            );
        }
        if let Some(socket) = plain.strip_prefix("unix:") {
            let (socket, path) = socket.split_once(":/").unwrap_or((socket, ""));
            if !socket.starts_with('/') {
                return Err(format!("the socket is a path from the root; {EXPECTED}"));
            }
            return Ok(Listen {
                host: format!("unix:{socket}"),
                port: 0,
                path: path.trim_matches('/').to_owned(),
            });
        }
        let (address, path) = plain.split_once('/').unwrap_or((plain, ""));
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(format!("the port is missing; {EXPECTED}"));
        };
        let port = port
            .parse()
            .map_err(|_| format!("`{port}` is no port; {EXPECTED}"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("the host is missing; {EXPECTED}"));
        }
        Ok(Listen {
            host: host.to_owned(),
            port,
            path: path.trim_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listen { host, port, path } = self;
        match host.strip_prefix("unix:") {
            Some(_) => write!(f, "{host}:/{path}"),
            None if host.contains(':') => write!(f, "[{host}]:{port}/{path}"),
            None => write!(f, "{host}:{port}/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("localhost:8888/my_api", Ok("localhost:8888/my_api")),
            ("http://localhost:8888/a/b/", Ok("localhost:8888/a/b")),
            ("[::1]:0", Ok("[::1]:0/")),
            ("*:80/x", Ok("*:80/x")),
            ("unix:/run/a.sock", Ok("unix:/run/a.sock:/")),
            ("unix:/run/a.sock:/my_api", Ok("unix:/run/a.sock:/my_api")),
            ("localhost/my_api", Err("the port is missing")),
            ("localhost:http/my_api", Err("`http` is no port")),
            (":80/x", Err("the host is missing")),
            ("unix:a.sock", Err("the socket is a path")),
            ("https://a:1/x", Err("TLS is an option")),
        ] {
            let listen = text.parse::<Listen>().map(|listen| listen.to_string());
            match (listen, expected) {
                (Ok(listen), Ok(expected)) => assert_eq!(listen, expected),
                (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{error}"),
                (listen, _) => panic!("{text}: {listen:?}"),
            }
        }
    }
}
