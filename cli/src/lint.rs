//! What of a file that is well-formed cannot work.

use std::ops::Range;

use snapback_sql::SqlError;
use snapback_sql::datafusion::common::Diagnostic;
use snapback_sql::datafusion::prelude::SessionContext;
use snapback_sql::ddl::DdlError;

use crate::collisions::collisions;
use crate::definition::{Definition, Part, Service, Table};
use crate::file::{Located, Problem, ServiceFile, nearest, quoted};
use crate::serve;

/// Plans what a file describes, as far as its parts can be planned, and says what is wrong.
pub(crate) fn lint(file: &ServiceFile, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let context = snapback_sql::context();
    context
        .state_ref()
        .write()
        .config_mut()
        .options_mut()
        .sql_parser
        .collect_spans = true;
    let mut lost = Vec::new();
    for table in &file.tables {
        let registered = match table.is_sound {
            true => register(table, &context),
            false => {
                lost.push(table.what.name.as_str());
                Ok(())
            }
        };
        if let Err(problem) = registered {
            problems.push(problem);
            lost.push(table.what.name.as_str());
        }
    }
    for (index, service) in file.services.iter().enumerate() {
        collisions(service, &file.services[..index], &mut problems);
        let definition = &service.what.definition;
        let unserved = serve::detached(&service.what);
        // Of one that does not stand there as it should, the mode may be wrong: what depends on it
        // is not looked at.
        let built = match service.is_sound {
            true => definition.build(unserved, &context, None).map(|_| ()),
            false => definition.columns(unserved, &context).map(|_| ()),
        };
        if let Err((Part::SendReply, _)) = built {
            problems.extend(early_replies(service, &context));
        } else if let Err((part, error)) = built {
            let of_a_lost_table = lost.iter().any(|table| error.to_string().contains(table));
            // What is wrong with a table was said there.
            if part != Part::Sql || !of_a_lost_table {
                problems.push(problem_of(service, &context, part, &error, text));
            }
        }
        for (at, case) in service.what.cases.iter().enumerate() {
            let earlier = &service.what.cases[..at];
            if earlier.iter().any(|other| other.name == case.name) {
                problems.push(
                    Problem::new(
                        service.place("tests"),
                        format!("two tests are called `{}`", case.name),
                        "in this list",
                    )
                    .help("give each a name of its own, so that a failure names one"),
                );
            }
        }
    }
    problems
}

fn register(table: &Located<Table>, context: &SessionContext) -> Result<(), Problem> {
    let name = &table.what.name;
    let registered = serve::wait_for(table.what.register(context)).map_err(|error| {
        let title = format!("the table `{name}` cannot be read");
        Problem::new(table.name(), title, error.to_string())
    })?;
    registered.map_err(|error| {
        let title = format!("the table `{name}` cannot be read");
        let place = match error {
            crate::tables::TableError::Name => table.name(),
            _ => table.place_or_whole(error.key()),
        };
        Problem::new(place, title, error.to_string())
    })
}

/// What is wrong with the replies in front of a query, each by itself.
fn early_replies(service: &Located<Service>, context: &SessionContext) -> Vec<Problem> {
    let definition = &service.what.definition;
    let error_of = |condition: &str, reply: &str| {
        let alone = Definition {
            send_reply: vec![(condition.to_owned(), reply.to_owned())],
            ..definition.clone()
        };
        match alone.columns(serve::detached(&service.what), context) {
            Err((Part::SendReply, error)) => Some(error),
            _ => None,
        }
    };
    let pairs = definition.send_reply.iter();
    let places = service.elements("sendReply", &["when", "reply"]);
    pairs
        .zip(places)
        .filter_map(|((condition, reply), [when_place, reply_place])| {
            let of_condition = error_of(condition, "'a reply'").map(|error| (error, when_place));
            let of_reply = || error_of(condition, reply).map(|error| (error, reply_place));
            let (error, place) = of_condition.or_else(of_reply)?;
            Some(match error {
                SqlError::Plan(message, _) => Problem::new(place, plainly(&message), "in this"),
                error => in_two(&error, place),
            })
        })
        .collect()
}

/// An error whose text says first what is wrong, and then why.
fn in_two(error: &SqlError, place: Range<usize>) -> Problem {
    let message = error.to_string();
    match message.split_once(": ") {
        Some((title, label)) => Problem::new(place, title, label),
        None => Problem::new(place, message, "this"),
    }
}

fn problem_of(
    service: &Located<Service>,
    context: &SessionContext,
    part: Part,
    error: &SqlError,
    text: &str,
) -> Problem {
    let place = service.place(part.key());
    match error {
        SqlError::Ddl(error) => of_ddl(error, &place, text),
        _ if part == Part::Reply => of_reply(service, context, place),
        SqlError::Plan(message, cause) => match cause.diagnostic() {
            Some(diagnostic) => of_diagnostic(diagnostic, service, context, &place, text),
            None => {
                let at = line_and_column(message)
                    .and_then(|(line, column)| of_query(service, &place, text, line, column));
                let label = if at.is_some() { "here" } else { "in this" };
                Problem::new(at.unwrap_or(place), plainly(message), label)
            }
        },
        other => in_two(other, place),
    }
}

