//! Columns of texts that have names: query parameters and header fields.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use simd_json::{Node, StaticNode};

use super::column::{Column, Fit, column};
use super::fault::Fault;

/// The columns of those that the plan reads; the others are not looked at.
pub(super) struct NamedColumns {
    columns: Vec<Named>,
}

struct Named {
    index: usize,
    field: FieldRef,
    column: Box<dyn Column>,
}

impl NamedColumns {
    pub(super) fn new(fields: &Fields, used: impl Fn(usize) -> bool) -> Self {
        let used = fields.iter().enumerate().filter(|(index, _)| used(*index));
        let columns = used.map(|(index, field)| Named {
            index,
            field: field.clone(),
            column: column(field),
        });
        NamedColumns {
            columns: columns.collect(),
        }
    }

    /// Adds a row of what `text` has for each name: nothing is null.
    pub(super) fn push<T: AsRef<str>>(
        &mut self,
        mut text: impl FnMut(&str) -> Option<T>,
    ) -> Result<(), Fault> {
        for Named { field, column, .. } in &mut self.columns {
            let text = text(field.name());
            put(column.as_mut(), field, text.as_ref().map(AsRef::as_ref))
                .map_err(|fault| fault.inside(field.name()))?;
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        for named in &mut self.columns {
            named.column.truncate(rows);
        }
    }

    /// The column of this index; it is empty again.
    pub(super) fn finish(&mut self, index: usize) -> Option<ArrayRef> {
        let named = self.columns.iter_mut().find(|named| named.index == index)?;
        Some(named.column.finish())
    }
}

fn put(column: &mut dyn Column, field: &Field, text: Option<&str>) -> Result<(), Fault> {
    let Some(text) = text else {
        if !field.is_nullable() {
            return Err(Fault::missing(field.data_type()));
        }
        column.push_null();
        return Ok(());
    };
    let rows = column.len();
    let pushed = column.push(&[node(text, field.data_type())], Fit::Refused);
    if pushed.is_err() {
        column.truncate(rows);
        return Err(Fault::unfit(field.data_type(), &[Node::String(text)]));
    }
    pushed
}

/// The text as the JSON value that the type takes.
fn node<'t>(text: &'t str, data_type: &DataType) -> Node<'t> {
    let value = if *data_type == DataType::Boolean {
        text.parse().ok().map(StaticNode::Bool)
    } else if data_type.is_integer() {
        let signed = text.parse().ok().map(StaticNode::I64);
        signed.or_else(|| text.parse().ok().map(StaticNode::U64))
    } else if data_type.is_floating() {
        // Infinities and the like are texts to these columns, as in a body.
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(StaticNode::F64)
    } else {
        None
    };
    value.map_or(Node::String(text), Node::Static)
}
