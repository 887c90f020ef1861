//! The format of a service file, as data: what `lint` holds a file against, and what the JSON Schema
//! and the reference are written from.

use snapback::options::{OPTIONS, OptionSpec};
use snapback_sql::LOG_COLUMNS;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// One of these texts, in any case.
    Choice(&'static [&'static str]),
    /// `10s`, `250ms`, `2 minutes`.
    Duration,
    /// `64 KiB`, `10g`.
    Size,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// Anything that JSON can be.
    Json,
    /// Options of a query; see `docs/options.md`.
    Options,
    /// Names and texts.
    Texts,
    /// A mapping with these keys.
    Map(&'static [Key]),
    /// A mapping of names to what has this shape.
    Named(&'static Kind),
    /// A list of what has this shape.
    List(&'static Kind),
    /// A text, or the long form of it.
    Either(&'static Kind, &'static Kind),
}

/// A key of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) kind: Kind,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What it means, in a sentence or two.
    pub(crate) doc: &'static str,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: false,
        doc,
    }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: true,
        doc,
    }
}

/// The modes of a service.
pub(crate) const MODES: &[&str] = &["continuous", "distributed", "server"];
/// What a body is taken for.
pub(crate) const BODIES: &[&str] = &["json", "rows", "text", "bytes"];
/// How strictly a JSON body is held against its schema.
pub(crate) const CHECKS: &[&str] = &["full", "partial", "none"];
/// What becomes of several rows of one request.
pub(crate) const REPLY_MODES: &[&str] = &["first", "array"];
/// What the files of a request log may be, and how those of Parquet are compressed.
pub(crate) const LOG_FORMATS: &[&str] = &["parquet", "json"];
pub(crate) const COMPRESSIONS: &[&str] = &["zstd", "snappy", "none"];
/// What a table's file may be.
pub(crate) const FORMATS: &[&str] = &["parquet", "csv", "json", "arrow"];

/// The whole file.
pub(crate) const FILE: Kind = Kind::Map(&[
    required(
        "services",
        Kind::Named(&SERVICE),
        "The services, by their names.",
    ),
    key(
        "tables",
        Kind::Named(&Kind::Either(&Kind::Text, &TABLE)),
        "The tables that their queries may join, by their names; a file alone, or with how it is to be \
         read.",
    ),
    key(
        "options",
        Kind::Options,
        "Options of every service; one of its own with the same key goes before.",
    ),
]);

const SERVICE: Kind = Kind::Map(&[
    required(
        "listen",
        Kind::Text,
        "Where it listens, and the path that it answers: `localhost:8888/my_api`, `*:80`, \
         `unix:/run/my_api.sock`. Port 0 takes a free one.",
    ),
    key(
        "mode",
        Kind::Choice(MODES),
        "`continuous` (default) answers each request from its own row; `distributed` and `server` work \
         on micro-batches, and run any query over them.",
    ),
    key(
        "body",
        Kind::Choice(BODIES),
        "What a body is: `json` (default where there is a schema) gives the schema's columns, `rows` \
         takes an array of such objects, each of which is a row, `text` gives the column `text`, `bytes` \
         the column `bytes`.",
    ),
    key(
        "schema",
        Kind::Text,
        "The columns of a JSON body: `foo STRING, bar INT NOT NULL`.",
    ),
    key(
        "parsingCheck",
        Kind::Choice(CHECKS),
        "What becomes of a JSON body that does not fit: `full` (default) answers 400, `partial` only if \
         nothing fits, `none` never.",
    ),
    key(
        "parameters",
        Kind::Text,
        "Query parameters as columns: `zip STRING NOT NULL, limit INT`.",
    ),
    key(
        "headers",
        Kind::Text,
        "Header fields as columns: `x_user STRING` is `X-User`.",
    ),
    key(
        "sendReply",
        Kind::List(&SEND_REPLY),
        "Replies to requests that do not get as far as the query; the first whose condition is true \
         answers. A field that is missing is refused before, unless `parsingCheck` is `partial` or `none`.",
    ),
    required(
        "sql",
        Kind::Text,
        "The query, over `requests` and the tables.",
    ),
    key(
        "reply",
        Kind::Text,
        "The column that is the reply; when the query has several and none is named, all of them \
         together, as a JSON object.",
    ),
    key(
        "replyMode",
        Kind::Choice(REPLY_MODES),
        "Of several rows of a request `first` answers, or all as an `array`; by default `array` where the \
         body is `rows`.",
    ),
    key(
        "trigger",
        Kind::Either(&Kind::Duration, &TRIGGER),
        "How far apart epochs are (default 1s).",
    ),
    key(
        "requestLog",
        Kind::Either(&Kind::Text, &REQUEST_LOG),
        "Requests with their replies are written to files in this directory, once each; how, if more is \
         to be said.",
    ),
    key(
        "options",
        Kind::Options,
        "Options: listening, limits, TLS, keys, checkpoints; `docs/options.md` lists them.",
    ),
    key(
        "tests",
        Kind::List(&CASE),
        "Requests and the replies to them, which `snapback test` compares.",
    ),
]);

