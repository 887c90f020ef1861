//! `parse_request`: the JSON body becomes a row.

use std::marker::PhantomData;

use serde::Deserialize;

use crate::context::Context;
use crate::describe::{Body, Content, Description, schema_of};
use crate::operator::Operator;
use crate::reply::Reply;
use crate::row::{ParseSafe, Row, Unparsed};
use crate::text::text_of;

/// Parses the JSON body of each request into a row of the family `T`, which may borrow from it.
///
/// A body that does not fit is answered 400 at once, with a problem document that names the field,
/// what was expected and what was received; its row leaves the pipeline. This is the `full` check
/// of Spark Serving's `parseRequest`.
#[derive(Debug)]
pub struct ParseRequest<T>(PhantomData<fn() -> T>);

impl<T> ParseRequest<T> {
    pub(crate) fn new() -> Self {
        ParseRequest(PhantomData)
    }
}

impl<T> Clone for ParseRequest<T> {
    fn clone(&self) -> Self {
        ParseRequest(PhantomData)
    }
}

impl<In: Unparsed, T: ParseRow> Operator<In> for ParseRequest<T> {
    type Out = T;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, _request: In::At<'r>) -> Option<T::At<'r>> {
        let body = cx.request().body();
        match T::parse(body) {
            Ok(row) => Some(row),
            Err(_) => {
                T::refuse(body, cx.reply());
                None
            }
        }
    }

    fn describe(&self, description: &mut Description) {
        description.body = Some(Body::Taken {
            content: Content::json(T::schema()),
            is_required: true,
        });
    }
}

/// Rows that can be parsed from JSON: every row whose type implements [`serde::Deserialize`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be parsed from a request",
    label = "not a row that can be parsed",
    note = "derive both: `#[derive(serde::Deserialize, snapback::Row)]`",
    note = "when it is `ParseSafe` that is missing, a field is a trap: `&str` fails for every JSON string that has an escape in it, and `Cow` without `#[serde(borrow)]` always allocates; write `#[serde(borrow)] field: Cow<'a, str>`, or own the text: `String`"
)]
pub trait ParseRow: Row {
    /// Parses a whole body.
    ///
    /// # Errors
    ///
    /// When the body is not the JSON of such a row.
    fn parse(body: &[u8]) -> serde_json::Result<Self::At<'_>>;

    /// Answers 400, and says why the body does not parse.
    fn refuse(body: &[u8], reply: &mut Reply<'_>);

    /// The JSON Schema of the bodies that parse: [`schema_of`] the row.
    fn schema() -> serde_json::Value;
}

impl<T> ParseRow for T
where
    T: Row + ParseSafe,
    for<'r> T::At<'r>: Deserialize<'r>,
{
    #[inline]
    fn parse(body: &[u8]) -> serde_json::Result<T::At<'_>> {
        // Checked whole, the body's UTF-8 costs half of what it does string by string.
        match text_of(body) {
            Some(text) => serde_json::from_str(text),
            None => serde_json::from_slice(body),
        }
    }

    // Parses once more, with the path to the fault. `from_slice` gives this cold path instances of
    // serde_json's generics of its own; sharing those of the hot path cost it 46 instructions.
    #[cold]
    fn refuse(body: &[u8], reply: &mut Reply<'_>) {
        let (field, fault) = match std::str::from_utf8(body) {
            Err(error) => (None, format!("the body is not UTF-8: {error}")),
            Ok(text) if text.trim_ascii().is_empty() => (None, "the body is empty".to_owned()),
            Ok(text) => locate::<T>(text),
        };
        // Both may quote what the client sent, at any length.
        let (field, fault) = (field.map(bounded), bounded(fault));
        let detail = match &field {
            Some(field) => format!("the request body does not fit: field `{field}`: {fault}"),
            None => format!("the request body does not fit: {fault}"),
        };
        let mut members = Vec::new();
        if let Some(field) = &field {
            members.push(("field", field.as_str()));
        }
        if !T::FIELDS.is_empty() {
            members.push(("expected", T::FIELDS));
        }
        let received = excerpt(body);
        members.push(("received", &received));
        reply.problem_with(400, &detail, &members);
    }

    fn schema() -> serde_json::Value {
        schema_of::<T::At<'static>>()
    }
}

/// The path to the field at fault, and the fault.
fn locate<T: Row>(text: &str) -> (Option<String>, String)
where
    for<'r> T::At<'r>: Deserialize<'r>,
{
    let mut json = serde_json::Deserializer::from_slice(text.as_bytes());
    let parsed: Result<T::At<'_>, _> = serde_path_to_error::deserialize(&mut json);
    let error = match parsed {
        Err(error) => error,
        Ok(_) => {
            let trailing = json.end().err();
            return (
                None,
                trailing.map_or_else(String::new, |error| error.to_string()),
            );
        }
    };
    let path = error.path().to_string();
    let path = Some(path).filter(|path| path != "." && !path.starts_with('?'));
    let fault = error.inner().to_string();
    let field = match (path, field_named_in(&fault)) {
        (Some(path), Some(name)) => Some(format!("{path}.{name}")),
        (None, Some(name)) => Some(name.to_owned()),
        (path, None) => path,
    };
    (field, fault)
}

/// The field that the struct at fault lacks or has twice. Its name stands in serde's
/// message alone ([`serde::de::Error::missing_field`]), which serde_json ends with the place.
fn field_named_in(fault: &str) -> Option<&str> {
    let name = fault
        .strip_prefix("missing field `")
        .or_else(|| fault.strip_prefix("duplicate field `"))?;
    let end = name.rfind("` at line ").or_else(|| name.rfind('`'))?;
    Some(&name[..end]).filter(|name| !name.is_empty())
}

/// The first bytes of a text that goes into a reply.
fn bounded(mut text: String) -> String {
    const MOST_BYTES: usize = 300;
    if text.len() > MOST_BYTES {
        text.truncate(text.floor_char_boundary(MOST_BYTES));
        text.push('…');
    }
    text
}

/// The first bytes of a body, for its sender.
fn excerpt(body: &[u8]) -> String {
    const MOST_BYTES: usize = 200;
    let Some(mut shown) = body
        .get(..MOST_BYTES)
        .filter(|shown| shown.len() < body.len())
    else {
        return String::from_utf8_lossy(body).into_owned();
    };
    if let Err(error) = std::str::from_utf8(shown)
        && error.error_len().is_none()
    {
        // The cut went through a character.
        shown = &shown[..error.valid_up_to()];
    }
    format!("{}…", String::from_utf8_lossy(shown))
}
