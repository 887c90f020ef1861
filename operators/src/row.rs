//! What flows between operators.

use std::marker::PhantomData;

use crate::request::Request;

/// A family of row types, one for each lifetime of a request.
///
/// A row may borrow from the request that it was parsed from, so an operator does not name one type
/// but a family of them: `At<'r>` is the row while the request lives for `'r`. The derive writes it:
///
/// ```
/// # extern crate snapback_operators as snapback;
/// use std::borrow::Cow;
/// use serde::Deserialize;
/// use snapback_operators::Row;
///
/// #[derive(Deserialize, Row)]
/// struct Order { sku: String, count: u32 }          // owns what it holds
///
/// #[derive(Deserialize, Row)]
/// struct Note<'a> {                                 // borrows from the body where it can
///     #[serde(borrow)]
///     text: Cow<'a, str>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row",
    label = "not a row",
    note = "add `#[derive(Row)]` to the type, or wrap a type that owns all it holds: `Owned<{Self}>`"
)]
pub trait Row: 'static {
    /// The row while its request lives for `'r`.
    type At<'r>;

    /// The fields with their types, for error messages; empty when they are not known.
    const FIELDS: &'static str = "";
}

/// Rows whose fields can all be parsed from JSON without a trap; the derive of [`Row`] says so.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a field that is a trap when it is parsed from JSON",
    label = "cannot be parsed from a request as it is",
    note = "`&str` fails for every JSON string that has an escape in it, and `Cow` without `#[serde(borrow)]` always allocates: write `#[serde(borrow)] field: Cow<'a, str>`, or own the text: `String`"
)]
pub trait ParseSafe {}

impl<T> ParseSafe for Owned<T> {}

/// The family of a type that borrows nothing: whatever a closure returns.
#[derive(Debug)]
pub struct Owned<T>(PhantomData<fn() -> T>);

impl<T: 'static> Row for Owned<T> {
    type At<'r> = T;
}

/// The rows of a stream as it is loaded: the requests themselves.
#[derive(Debug)]
pub struct Requests;

impl Row for Requests {
    type At<'r> = &'r Request<'r>;
}

/// The rows of a stream whose requests are as they came: [`Requests`].
#[diagnostic::on_unimplemented(
    message = "the rows before `parse_request` are no longer requests",
    label = "`parse_request` comes before what makes other rows",
    note = "the rows here are `{Self}`; put `.parse_request::<…>()` before the `map`, `try_map`, `lookup` or `process` that made them"
)]
pub trait Unparsed: Row {}

impl Unparsed for Requests {}

/// What is left of a row once its reply is made.
#[derive(Debug)]
pub struct Replied;

impl Row for Replied {
    type At<'r> = ();
}

/// The rows of a pipeline that is complete: [`Replied`].
#[diagnostic::on_unimplemented(
    message = "the pipeline does not make a reply yet",
    label = "needs a reply before this",
    note = "the rows here are `{Self}`; end the pipeline with `.make_reply()`, or `.make_reply_with(|row, reply| …)`"
)]
pub trait Finished: Row {}

impl Finished for Replied {}