fn of_ddl(error: &DdlError, place: &Range<usize>, text: &str) -> Problem {
    let at = within(text, place, &error.ddl, error.at);
    let problem = |label: &str| {
        Problem::new(
            at.clone().unwrap_or_else(|| place.clone()),
            format!("the schema has {} where it should not", error.found),
            label,
        )
    };
    let Some(types) = error.expected.strip_prefix("one of ") else {
        return problem(&format!("expected {}", error.expected));
    };
    let words = types.split([' ', ',', '(', ')', '<', '>', ':', '…']);
    let found = error.found.trim_matches('`');
    let nearest = nearest(found, words.filter(|word| word.len() > 2));
    problem("expected a type").help(match nearest {
        Some(nearest) => format!("did you mean `{nearest}`? The types are {types}"),
        None => format!("the types are {types}"),
    })
}

fn of_reply(service: &Located<Service>, context: &SessionContext, place: Range<usize>) -> Problem {
    let definition = &service.what.definition;
    let reply = definition.reply.as_deref().unwrap_or_default();
    let problem = Problem::new(
        place,
        format!("the query has no column `{reply}`"),
        "no such column",
    );
    let stream = definition.columns(serve::detached(&service.what), context);
    let Some(schema) = stream.ok().and_then(|stream| stream.schema().ok()) else {
        return problem;
    };
    let columns = schema.fields().iter().map(|field| field.name().as_str());
    problem.help(format!("its columns are {}", quoted(columns)))
}

/// DataFusion says where in the query it is, and often the way out.
fn of_diagnostic(
    diagnostic: &Diagnostic,
    service: &Located<Service>,
    context: &SessionContext,
    place: &Range<usize>,
    text: &str,
) -> Problem {
    let at = diagnostic.span.and_then(|span| {
        let of = |line: u64, column: u64| of_query(service, place, text, line, column);
        let start = of(span.start.line, span.start.column)?.start;
        let end = of(span.end.line, span.end.column).map_or(start, |end| end.start);
        Some(start..end.max(start))
    });
    let label = match at {
        Some(_) => "here",
        None => "in this",
    };
    let notes = diagnostic.notes.iter().map(|note| note.message.as_str());
    let helps = diagnostic.helps.iter().map(|help| help.message.as_str());
    let said: Vec<&str> = notes.chain(helps).collect();
    let title = plainly(&diagnostic.message);
    let problem = Problem::new(at.unwrap_or_else(|| place.clone()), title, label);
    if diagnostic.message.starts_with("table '") {
        let tables = quoted_tables(context);
        return problem.help(format!(
            "there are {tables}; others are listed under `tables:`"
        ));
    }
    match said.is_empty() {
        true => problem,
        false => problem.help(said.join("; ")),
    }
}

/// The names that a query may select from.
pub(crate) fn quoted_tables(context: &SessionContext) -> String {
    let schemas = context.catalog("datafusion");
    let schema = schemas.and_then(|catalog| catalog.schema("public"));
    let mut names = schema
        .map(|schema| schema.table_names())
        .unwrap_or_default();
    names.sort();
    names.insert(0, snapback_sql::REQUESTS.to_owned());
    quoted(names.iter().map(String::as_str))
}

/// What DataFusion says, in one line and without what it says of itself.
pub(crate) fn plainly(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let (line, _) = line.split_once(" at Line: ").unwrap_or((line, ""));
    let line = ["Error during planning: ", "Schema error: ", "SQL error: "]
        .iter()
        .fold(line, |line, prefix| {
            line.strip_prefix(prefix).unwrap_or(line)
        });
    let line = line.strip_prefix("ParserError(\"").unwrap_or(line);
    line.strip_suffix("\")").unwrap_or(line).to_owned()
}

/// `… at Line: 2, Column: 8`, as the parser of SQL ends its messages.
fn line_and_column(message: &str) -> Option<(u64, u64)> {
    let (_, place) = message.rsplit_once("Line: ")?;
    let (line, rest) = place.split_once(", Column: ")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some((line.parse().ok()?, rest[..digits].parse().ok()?))
}

/// Where in the file a line and a column of a service's query are.
fn of_query(
    service: &Located<Service>,
    place: &Range<usize>,
    text: &str,
    line: u64,
    column: u64,
) -> Option<Range<usize>> {
    let sql = &service.what.definition.sql;
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let mut offset = 0;
    for (number, content) in sql.split('\n').enumerate() {
        if number + 1 == line {
            let chars = content.char_indices().map(|(byte, _)| byte);
            let byte = chars.chain([content.len()]).nth(column.saturating_sub(1))?;
            return within(text, place, sql, offset + byte);
        }
        offset += content.len() + 1;
    }
    None
}

/// Where a byte of a value is in the file: each line of the value is looked for behind the one before,
/// as it may be indented there. None where the value is written otherwise (folded, escaped).
fn within(text: &str, place: &Range<usize>, value: &str, at: usize) -> Option<Range<usize>> {
    let (mut from, mut before) = (place.start, 0);
    for line in value.split('\n') {
        let content = line.trim();
        let found = from + text.get(from..)?.find(content)?;
        let indent = line.len() - line.trim_start().len();
        if (before..=before + line.len()).contains(&at) {
            let start = found + (at - before).saturating_sub(indent);
            let word = text[start..]
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(text.len() - start);
            return Some(start..start + word.max(1));
        }
        from = found + content.len();
        before += line.len() + 1;
    }
    None
}
