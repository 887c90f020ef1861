//! A YAML document as a tree that knows where in its text each node stands.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::problem::Problem;

/// How deep nodes may nest, and how many there may be: aliases could make a short text a large tree.
const MOST_NESTED: usize = 64;
const MOST_NODES: usize = 100_000;

/// The way out of a text that YAML takes for a mapping.
pub(super) const LOOSE_COLON: &str =
    "a text with a colon and a space in it is written in quotes, or below `|`";

/// A node of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands: bytes of the text.
    pub(crate) span: Range<usize>,
    /// What it is.
    pub(crate) value: Value,
    /// As it stands in the file, where that names variables: what they are may be for nobody's eyes.
    pub(crate) written: Option<String>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A text, a number, a word, or nothing at all.
    Scalar {
        /// As it is meant: unquoted, unfolded.
        text: String,
        /// Whether it stands there without quotes, so that `1` may be a number and `null` nothing.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether there is nothing: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if is_null(text))
    }

    /// What it is, in a sentence that says what was found instead of something else.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            _ if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => {
                format!("`{}`", shortened(self.written.as_ref().unwrap_or(text)))
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(entries) if entries.is_empty() => "an empty mapping".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The value that has a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(name, _)| name.text() == Some(key))
            .map(|(_, value)| value)
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; none of anything else.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The node as JSON, by YAML's core schema: what stands there without quotes may be a number, a
    /// truth value or null.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;

        match &self.value {
            Value::Scalar { text, plain: false } => Json::String(text.clone()),
            Value::Scalar { text, .. } if is_null(text) => Json::Null,
            Value::Scalar { text, .. } => match text.as_str() {
                "true" | "True" | "TRUE" => Json::Bool(true),
                "false" | "False" | "FALSE" => Json::Bool(false),
                number => number
                    .parse::<serde_json::Number>()
                    .map_or_else(|_| Json::String(text.clone()), Json::Number),
            },
            Value::List(elements) => elements.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), value.to_json()))
                .collect(),
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads one document. What is wrong with it as YAML ends the reading.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    let mut builder = Builder {
        bytes: text
            .char_indices()
            .map(|(byte, _)| byte)
            .chain([text.len()])
            .collect(),
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = builder.byte(*error.marker());
            let problem = Problem::new(
                at..at,
                format!("this is not YAML: {}", error.info()),
                "here",
            );
            match has_loose_colon(text, at) {
                true => problem.help(LOOSE_COLON),
                false => problem,
            }
        })?;
        builder.take(event, span)?;
    }
    builder.root.ok_or_else(|| {
        Problem::new(0..0, "the file is empty", "nothing is here")
            .help("a service needs at least `services:`; `snapback schema` describes the format")
    })
}

/// Whether the line of this byte has a value without quotes that has a colon and a space in it.
fn has_loose_colon(text: &str, at: usize) -> bool {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let value = line.split_once(": ").map(|(_, value)| value.trim_start());
    value.is_some_and(|value| {
        !value.starts_with(['"', '\'', '{', '[', '|', '>']) && value.contains(": ")
    })
}

/// What was opened and is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    /// The entries, and the key whose value comes next.
    Map(Vec<(Node, Node)>, Option<Node>),
}

struct Builder {
    /// The byte of each character.
    bytes: Vec<usize>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn byte(&self, marker: Marker) -> usize {
        let last = self.bytes.last().copied().unwrap_or_default();
        self.bytes.get(marker.index()).copied().unwrap_or(last)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        self.nodes += match &event {
            Event::Alias(anchor) => self.anchors.get(anchor).map_or(0, count),
            _ => 1,
        };
        if self.nodes > MOST_NODES {
            return Err(Problem::new(
                start..end,
                "the document is too large",
                format!("more than {MOST_NODES} nodes, aliases included"),
            ));
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                };
                self.close(anchor, start..end, value)
            }
            Event::SequenceStart(anchor, _) => self.begin(start, anchor, Kind::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(start, anchor, Kind::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(end),
            Event::Alias(anchor) => {
                let Some(Node { value, .. }) = self.anchors.get(&anchor).cloned() else {
                    return Err(Problem::new(
                        start..end,
                        "an alias of what it stands in",
                        "this is not complete yet",
                    ));
                };
                self.close(0, start..end, value)
            }
            Event::DocumentStart(_) if self.root.is_some() => Err(Problem::new(
                start..end,
                "a second document",
                "the file holds one document",
            )),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, start: usize, anchor: usize, kind: Kind) -> Result<(), Problem> {
        if self.open.len() >= MOST_NESTED {
            return Err(Problem::new(
                start..start,
                "too deeply nested",
                format!("at most {MOST_NESTED} levels"),
            ));
        }
        self.open.push(Open {
            start,
            anchor,
            kind,
        });
        Ok(())
    }

    fn end(&mut self, end: usize) -> Result<(), Problem> {
        let Some(Open {
            start,
            anchor,
            kind,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let value = match kind {
            Kind::List(elements) => Value::List(elements),
            Kind::Map(entries, _) => Value::Map(entries),
        };
        self.close(anchor, start..end, value)
    }

    /// A node is complete: it belongs to what is open around it.
    fn close(&mut self, anchor: usize, span: Range<usize>, value: Value) -> Result<(), Problem> {
        let written = None;
        let node = Node {
            span,
            value,
            written,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::List(elements)) => elements.push(node),
            Some(Kind::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None if node.text().is_none() => {
                    return Err(Problem::new(
                        node.span,
                        "a key that is no text",
                        "a list or a mapping cannot be a key",
                    ));
                }
                None => *key = Some(node),
            },
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    1 + node.elements().iter().map(count).sum::<usize>()
        + node
            .entries()
            .iter()
            .map(|(key, value)| count(key) + count(value))
            .sum::<usize>()
}
