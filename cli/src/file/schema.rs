//! The JSON Schema of the format, for editors, and its reference, for people: both from its shape.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use snapback::options::{OPTIONS, option_table};

use super::shape::{FILE, Key, Kind};

/// The JSON Schema (draft 2020-12) of service files.
pub(crate) fn json_schema() -> Value {
    let mut schema = of(&FILE);
    if let Value::Object(schema) = &mut schema {
        let head = [
            ("$schema", "https://json-schema.org/draft/2020-12/schema"),
            ("title", "Snapback service file"),
        ];
        for (key, value) in head {
            schema.insert(key.to_owned(), json!(value));
        }
    }
    schema
}

fn of(kind: &Kind) -> Value {
    match kind {
        // YAML has numbers and truth values where a text is meant, as in `zip: 98052`.
        Kind::Text => json!({"type": ["string", "number", "boolean"]}),
        Kind::Choice(choices) => json!({"enum": choices}),
        Kind::Duration => {
            json!({"type": ["string", "integer"], "pattern": r"^\s*[0-9]+\s*[a-zA-Zµ]*$"})
        }
        Kind::Size => {
            json!({"type": ["string", "integer"], "pattern": r"^\s*[0-9]+\s*[a-zA-Z]*$"})
        }
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Integer { least, most } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Kind::Json => json!({}),
        Kind::Texts => json!({"type": "object", "additionalProperties": of(&Kind::Text)}),
        Kind::Options => {
            let options = OPTIONS.iter().map(|option| {
                let mut schema = of(&Kind::Text);
                schema["description"] =
                    json!(format!("{} Default: {}.", option.doc, (option.default)()));
                (option.key.to_owned(), schema)
            });
            let options: Map<String, Value> = options.collect();
            json!({"type": "object", "properties": options, "additionalProperties": false})
        }
        Kind::Map(keys) => {
            let properties: Map<String, Value> = keys
                .iter()
                .map(|key| {
                    let mut schema = of(&key.kind);
                    schema["description"] = json!(key.doc);
                    (key.name.to_owned(), schema)
                })
                .collect();
            let required: Vec<&str> = keys
                .iter()
                .filter(|key| key.required)
                .map(|key| key.name)
                .collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
        Kind::Named(kind) => {
            json!({"type": "object", "additionalProperties": of(kind), "minProperties": 1})
        }
        Kind::List(kind) => json!({"type": "array", "items": of(kind)}),
        Kind::Either(short, long) => json!({"anyOf": [of(short), of(long)]}),
    }
}

/// What may stand in a service file, as Markdown; `docs/service-files.md` holds it.
pub(crate) fn reference() -> String {
    let mut out = String::from("# Service files\n");
    section(&mut out, "The file", "", &FILE);
    out.push_str("\n## Options\n\n");
    out.push_str(&option_table());
    out
}

fn section(out: &mut String, title: &str, path: &str, kind: &Kind) {
    let Kind::Map(keys) = kind else {
        return;
    };
    // A text cannot be written to in vain.
    let _ = write!(
        out,
        "\n## {title}\n\n| key | value | meaning |\n|---|---|---|\n"
    );
    for key in *keys {
        let name = match key.required {
            true => format!("**`{}`**", key.name),
            false => format!("`{}`", key.name),
        };
        let _ = writeln!(out, "| {name} | {} | {} |", short(&key.kind), key.doc);
    }
    for key in *keys {
        inner(out, path, key);
    }
}

fn inner(out: &mut String, path: &str, key: &Key) {
    let path = match path {
        "" => key.name.to_owned(),
        path => format!("{path}.{}", key.name),
    };
    let mut kind = &key.kind;
    let mut path = path;
    loop {
        kind = match kind {
            Kind::Named(inner) => {
                path.push_str(".NAME");
                inner
            }
            Kind::List(inner) => {
                path.push_str("[]");
                inner
            }
            Kind::Either(_, long) => long,
            _ => break,
        };
    }
    section(out, &format!("`{path}`"), &path, kind);
}

/// What a value may be, in a cell of a table.
fn short(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Choice(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
            choices.join(", ")
        }
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Integer { least, most } => format!("{least} to {most}"),
        Kind::Json => "anything".to_owned(),
        Kind::Options => "options".to_owned(),
        Kind::Texts => "names: texts".to_owned(),
        Kind::Map(_) => "mapping".to_owned(),
        Kind::Named(kind) => format!("names: {}", short(kind)),
        Kind::List(kind) => format!("list of {}", short(kind)),
        Kind::Either(first, second) => format!("{} or {}", short(first), short(second)),
    }
}
