//! The way out: a column of replies, row by row into the outboxes.

mod json;
mod mode;
mod time;

#[cfg(test)]
mod tests;

use std::ops::Range;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Field};
use snapback::Reply;
use snapback_operators::Content;

use crate::functions::ResponseRow;
use crate::json_schema::{self, Way};
use crate::schema;

pub use mode::{ReplyMode, UnknownReplyMode};

/// The column that `make_reply` answers with.
#[derive(Debug)]
pub(crate) struct ReplyColumn {
    /// `{"name":` as it stands before a value that is no document by itself.
    opening: Vec<u8>,
    kind: Kind,
}

/// How a type becomes a reply: Spark Serving's table, with `application/json` where it is JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text as it is.
    Text,
    /// Bytes as they are.
    Bytes,
    /// A struct, a map, or a list of those: bare JSON.
    Document,
    /// A response with its own status and headers.
    Response,
    /// Anything else: `{"name":value}`, and `{}` for null.
    Value,
    /// The type of nothing but null: an empty body.
    Null,
}

impl ReplyColumn {
    pub(crate) fn new(name: &str, data_type: &DataType) -> Self {
        let mut opening = b"{".to_vec();
        json::write_text(&mut opening, name);
        opening.push(b':');
        ReplyColumn {
            opening,
            kind: kind(data_type),
        }
    }

    /// Answers with the rows of a request, of which there is one at least.
    pub(crate) fn write_rows(
        &self,
        column: &dyn Array,
        rows: Range<usize>,
        mode: ReplyMode,
        reply: &mut Reply<'_>,
    ) {
        match mode {
            ReplyMode::First => self.write(column, rows.start, reply),
            ReplyMode::Array => reply.json_with(|out| {
                out.push(b'[');
                for row in rows.clone() {
                    if row > rows.start {
                        out.push(b',');
                    }
                    self.write_element(out, column, row);
                }
                out.push(b']');
            }),
        }
    }

    /// One row in an array of them.
    fn write_element(&self, out: &mut Vec<u8>, column: &dyn Array, row: usize) {
        if self.kind != Kind::Value {
            return json::write_value(out, column, row);
        }
        if column.is_null(row) {
            return out.extend_from_slice(b"{}");
        }
        out.extend_from_slice(&self.opening);
        json::write_value(out, column, row);
        out.push(b'}');
    }

    /// Answers with one row. A null text, null bytes and a null document are an empty body.
    pub(crate) fn write(&self, column: &dyn Array, row: usize, reply: &mut Reply<'_>) {
        let is_null = column.is_null(row);
        match self.kind {
            Kind::Value if is_null => reply.json_with(|out| out.extend_from_slice(b"{}")),
            Kind::Value => reply.json_with(|out| {
                out.extend_from_slice(&self.opening);
                json::write_value(out, column, row);
                out.push(b'}');
            }),
            Kind::Null => reply.empty(),
            _ if is_null => reply.empty(),
            Kind::Text => reply.text(text(column, row)),
            Kind::Bytes => reply.bytes(bytes(column, row)),
            Kind::Document => reply.json_with(|out| json::write_value(out, column, row)),
            Kind::Response => respond(&ResponseRow::of(column, row), reply),
        }
    }
}

impl ReplyColumn {
    /// What it answers with rows of this field: nothing where the body is always empty. `None` where a
    /// reply has a status and a content type of its own.
    pub(crate) fn content(&self, field: &Field, mode: ReplyMode) -> Option<Option<Content>> {
        let value = json_schema::of_type(field.data_type(), Way::Out);
        let in_json = match self.kind {
            Kind::Value => json_schema::of_fields(&vec![field.clone()].into(), Way::Out),
            _ => value,
        };
        Some(match (mode, self.kind) {
            (ReplyMode::Array, Kind::Value) => Some(array(in_json)),
            (ReplyMode::Array, _) => Some(array(json_schema::of_field(field, Way::Out))),
            (ReplyMode::First, Kind::Text) => Some(Content::text()),
            (ReplyMode::First, Kind::Bytes) => Some(Content::bytes()),
            (ReplyMode::First, Kind::Value | Kind::Document) => Some(Content::json(in_json)),
            (ReplyMode::First, Kind::Null) => None,
            (ReplyMode::First, Kind::Response) => return None,
        })
    }
}

fn array(items: serde_json::Value) -> Content {
    Content::json(serde_json::json!({ "type": "array", "items": items }))
}

/// Answers with a response. What it says of its length and its coding is the server's own.
fn respond(response: &ResponseRow<'_>, reply: &mut Reply<'_>) {
    reply.status(response.status());
    let mut has_type = false;
    for (name, value) in response.headers() {
        has_type |= name.eq_ignore_ascii_case("content-type");
        reply.header(name, value);
    }
    if let (false, Some(content_type)) = (has_type, response.content_type()) {
        reply.content_type(content_type);
    }
    match response.content() {
        Some(content) => reply.bytes(content),
        None => reply.empty(),
    }
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        response if response.equals_datatype(&schema::response_type()) => Kind::Response,
        DataType::Null => Kind::Null,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Kind::Bytes,
        DataType::Struct(_) | DataType::Map(..) => Kind::Document,
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => match element.data_type() {
            DataType::Struct(_) | DataType::Map(..) => Kind::Document,
            _ => Kind::Value,
        },
        DataType::Dictionary(_, value) => kind(value),
        _ => Kind::Value,
    }
}

/// The text of a row of any layout of text; empty for anything else.
fn text(column: &dyn Array, row: usize) -> &str {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row),
        DataType::Utf8View => column.as_string_view().value(row),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            text(dictionary.values().as_ref(), key(column, row))
        }
        _ => "",
    }
}

/// The bytes of a row of any layout of bytes; none for anything else.
fn bytes(column: &dyn Array, row: usize) -> &[u8] {
    match column.data_type() {
        DataType::Binary => column.as_binary::<i32>().value(row),
        DataType::LargeBinary => column.as_binary::<i64>().value(row),
        DataType::BinaryView => column.as_binary_view().value(row),
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().value(row),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            bytes(dictionary.values().as_ref(), key(column, row))
        }
        _ => &[],
    }
}

/// Which value of its dictionary a row has.
fn key(column: &dyn Array, row: usize) -> usize {
    let one = column.slice(row, 1);
    let keys = one.as_any_dictionary().normalized_keys();
    keys.first().copied().unwrap_or_default()
}
