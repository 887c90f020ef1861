//! Columns of lists, maps and structs.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray, MapArray, NullBufferBuilder, StructArray};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};

use super::column::{Column, Fit, column, put};
use super::fault::Fault;
use super::tape::{Value, elements, entries};
use super::text::TextColumn;

/// Where each row of a list or map ends in its child, behind a first 0.
struct Offsets {
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Offsets {
    fn new() -> Self {
        Offsets {
            ends: vec![0],
            nulls: NullBufferBuilder::new(0),
        }
    }

    fn close_row(&mut self, child_len: usize, valid: bool) {
        let end = i32::try_from(child_len).expect("a batch is bounded below 2 GiB");
        self.ends.push(end);
        self.nulls.append(valid);
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Keeps `len` rows; where the last of them ends.
    fn truncate(&mut self, len: usize) -> usize {
        self.ends.truncate(len + 1);
        self.nulls.truncate(len.min(self.nulls.len()));
        usize::try_from(self.ends[len.min(self.len())]).unwrap_or_default()
    }

    fn finish(&mut self) -> OffsetBuffer<i32> {
        let mut next = Vec::with_capacity(self.ends.len());
        next.push(0);
        let ends = std::mem::replace(&mut self.ends, next);
        OffsetBuffer::new(ScalarBuffer::from(ends))
    }
}

pub(super) struct ListColumn {
    element: FieldRef,
    child: Box<dyn Column>,
    offsets: Offsets,
}

impl ListColumn {
    pub(super) fn new(element: &FieldRef) -> Self {
        ListColumn {
            element: Arc::clone(element),
            child: column(element),
            offsets: Offsets::new(),
        }
    }
}

impl Column for ListColumn {
    fn push(&mut self, value: Value<'_, '_>, how: Fit) -> Result<(), Fault> {
        let Some(elements) = elements(value) else {
            let list = DataType::List(Arc::clone(&self.element));
            return Err(Fault::unfit(&list, value));
        };
        for (index, element) in elements.enumerate() {
            put(self.child.as_mut(), &self.element, Some(element), how)
                .map_err(|fault| fault.inside(&format!("[{index}]")))?;
        }
        self.offsets.close_row(self.child.len(), true);
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.close_row(self.child.len(), false);
    }

    fn truncate(&mut self, len: usize) {
        let end = self.offsets.truncate(len);
        self.child.truncate(end);
    }

    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn is_null(&self, row: usize) -> bool {
        !self.offsets.nulls.is_valid(row)
    }

    fn finish(&mut self) -> ArrayRef {
        let nulls = self.offsets.nulls.finish();
        Arc::new(ListArray::new(
            Arc::clone(&self.element),
            self.offsets.finish(),
            self.child.finish(),
            nulls,
        ))
    }
}

pub(super) struct MapColumn {
    entries: FieldRef,
    value: FieldRef,
    sorted: bool,
    keys: TextColumn,
    values: Box<dyn Column>,
    offsets: Offsets,
}

impl MapColumn {
    /// `entries` is a struct of a key, a text, and a value.
    pub(super) fn new(entries: &FieldRef, sorted: bool) -> Self {
        let DataType::Struct(fields) = entries.data_type() else {
            unreachable!("the schema let a map pass that has no entries");
        };
        MapColumn {
            entries: Arc::clone(entries),
            value: Arc::clone(&fields[1]),
            sorted,
            keys: TextColumn::new(fields[0].data_type()),
            values: column(&fields[1]),
            offsets: Offsets::new(),
        }
    }
}

impl Column for MapColumn {
    fn push(&mut self, value: Value<'_, '_>, how: Fit) -> Result<(), Fault> {
        let Some(pairs) = entries(value) else {
            let map = DataType::Map(Arc::clone(&self.entries), self.sorted);
            return Err(Fault::unfit(&map, value));
        };
        // A map has each key once: of a repeated one the last counts, where that is no fault.
        let mut last = HashMap::new();
        for (key, at) in pairs {
            if last.insert(key, at).is_some() && how == Fit::Refused {
                return Err(Fault::repeated().inside(key));
            }
        }
        for (key, at) in entries(value).into_iter().flatten() {
            if last.get(key) == Some(&at) {
                put(self.values.as_mut(), &self.value, Some(&value[at..]), how)
                    .map_err(|fault| fault.inside(key))?;
                self.keys.push_text(key);
            }
        }
        self.offsets.close_row(self.values.len(), true);
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.close_row(self.values.len(), false);
    }

    fn truncate(&mut self, len: usize) {
        let end = self.offsets.truncate(len);
        self.keys.truncate(end);
        self.values.truncate(end);
    }

    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn is_null(&self, row: usize) -> bool {
        !self.offsets.nulls.is_valid(row)
    }

    fn finish(&mut self) -> ArrayRef {
        let DataType::Struct(fields) = self.entries.data_type() else {
            unreachable!("the schema let a map pass that has no entries");
        };
        let arrays = vec![self.keys.finish(), self.values.finish()];
        let nulls = self.offsets.nulls.finish();
        Arc::new(MapArray::new(
            Arc::clone(&self.entries),
            self.offsets.finish(),
            StructArray::new(fields.clone(), arrays, None),
            nulls,
            self.sorted,
        ))
    }
}

/// A struct, and the whole body.
pub(super) struct StructColumn {
    pub(super) fields: Fields,
    pub(super) children: Vec<Box<dyn Column>>,
    /// Which field has a name.
    by_name: HashMap<String, usize>,
    /// Where in the object at hand each field's value begins.
    places: Vec<Option<usize>>,
    nulls: NullBufferBuilder,
}

impl StructColumn {
    pub(super) fn new(fields: &Fields) -> Self {
        let names = fields.iter().enumerate();
        StructColumn {
            children: fields.iter().map(column).collect(),
            by_name: names
                .map(|(index, field)| (field.name().clone(), index))
                .collect(),
            fields: fields.clone(),
            places: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }

    /// The index of the field with this name; most bodies have their fields in the schema's order.
    fn index_of(&self, key: &str, guess: usize) -> Option<usize> {
        match self.fields.get(guess) {
            Some(field) if field.name() == key => Some(guess),
            _ => self.by_name.get(key).copied(),
        }
    }

    /// Finds where each field stands. One that stands there twice is a fault where faults are
    /// refused; otherwise the last counts, as in Spark.
    fn find(&mut self, value: Value<'_, '_>, how: Fit) -> Result<(), Fault> {
        self.places.clear();
        self.places.resize(self.fields.len(), None);
        let mut guess = 0;
        for (key, at) in entries(value).into_iter().flatten() {
            if let Some(index) = self.index_of(key, guess) {
                guess = index + 1;
                if self.places[index].replace(at).is_some() && how == Fit::Refused {
                    return Err(Fault::repeated().inside(key));
                }
            }
        }
        Ok(())
    }

    /// Whether a field of the last row is not null.
    pub(super) fn last_row_has_a_value(&self) -> bool {
        self.children.iter().any(|child| {
            child
                .len()
                .checked_sub(1)
                .is_some_and(|last| !child.is_null(last))
        })
    }
}

impl Column for StructColumn {
    fn push(&mut self, value: Value<'_, '_>, how: Fit) -> Result<(), Fault> {
        if entries(value).is_none() {
            return Err(Fault::unfit(&DataType::Struct(self.fields.clone()), value));
        }
        self.find(value, how)?;
        let columns = self.children.iter_mut().zip(self.fields.iter());
        for ((column, field), place) in columns.zip(&self.places) {
            put(column.as_mut(), field, place.map(|at| &value[at..]), how)
                .map_err(|fault| fault.inside(field.name()))?;
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.children.iter_mut().for_each(|child| child.push_null());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.children
            .iter_mut()
            .for_each(|child| child.truncate(len));
        self.nulls.truncate(len.min(self.nulls.len()));
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    fn is_null(&self, row: usize) -> bool {
        !self.nulls.is_valid(row)
    }

    fn finish(&mut self) -> ArrayRef {
        let len = self.len();
        let arrays = self
            .children
            .iter_mut()
            .map(|child| child.finish())
            .collect();
        let nulls = self.nulls.finish();
        let array = StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, len);
        Arc::new(array.expect("each row has a value of each field"))
    }
}
