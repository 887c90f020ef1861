//! From a tree of the right shape to the services that it describes.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use snapback::options::{parse_bytes, parse_duration};
use snapback::{Mode, Trigger};
use snapback_sql::sink::FileFormat;
use snapback_sql::{LogColumnError, ParsingCheck, ReplyMode};

use super::check::check;
use super::environment::substitute;
use super::problem::Problem;
use super::shape::FILE;
use super::yaml::{Node, parse};
use crate::cases::{Case, Expectation, Expected};
use crate::definition::{BodyKind, Definition, Listen, LogFiles, Service, Table};

/// What a file describes, and where.
#[derive(Debug, Default)]
pub(crate) struct ServiceFile {
    /// The services, in the order of the file.
    pub(crate) services: Vec<Located<Service>>,
    /// The tables.
    pub(crate) tables: Vec<Located<Table>>,
}

/// Something of a file, with the places of its parts.
#[derive(Debug)]
pub(crate) struct Located<T> {
    /// What it is.
    pub(crate) what: T,
    /// Whether it stands there as it should.
    pub(crate) is_sound: bool,
    node: Node,
    key: Range<usize>,
}

impl ServiceFile {
    /// How often to look whether tables have changed: as often as the most impatient of them wants.
    pub(crate) fn reload(&self) -> Option<Duration> {
        self.tables
            .iter()
            .filter_map(|table| table.what.reload)
            .min()
    }
}

impl<T> Located<T> {
    /// Where the value of a key stands; the name of the whole, when there is none.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        let value = self.node.get(key).map(|value| value.span.clone());
        value.unwrap_or_else(|| self.key.clone())
    }

    /// Where the value of a key stands; the whole, when there is none.
    pub(crate) fn place_or_whole(&self, key: &str) -> Range<usize> {
        let value = self.node.get(key).unwrap_or(&self.node);
        value.span.clone()
    }

    /// Where the values of some keys stand, in each element of a list that has them all.
    pub(crate) fn elements<const N: usize>(
        &self,
        key: &str,
        of: &[&str; N],
    ) -> Vec<[Range<usize>; N]> {
        let elements = self.node.get(key).map(Node::elements).unwrap_or_default();
        let places = |node: &Node| {
            let places = of.map(|key| node.get(key).map(|value| value.span.clone()));
            let is_whole = places.iter().all(Option::is_some);
            is_whole.then(|| places.map(Option::unwrap_or_default))
        };
        elements.iter().filter_map(places).collect()
    }

    /// Where the name stands.
    pub(crate) fn name(&self) -> Range<usize> {
        self.key.clone()
    }
}

