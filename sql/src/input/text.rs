//! Columns of texts and of bytes.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::array::{ArrayRef, BinaryArray, NullBufferBuilder, StringArray};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use simd_json::Node;

use super::column::{Column, Fit};
use super::fault::Fault;
use super::tape::Value;

/// Texts as they are; bytes from base64, as Spark reads them from JSON.
pub(super) struct TextColumn {
    data_type: DataType,
    is_text: bool,
    bytes: Vec<u8>,
    /// Where each row ends, behind a first 0. The batch is bounded well below 2 GiB.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl TextColumn {
    pub(super) fn new(data_type: &DataType) -> Self {
        let is_text = matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        TextColumn {
            data_type: data_type.clone(),
            is_text,
            bytes: Vec::new(),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        }
    }

    pub(super) fn push_text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.close_row(true);
    }

    fn close_row(&mut self, valid: bool) {
        let end = i32::try_from(self.bytes.len()).expect("a batch is bounded below 2 GiB");
        self.offsets.push(end);
        self.nulls.append(valid);
    }

    fn end_of(&self, len: usize) -> usize {
        usize::try_from(self.offsets[len]).unwrap_or_default()
    }
}

impl Column for TextColumn {
    fn push(&mut self, value: Value<'_, '_>, _how: Fit) -> Result<(), Fault> {
        let [Node::String(text), ..] = value else {
            return Err(Fault::unfit(&self.data_type, value));
        };
        if self.is_text {
            self.push_text(text);
            return Ok(());
        }
        let start = self.bytes.len();
        if STANDARD.decode_vec(text, &mut self.bytes).is_err() {
            self.bytes.truncate(start);
            return Err(Fault::unfit(&self.data_type, value));
        }
        self.close_row(true);
        Ok(())
    }

    fn push_null(&mut self) {
        self.close_row(false);
    }

    fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.bytes.truncate(self.end_of(len));
            self.offsets.truncate(len + 1);
            self.nulls.truncate(len);
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn is_null(&self, row: usize) -> bool {
        !self.nulls.is_valid(row)
    }

    fn finish(&mut self) -> ArrayRef {
        let mut next = Vec::with_capacity(self.offsets.len());
        next.push(0);
        let offsets = std::mem::replace(&mut self.offsets, next);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let next = Vec::with_capacity(self.bytes.len());
        let bytes = std::mem::replace(&mut self.bytes, next).into();
        let nulls = self.nulls.finish();
        let array: ArrayRef = match self.is_text {
            true => Arc::new(StringArray::new(offsets, bytes, nulls)),
            false => Arc::new(BinaryArray::new(offsets, bytes, nulls)),
        };
        match self.data_type {
            DataType::Utf8 | DataType::Binary => array,
            _ => cast(&array, &self.data_type).expect("a text has all of its layouts"),
        }
    }
}
