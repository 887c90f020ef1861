//! A tree against the shape of the format: every key and every kind of value.

use snapback::options::{OptionError, Options, parse_bytes, parse_duration};

use super::problem::Problem;
use super::shape::{Key, Kind, nearest, quoted};
use super::yaml::{LOOSE_COLON, Node, Value};

/// Adds what is wrong with a node that should have a shape.
pub(crate) fn check(node: &Node, kind: &Kind, problems: &mut Vec<Problem>) {
    match kind {
        Kind::Json => distinct(node, problems),
        Kind::Text
        | Kind::Duration
        | Kind::Size
        | Kind::Choice(_)
        | Kind::Boolean
        | Kind::Integer { .. } => {
            scalar(node, kind, problems);
        }
        Kind::Options => options(node, problems),
        Kind::Texts => each_value(node, &Kind::Text, kind, problems),
        Kind::Named(kind) => each_value(node, kind, &Kind::Named(kind), problems),
        Kind::Map(keys) => map(node, keys, problems),
        Kind::List(element) => match &node.value {
            Value::List(elements) => {
                for node in elements {
                    check(node, element, problems);
                }
            }
            _ => unexpected(node, kind, problems),
        },
        Kind::Either(short, long) => match node.value {
            Value::Map(_) => check(node, long, problems),
            _ => check(node, short, problems),
        },
    }
}

fn unexpected(node: &Node, kind: &Kind, problems: &mut Vec<Problem>) {
    let expected = kind.describe();
    let found = node.describe();
    let problem = Problem::new(
        node.span.clone(),
        format!("expected {expected}"),
        format!("{found} is here"),
    );
    problems.push(match (kind, node.text()) {
        (Kind::Choice(choices), Some(text)) => match nearest(text, choices.iter().copied()) {
            Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
            None => problem,
        },
        (Kind::Text, _) if node.entries().len() == 1 => problem.help(LOOSE_COLON),
        _ => problem,
    });
}

fn scalar(node: &Node, kind: &Kind, problems: &mut Vec<Problem>) {
    let fits = node.text().is_some_and(|text| match kind {
        _ if node.is_null() => false,
        Kind::Choice(choices) => choices
            .iter()
            .any(|choice| choice.eq_ignore_ascii_case(text)),
        Kind::Duration => parse_duration(text).is_some(),
        Kind::Size => parse_bytes(text).is_some(),
        Kind::Boolean => matches!(text, "true" | "false"),
        Kind::Integer { least, most } => text
            .parse::<u64>()
            .is_ok_and(|number| (*least..=*most).contains(&number)),
        _ => true,
    });
    if !fits {
        unexpected(node, kind, problems);
    }
}

fn each_value(node: &Node, value: &Kind, whole: &Kind, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &node.value else {
        return unexpected(node, whole, problems);
    };
    if entries.is_empty() {
        return unexpected(node, whole, problems);
    }
    repeated(entries, problems);
    for (_, node) in entries {
        check(node, value, problems);
    }
}

fn map(node: &Node, keys: &'static [Key], problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &node.value else {
        return unexpected(node, &Kind::Map(keys), problems);
    };
    repeated(entries, problems);
    for (name, value) in entries {
        let text = name.text().unwrap_or_default();
        match keys.iter().find(|key| key.name == text) {
            Some(key) => check(value, &key.kind, problems),
            None => problems.push(unknown(name, text, keys)),
        }
    }
    for key in keys.iter().filter(|key| key.required) {
        if node.get(key.name).is_none() {
            // What is missing has no place; what it is missing from has.
            let at = entries
                .first()
                .map_or(node, |(first, _)| first)
                .span
                .clone();
            let problem = Problem::new(
                at,
                format!("the key `{}` is missing", key.name),
                format!("`{}` belongs beside this", key.name),
            );
            problems.push(problem.help(key.doc));
        }
    }
}

fn unknown(name: &Node, text: &str, keys: &[Key]) -> Problem {
    let known = quoted(keys.iter().map(|key| key.name));
    let problem = Problem::new(
        name.span.clone(),
        format!("unknown key `{text}`"),
        "no such key here",
    );
    match nearest(text, keys.iter().map(|key| key.name)) {
        Some(nearest) => problem.help(format!(
            "did you mean `{nearest}`? The keys here are {known}"
        )),
        None if super::shape::option(text).is_some() => {
            problem.help(format!("`{text}` is an option: put it under `options:`"))
        }
        None => problem.help(format!("the keys here are {known}")),
    }
}

fn repeated(entries: &[(Node, Node)], problems: &mut Vec<Problem>) {
    for (index, (name, _)) in entries.iter().enumerate() {
        let same = |(other, _): &&(Node, Node)| other.text() == name.text();
        if entries[..index].iter().any(|entry| same(&entry)) {
            problems.push(Problem::new(
                name.span.clone(),
                format!(
                    "the key `{}` stands here twice",
                    name.text().unwrap_or_default()
                ),
                "it was given before: leave one of them out",
            ));
        }
    }
}

/// A value of any kind still has each of its keys once.
fn distinct(node: &Node, problems: &mut Vec<Problem>) {
    repeated(node.entries(), problems);
    for (_, value) in node.entries() {
        distinct(value, problems);
    }
    for element in node.elements() {
        distinct(element, problems);
    }
}

fn options(node: &Node, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &node.value else {
        return unexpected(node, &Kind::Options, problems);
    };
    repeated(entries, problems);
    for (name, value) in entries {
        let (Some(key), Some(text)) = (name.text(), value.text()) else {
            unexpected(value, &Kind::Text, problems);
            continue;
        };
        match Options::default().set(key, text) {
            Ok(()) if ["host", "port", "path"].contains(&key) => problems.push(
                Problem::new(
                    name.span.clone(),
                    format!("`{key}` is said twice"),
                    "`listen` says this",
                )
                .help("write host, port and path as `listen: localhost:8888/my_api`"),
            ),
            Ok(()) => {}
            Err(OptionError::BadValue { allowed, .. }) => problems.push(Problem::new(
                value.span.clone(),
                format!("the option `{key}` cannot be {}", value.describe()),
                format!("it must be {allowed}"),
            )),
            Err(OptionError::UnknownKey { nearest, .. }) => {
                let problem = Problem::new(
                    name.span.clone(),
                    format!("unknown option `{key}`"),
                    "no option has this name",
                );
                problems.push(problem.help(match nearest {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => "`snapback reference` lists all options".to_owned(),
                }));
            }
            Err(error) => problems.push(Problem::new(
                value.span.clone(),
                error.to_string(),
                "this cannot be",
            )),
        }
    }
}