/// Reads a file whose relative paths are those of a folder: what it describes, as far as that can be
/// told, and all that is wrong with it as it stands there.
pub(crate) fn read(
    text: &str,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (ServiceFile, Vec<Problem>) {
    let mut root = match parse(text) {
        Ok(root) => root,
        Err(problem) => return (ServiceFile::default(), vec![problem]),
    };
    let mut problems = Vec::new();
    substitute(&mut root, variable, &mut problems);
    let unset: Vec<Range<usize>> = problems
        .iter()
        .map(|problem| problem.span.clone())
        .collect();
    check(&root, &FILE, &mut problems);
    let mut reader = Reader { folder, problems };
    let shared = root.get("options").map(options).unwrap_or_default();
    let tables = reader.each(&root, "tables", Reader::table);
    let services = reader.each(&root, "services", |reader, name, node| {
        reader.service(name, node, &shared)
    });
    let mut problems = reader.problems;
    // What is wrong with a value whose variable is not set is that.
    let told = unset.len();
    let mut number = 0;
    problems.retain(|problem| {
        number += 1;
        number <= told || !unset.contains(&problem.span)
    });
    (ServiceFile { services, tables }, problems)
}

struct Reader<'f> {
    folder: &'f Path,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// What the entries under a key describe. Those that have not the right shape are left out; that
    /// is a problem already.
    fn each<T>(
        &mut self,
        root: &Node,
        key: &str,
        mut read: impl FnMut(&mut Self, &str, &Node) -> Option<T>,
    ) -> Vec<Located<T>> {
        let mut all = Vec::new();
        for (name, node) in root.get(key).map(Node::entries).unwrap_or_default() {
            let Some(text) = name.text() else { continue };
            if let Some(what) = read(self, text, node) {
                let is_inside = |problem: &Problem| node.span.contains(&problem.span.start);
                let is_sound = !self.problems.iter().any(is_inside);
                let (node, key) = (node.clone(), name.span.clone());
                all.push(Located {
                    what,
                    is_sound,
                    node,
                    key,
                });
            }
        }
        all
    }

    fn table(&mut self, name: &str, node: &Node) -> Option<Table> {
        let file = match node.text() {
            Some(file) => file,
            None => node.get("file")?.text()?,
        };
        let field = |key| node.get(key).and_then(Node::text);
        Some(Table {
            name: name.to_owned(),
            file: self.folder.join(file),
            format: field("format").map(str::to_ascii_lowercase),
            schema: field("schema").map(str::to_owned),
            header: field("header") != Some("false"),
            reload: field("reload").and_then(parse_duration),
        })
    }

    fn service(&mut self, name: &str, node: &Node, shared: &[(String, String)]) -> Option<Service> {
        let field = |key| node.get(key).and_then(Node::text);
        let own = |key| field(key).map(str::to_owned);
        let listen = node.get("listen")?;
        let listen = match listen.text()?.parse::<Listen>() {
            Ok(listen) => listen,
            Err(error) => {
                let problem = Problem::new(
                    listen.span.clone(),
                    format!("cannot listen at {}", listen.describe()),
                    error,
                );
                self.problems.push(problem);
                return None;
            }
        };
        let mode = match lower(field("mode")).as_deref() {
            Some("distributed") => Mode::Distributed,
            Some("server") => Mode::Server,
            _ => Mode::Continuous,
        };
        let body = match lower(field("body")).as_deref() {
            Some("rows") => BodyKind::Rows,
            Some("text") => BodyKind::Text,
            Some("bytes") => BodyKind::Bytes,
            _ => BodyKind::Json,
        };
        let is_json = matches!(body, BodyKind::Json | BodyKind::Rows);
        if let (false, Some(schema)) = (is_json, node.get("schema")) {
            self.problems.push(
                Problem::new(
                    schema.span.clone(),
                    "a schema for a body that is not JSON",
                    "the body is one column",
                )
                .help("leave `schema` out, or set `body: json`"),
            );
        }
        if let (BodyKind::Rows, None, Some(place)) = (body, node.get("schema"), node.get("body")) {
            self.problems.push(
                Problem::new(
                    place.span.clone(),
                    "rows without columns",
                    "what a row has is not said",
                )
                .help("add `schema`, as `foo STRING, bar INT`"),
            );
        }
        let check = lower(field("parsingCheck")).map(|check| check.parse::<ParsingCheck>());
        let mut options_of = shared.to_vec();
        for (key, value) in node.get("options").map(options).unwrap_or_default() {
            options_of.retain(|(shared, _)| !shared.eq_ignore_ascii_case(&key));
            options_of.push((key, value));
        }
        let cases = node.get("tests").map(Node::elements).unwrap_or_default();
        let cases = cases.iter().filter_map(|case| self.case(case, &listen));
        Some(Service {
            name: name.to_owned(),
            cases: cases.collect(),
            definition: Definition {
                body,
                schema: own("schema"),
                check: check.and_then(Result::ok).unwrap_or_default(),
                parameters: own("parameters"),
                headers: own("headers"),
                send_reply: send_reply(node),
                sql: own("sql")?,
                reply: own("reply"),
                reply_mode: match lower(field("replyMode")).as_deref() {
                    Some("array") => Some(ReplyMode::Array),
                    Some("first") => Some(ReplyMode::First),
                    _ => None,
                },
            },
            mode,
            listen,
            trigger: self.trigger(node.get("trigger")),
            request_log: self.request_log(node.get("requestLog")),
            options: options_of,
        })
    }

    fn request_log(&mut self, node: Option<&Node>) -> Option<LogFiles> {
        let node = node?;
        if let Some(directory) = node.text() {
            return Some(LogFiles::at(self.folder.join(directory)));
        }
        let field = |key| node.get(key).and_then(Node::text);
        let mut log = LogFiles::at(self.folder.join(field("directory")?));
        if let Some(format) = lower(field("format")) {
            log.format = format.parse().ok()?;
        }
        if let (Some(compression), Some(place)) =
            (lower(field("compression")), node.get("compression"))
        {
            log.compression = compression.parse().ok()?;
            if log.format != FileFormat::Parquet {
                self.problems.push(Problem::new(
                    place.span.clone(),
                    "a compression for files that are not Parquet",
                    "leave it out, or set `format: parquet`",
                ));
            }
        }
        log.compact_files = field("compactFiles").and_then(|number| number.parse().ok());
        log.max_disk_bytes = field("maxDiskBytes").and_then(parse_bytes);
        if let Some(columns) = node.get("columns") {
            let names = columns.elements().iter().filter_map(Node::text);
            let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
            log.columns = Some(names);
            // A name that there is not is a problem already.
            if let Err(error @ LogColumnError::Twice { .. }) = log.sink() {
                self.problems.push(Problem::new(
                    columns.span.clone(),
                    "these columns cannot be written",
                    error.to_string(),
                ));
            }
        }
        Some(log)
    }

    fn trigger(&mut self, node: Option<&Node>) -> Trigger {
        let Some(node) = node else {
            return Trigger::default();
        };
        let duration = |node: &Node| node.text().and_then(parse_duration);
        if let Some(interval) = duration(node) {
            return Trigger::Continuous(interval);
        }
        if let [_, (second, _), ..] = node.entries() {
            self.problems.push(Problem::new(
                second.span.clone(),
                "two triggers",
                "a query has one: leave the other out",
            ));
        }
        let of = |key| node.get(key).and_then(duration);
        match (of("continuous"), of("processingTime")) {
            (_, Some(interval)) => Trigger::ProcessingTime(interval),
            (Some(interval), None) => Trigger::Continuous(interval),
            (None, None) => Trigger::default(),
        }
    }

    fn case(&mut self, node: &Node, listen: &Listen) -> Option<Case> {
        let empty = Node {
            span: node.span.clone(),
            value: super::yaml::Value::Map(Vec::new()),
            written: None,
        };
        let request = node.get("request").unwrap_or(&empty);
        let reply = node.get("reply")?;
        for part in [request, reply] {
            if let (Some(_), Some(body)) = (part.get("json"), part.get("body")) {
                self.problems.push(Problem::new(
                    body.span.clone(),
                    "two bodies",
                    "`json` is one already: leave one of them out",
                ));
            }
        }
        let body = match (request.get("json"), request.get("body")) {
            (Some(json), _) => Some(json.to_json().to_string()),
            (None, Some(body)) => body.text().map(str::to_owned),
            (None, None) => None,
        };
        let method = request.get("method").and_then(Node::text);
        let path = request.get("path").and_then(Node::text);
        let status = reply.get("status").and_then(Node::text);
        Some(Case {
            name: node.get("name")?.text()?.to_owned(),
            method: method
                .unwrap_or(if body.is_some() { "POST" } else { "GET" })
                .to_owned(),
            target: match path {
                Some(path) if path.starts_with('/') => path.to_owned(),
                Some(path) => format!("/{path}"),
                None => format!("/{}", listen.path),
            },
            headers: request.get("headers").map(options).unwrap_or_default(),
            body: body.unwrap_or_default(),
            expected: Expected {
                status: status.and_then(|status| status.parse().ok()).unwrap_or(200),
                headers: reply.get("headers").map(options).unwrap_or_default(),
                body: match (reply.get("json"), reply.get("body")) {
                    (Some(json), _) => Expectation::Json(json.to_json()),
                    (None, Some(body)) => {
                        Expectation::Text(body.text().unwrap_or_default().to_owned())
                    }
                    (None, None) => Expectation::Anything,
                },
            },
        })
    }
}

/// Names and texts.
fn options(node: &Node) -> Vec<(String, String)> {
    let text = |node: &Node| node.text().map(str::to_owned);
    let entries = node.entries().iter();
    entries
        .filter_map(|(key, value)| Some((text(key)?, text(value)?)))
        .collect()
}

/// Conditions and their replies.
fn send_reply(node: &Node) -> Vec<(String, String)> {
    let pairs = node.get("sendReply").map(Node::elements);
    let text = |node: &Node, key| node.get(key)?.text().map(str::to_owned);
    let pair = |node| Some((text(node, "when")?, text(node, "reply")?));
    pairs.unwrap_or_default().iter().filter_map(pair).collect()
}

fn lower(text: Option<&str>) -> Option<String> {
    text.map(str::to_ascii_lowercase)
}
