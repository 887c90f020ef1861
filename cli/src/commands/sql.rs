//! `snapback sql`: a service from one command.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use snapback::options::parse_duration;
use snapback::{Mode, Session, Trigger};
use snapback_sql::datafusion::prelude::SessionContext;
use snapback_sql::{ParsingCheck, ReplyMode, SqlError};

use super::Outcome;
use crate::definition::{BodyKind, Definition, Listen, LogFiles, Part, Service, Table};
use crate::lint::{plainly, quoted_tables};
use crate::serve::StartError;
use crate::{sample, serve, tables};

/// Serve a query.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  snapback sql \"SELECT character_length(foo) AS fooLength FROM requests\" --schema 'foo STRING, bar INT'
  curl -d '{\"foo\":\"hello\",\"bar\":1}' localhost:8888/my_api")]
pub(super) struct SqlArguments {
    /// The query, over `requests` and the tables.
    query: String,
    /// The columns of a JSON body: `foo STRING, bar INT`.
    #[arg(long, value_name = "DDL", conflicts_with = "sample")]
    schema: Option<String>,
    /// A file of requests (JSON, CSV, Parquet, Arrow) from which the columns are inferred.
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// What a body is, if not one JSON object: `rows`, an array of them; the column `text`, or `bytes`.
    #[arg(long, value_enum)]
    body: Option<Body>,
    /// Query parameters as columns: `zip STRING NOT NULL, limit INT`.
    #[arg(long, value_name = "DDL")]
    parameters: Option<String>,
    /// Header fields as columns: `x_user STRING` is `X-User`.
    #[arg(long, value_name = "DDL")]
    headers: Option<String>,
    /// What becomes of a JSON body that does not fit.
    #[arg(long, value_enum, default_value = "full")]
    parsing_check: Check,
    /// A condition over the columns of a request, and the reply to those for which it is true; they do
    /// not get as far as the query. Repeatable.
    #[arg(long, num_args = 2, value_names = ["WHEN", "REPLY"])]
    send_reply: Vec<String>,
    /// The column that is the reply; by default all of them, as a JSON object if there are several.
    #[arg(long, value_name = "COLUMN")]
    reply: Option<String>,
    /// What becomes of several rows of one request; by default `array` where the body is rows, else
    /// `first`.
    #[arg(long, value_enum)]
    reply_mode: Option<Rows>,
    /// Where it listens, and the path that it answers: HOST:PORT/path, or unix:/socket.
    #[arg(long, value_name = "ADDRESS", default_value = "localhost:8888/my_api")]
    listen: Listen,
    /// How requests are worked on.
    #[arg(long, value_enum, default_value = "continuous")]
    mode: ModeName,
    /// A table that the query may join: NAME=FILE (Parquet, CSV, JSON, Arrow). Repeatable.
    #[arg(long = "table", value_name = "NAME=FILE", value_parser = table)]
    tables: Vec<Table>,
    /// Look so often whether a table's file has changed, and read it anew: `10s`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    reload: Option<Duration>,
    /// An option: `numPartitions=2`; `snapback reference` lists them. Repeatable.
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    /// How far apart epochs are.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    trigger: Duration,
    /// Begin a micro-batch so often, instead of as soon as the last one has ended.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "trigger")]
    processing_time: Option<Duration>,
    /// Write requests with their replies to Parquet files in this directory, once each.
    #[arg(long, value_name = "DIRECTORY")]
    request_log: Option<PathBuf>,
    /// The name of the query; by default the path.
    #[arg(long)]
    name: Option<String>,
    /// What is told to the log, which goes to standard error.
    #[arg(long, default_value = "info")]
    log: tracing::Level,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Body {
    Rows,
    Text,
    Bytes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Check {
    Full,
    Partial,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rows {
    First,
    Array,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    Continuous,
    Distributed,
    Server,
}

pub(super) fn main(arguments: &SqlArguments) -> Outcome {
    super::log_to_stderr(arguments.log);
    let has_schema = arguments.schema.is_some() || arguments.sample.is_some();
    match arguments.body {
        Some(Body::Text | Body::Bytes) if has_schema => {
            return Err("--body text and --body bytes are one column: leave --schema out".into());
        }
        Some(Body::Rows) if !has_schema => {
            return Err("--body rows needs the columns of a row: --schema 'foo STRING'".into());
        }
        _ => {}
    }
    let is_continuous = matches!(arguments.mode, ModeName::Continuous);
    if is_continuous && arguments.processing_time.is_some() {
        return Err("--processing-time is about micro-batches, and --mode continuous has none: leave it out, or \
                    add --mode distributed or --mode server"
            .into());
    }
    if arguments.reload.is_some() && arguments.tables.is_empty() {
        return Err("--reload is about tables: add --table NAME=FILE, or leave it out".into());
    }
    let schema = match &arguments.sample {
        Some(file) => Some(sample::infer(file)?),
        None => arguments.schema.clone(),
    };
    if let (Some(_), Some(schema)) = (&arguments.sample, &schema) {
        eprintln!("schema    {schema}");
    }
    let context = serve::wait_for(tables::context(&arguments.tables))?;
    let context = context.map_err(|(name, error)| format!("--table {name}: {error}"))?;
    let service = service(arguments, schema);
    let session = Session::new();
    let query = serve::start(&session, &service, &context, arguments.reload);
    let query = query.map_err(|error| match &error {
        StartError::Definition(Part::Sql, error) => of_query(arguments, error, &context),
        _ => error.told(|part| told(arguments, part)),
    })?;
    serve::announce([(&service, &query)], &session)?;
    serve::until_ended(&session, &[query])
}

fn service(arguments: &SqlArguments, schema: Option<String>) -> Service {
    let listen = arguments.listen.clone();
    let of_path = match listen.path.as_str() {
        "" => "sql".to_owned(),
        path => path.to_owned(),
    };
    Service {
        name: arguments.name.clone().unwrap_or(of_path),
        definition: Definition {
            body: match arguments.body {
                Some(Body::Rows) => BodyKind::Rows,
                Some(Body::Text) => BodyKind::Text,
                Some(Body::Bytes) => BodyKind::Bytes,
                None => BodyKind::Json,
            },
            schema,
            check: match arguments.parsing_check {
                Check::Full => ParsingCheck::Full,
                Check::Partial => ParsingCheck::Partial,
                Check::None => ParsingCheck::None,
            },
            parameters: arguments.parameters.clone(),
            headers: arguments.headers.clone(),
            send_reply: arguments
                .send_reply
                .chunks_exact(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
            sql: arguments.query.clone(),
            reply: arguments.reply.clone(),
            reply_mode: arguments.reply_mode.map(|mode| match mode {
                Rows::First => ReplyMode::First,
                Rows::Array => ReplyMode::Array,
            }),
        },
        mode: match arguments.mode {
            ModeName::Continuous => Mode::Continuous,
            ModeName::Distributed => Mode::Distributed,
            ModeName::Server => Mode::Server,
        },
        listen,
        trigger: match arguments.processing_time {
            Some(interval) => Trigger::ProcessingTime(interval),
            None => Trigger::Continuous(arguments.trigger),
        },
        request_log: arguments.request_log.clone().map(LogFiles::at),
        options: arguments.options.clone(),
        cases: Vec::new(),
    }
}

/// What is wrong with the query, and the way out.
fn of_query(arguments: &SqlArguments, error: &SqlError, context: &SessionContext) -> String {
    let message = error.to_string();
    let said = plainly(&message).replace("datafusion.public.", "");
    if said.starts_with("table '") {
        let tables = quoted_tables(context);
        return format!("the query: {said}: there are {tables}; add others by --table NAME=FILE");
    }
    let has_columns = arguments.schema.is_some()
        || arguments.sample.is_some()
        || arguments.parameters.is_some()
        || arguments.headers.is_some()
        || arguments.body.is_some();
    if !has_columns && said.contains("No field named") {
        return format!(
            "the query: {said} The columns of a JSON body are told by --schema 'foo STRING, bar INT', or \
             taken from a file by --sample FILE"
        );
    }
    format!("the query: {said}")
}

/// What of the command line a part of the definition is.
fn told(arguments: &SqlArguments, part: Part) -> &'static str {
    match part {
        Part::Schema if arguments.sample.is_some() => "--sample",
        Part::Schema => "--schema",
        Part::Parameters => "--parameters",
        Part::Headers => "--headers",
        Part::SendReply => "--send-reply",
        Part::Sql => "the query",
        Part::Reply => "--reply",
    }
}

fn table(text: &str) -> Result<Table, String> {
    let (name, file) = key_and_value(text, "zips=zips.parquet")?;
    let folder = env::current_dir().map_err(|error| error.to_string())?;
    Ok(Table {
        name,
        file: folder.join(file),
        format: None,
        schema: None,
        header: true,
        reload: None,
    })
}

fn option(text: &str) -> Result<(String, String), Box<dyn Error + Send + Sync>> {
    let (key, value) = key_and_value(text, "numPartitions=2")?;
    if ["host", "port", "path"].contains(&key.to_ascii_lowercase().as_str()) {
        return Err(format!("`{key}` is told by --listen, as `localhost:8888/my_api`").into());
    }
    snapback::options::Options::default().set(&key, &value)?;
    Ok((key, value))
}

fn key_and_value(text: &str, example: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected a name, `=` and a value, as `{example}`")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(_) if text.trim().bytes().all(|byte| byte.is_ascii_digit()) => Err(format!(
            "`{text}` of what? Add the unit, as `{text}s` or `{text}ms`"
        )),
        Some(duration) => Ok(duration),
        None => Err("expected a duration, as `10s` or `250ms`".to_owned()),
    }
}
