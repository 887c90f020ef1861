//! One column of the batch at hand.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};

use super::fault::Fault;
use super::nested::{ListColumn, MapColumn, StructColumn};
use super::primitive::{self, BooleanColumn};
use super::tape::{Value, is_null};
use super::text::TextColumn;

/// A column under construction. Rows are added at its end, and taken back from there when their
/// request turns out not to fit: so a refused row leaves no trace in its neighbours' batch.
pub(super) trait Column: Send {
    /// Adds a value that is not null.
    ///
    /// After an error the column may hold a part of the value; whoever called truncates it.
    fn push(&mut self, value: Value<'_, '_>, how: Fit) -> Result<(), Fault>;

    fn push_null(&mut self);

    /// Keeps the first `len` rows.
    fn truncate(&mut self, len: usize);

    fn len(&self) -> usize;

    /// Whether the row is null.
    fn is_null(&self, row: usize) -> bool;

    /// The rows as an array; the column is empty again.
    fn finish(&mut self) -> ArrayRef;
}

/// What becomes of a value that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is a fault of the request.
    Refused,
    /// It is null.
    Null,
}

/// Adds what the request has for a field: one row, or a fault and none.
#[inline]
pub(super) fn put(
    column: &mut dyn Column,
    field: &Field,
    value: Option<Value<'_, '_>>,
    how: Fit,
) -> Result<(), Fault> {
    let fault = match value {
        Some(value) if !is_null(value) => {
            let len = column.len();
            let Err(fault) = column.push(value, how) else {
                return Ok(());
            };
            column.truncate(len);
            fault
        }
        Some(_) if field.is_nullable() => {
            column.push_null();
            return Ok(());
        }
        Some(_) => Fault::null(field.data_type()),
        None if how == Fit::Null => {
            column.push_null();
            return Ok(());
        }
        None => Fault::missing(field.data_type()),
    };
    if how == Fit::Null && field.is_nullable() {
        column.push_null();
        return Ok(());
    }
    Err(fault)
}

/// An empty column of a field whose type [`crate::schema`] has let pass.
pub(super) fn column(field: &FieldRef) -> Box<dyn Column> {
    let data_type = field.data_type();
    match data_type {
        DataType::Boolean => Box::new(BooleanColumn::default()),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => Box::new(TextColumn::new(data_type)),
        DataType::List(element) => Box::new(ListColumn::new(element)),
        DataType::Map(entries, sorted) => Box::new(MapColumn::new(entries, *sorted)),
        DataType::Struct(fields) => Box::new(StructColumn::new(fields)),
        _ => primitive::column(data_type),
    }
}