const SEND_REPLY: Kind = Kind::Map(&[
    required(
        "when",
        Kind::Text,
        "A condition over the columns of a request: `value IS NULL`.",
    ),
    required(
        "reply",
        Kind::Text,
        "The reply, an expression over them: `string_to_response('the value is null', 400)`.",
    ),
]);

const TRIGGER: Kind = Kind::Map(&[
    key(
        "continuous",
        Kind::Duration,
        "How far apart epochs are; requests are answered as they come.",
    ),
    key(
        "processingTime",
        Kind::Duration,
        "How far apart micro-batches and epochs are.",
    ),
]);

const REQUEST_LOG: Kind = Kind::Map(&[
    required(
        "directory",
        Kind::Text,
        "The directory, of this service alone. Who reads `**/*.parquet` there sees each request once.",
    ),
    key(
        "format",
        Kind::Choice(LOG_FORMATS),
        "`parquet` (default), or `json`: an object a line, in files that end with `.jsonl`.",
    ),
    key(
        "compression",
        Kind::Choice(COMPRESSIONS),
        "How Parquet is compressed (default `zstd`).",
    ),
    key(
        "columns",
        Kind::List(&Kind::Choice(LOG_COLUMNS)),
        "Which columns, by default `id`, `time`, `duration_us`, `status`, `method`, `path`, `query`, \
         `request` and `reply`. Headers are in none.",
    ),
    key(
        "compactFiles",
        Kind::Integer {
            least: 1,
            most: 100_000,
        },
        "So many files of single epochs are merged into one (default 60); 1 merges none.",
    ),
    key(
        "maxDiskBytes",
        Kind::Size,
        "The oldest files are removed when all have more bytes; by default never.",
    ),
]);

const TABLE: Kind = Kind::Map(&[
    required(
        "file",
        Kind::Text,
        "A file, or a folder of files of one format.",
    ),
    key(
        "format",
        Kind::Choice(FORMATS),
        "What it is; by default what its name ends with.",
    ),
    key(
        "schema",
        Kind::Text,
        "The columns of a CSV or JSON file; by default they are inferred.",
    ),
    key(
        "header",
        Kind::Boolean,
        "Whether the first line of a CSV file names the columns (default true).",
    ),
    key(
        "reload",
        Kind::Duration,
        "How often to look whether the file has changed, and to read it anew; by default never.",
    ),
]);

const CASE: Kind = Kind::Map(&[
    required("name", Kind::Text, "What it shows."),
    key("request", Kind::Map(REQUEST), "What is sent."),
    required("reply", Kind::Map(REPLY), "What must come back."),
]);

const REQUEST: &[Key] = &[
    key(
        "method",
        Kind::Text,
        "The method; by default POST where there is a body, and GET where there is none.",
    ),
    key(
        "path",
        Kind::Text,
        "Path and query; by default the service's.",
    ),
    key("headers", Kind::Texts, "Header fields."),
    key("json", Kind::Json, "The body, as JSON."),
    key("body", Kind::Text, "The body, as it is."),
];

const REPLY: &[Key] = &[
    key(
        "status",
        Kind::Integer {
            least: 100,
            most: 599,
        },
        "The status (default 200).",
    ),
    key(
        "headers",
        Kind::Texts,
        "Header fields that must be there; others may.",
    ),
    key(
        "json",
        Kind::Json,
        "The body, as JSON; `<any>`, `<text>`, `<number>`, `<integer>`, `<boolean>` stand for any such \
         value.",
    ),
    key(
        "body",
        Kind::Text,
        "The body, as it is; `<any>` stands for any text.",
    ),
];

impl Kind {
    /// What it is, in the words of an error: "expected …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Kind::Text => "a text".to_owned(),
            Kind::Choice(choices) => format!("one of {}", quoted(choices.iter().copied())),
            Kind::Duration => "a duration, as `10s` or `250ms`".to_owned(),
            Kind::Size => "a size, as `64 MiB` or `10g`".to_owned(),
            Kind::Boolean => "`true` or `false`".to_owned(),
            Kind::Integer { least, most } => format!("a whole number from {least} to {most}"),
            Kind::Json => "any value".to_owned(),
            Kind::Options => "options and their values".to_owned(),
            Kind::Texts => "names and texts".to_owned(),
            Kind::Map(keys) => format!("a mapping of {}", quoted(keys.iter().map(|key| key.name))),
            Kind::Named(_) => "a mapping of names".to_owned(),
            Kind::List(kind) => format!("a list, each of it {}", kind.describe()),
            Kind::Either(short, long) => format!("{}, or {}", short.describe(), long.describe()),
        }
    }
}

/// The option of this key, in any case.
pub(crate) fn option(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|option| option.key.eq_ignore_ascii_case(key))
}

/// `a`, `b`, `c`.
pub(crate) fn quoted<'t>(names: impl IntoIterator<Item = &'t str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The name that a misspelled one most likely means: at most a third of its letters differ.
pub(crate) fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_ascii_lowercase();
    let (distance, nearest) = names
        .into_iter()
        .map(|known| {
            let lower = known.to_ascii_lowercase();
            (strsim::damerau_levenshtein(&name, &lower), known)
        })
        .min()?;
    (distance <= (nearest.len() / 3).max(1)).then_some(nearest)
}
