//! The column `id`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, StringBuilder, StructArray};
use datafusion::arrow::datatypes::DataType;
use snapback::RequestId;

use crate::schema;

/// The ids of the requests of a turn, as Spark Serving has them: service, request, partition.
#[derive(Default)]
pub(super) struct IdColumn {
    services: StringBuilder,
    requests: StringBuilder,
    partitions: Vec<i32>,
}

impl IdColumn {
    pub(super) fn push(&mut self, id: RequestId<'_>) {
        use std::fmt::Write as _;

        self.services.append_value(id.service());
        // A builder takes any text: this cannot fail.
        let _ = write!(self.requests, "{id}");
        self.requests.append_value("");
        self.partitions
            .push(i32::try_from(id.partition()).unwrap_or(i32::MAX));
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        let DataType::Struct(fields) = schema::id_field().data_type().clone() else {
            unreachable!("an id is a struct");
        };
        let partitions = std::mem::take(&mut self.partitions);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.services.finish()),
            Arc::new(self.requests.finish()),
            Arc::new(Int32Array::from(partitions)),
        ];
        Arc::new(StructArray::new(fields, arrays, None))
    }
}
