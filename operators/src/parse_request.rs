//! `parse_request`: the JSON body becomes a row.

use std::marker::PhantomData;

use serde::Deserialize;

use crate::context::Context;
use crate::operator::Operator;
use crate::reply::Reply;
use crate::row::{ParseSafe, Requests, Row};

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

impl<T: ParseRow> Operator<Requests> for ParseRequest<T> {
    type Out = T;

    #[inline]
    fn apply<'r>(
        &mut self,
        cx: &mut Context<'_, 'r>,
        request: <Requests as Row>::At<'r>,
    ) -> Option<T::At<'r>> {
        match T::parse(request.body()) {
            Ok(row) => Some(row),
            Err(_) => {
                T::refuse(request.body(), cx.reply());
                None
            }
        }
    }
}

/// Rows that can be parsed from JSON: every row whose type implements [`serde::Deserialize`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be parsed from a request",
    label = "not a row that can be parsed",
    note = "derive both: `#[derive(serde::Deserialize, snapback::Row)]`"
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
}

impl<T> ParseRow for T
where
    T: Row + ParseSafe,
    for<'r> T::At<'r>: Deserialize<'r>,
{
    #[inline]
    fn parse(body: &[u8]) -> serde_json::Result<T::At<'_>> {
        serde_json::from_slice(body)
    }

    // Parses once more, with the path to the fault. `from_str` gives this cold path instances of
    // serde_json's generics of its own; sharing those of the hot path cost it 46 instructions.
    #[cold]
    fn refuse(body: &[u8], reply: &mut Reply<'_>) {
        let (field, fault) = match std::str::from_utf8(body) {
            Err(error) => (None, format!("the body is not UTF-8: {error}")),
            Ok(text) if text.trim_ascii().is_empty() => (None, "the body is empty".to_owned()),
            Ok(text) => locate::<T>(text),
        };
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
}

/// The path to the field at fault, and the fault.
fn locate<T: Row>(text: &str) -> (Option<String>, String)
where
    for<'r> T::At<'r>: Deserialize<'r>,
{
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed: Result<T::At<'_>, _> = serde_path_to_error::deserialize(&mut json);
    match parsed {
        Err(error) => {
            let path = error.path().to_string();
            (
                Some(path).filter(|path| path != "." && !path.starts_with('?')),
                error.inner().to_string(),
            )
        }
        Ok(_) => (
            None,
            json.end()
                .err()
                .map_or_else(String::new, |error| error.to_string()),
        ),
    }
}

/// The first bytes of a body, for its sender.
fn excerpt(body: &[u8]) -> String {
    const MOST_BYTES: usize = 200;
    let shown = &body[..body.len().min(MOST_BYTES)];
    let ellipsis = if shown.len() < body.len() { "…" } else { "" };
    format!("{}{ellipsis}", String::from_utf8_lossy(shown))
}
