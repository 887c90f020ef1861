//! The column `request`: the whole request, as Spark Serving has it.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Int32Array, Int64Array, ListArray, StringArray,
    StringBuilder, StructArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Fields};
use snapback::Request;

use crate::schema;

/// The requests of a turn. The body is decoded and without chunk framing.
#[derive(Default)]
pub(super) struct RequestColumn {
    methods: StringBuilder,
    uris: StringBuilder,
    header_names: StringBuilder,
    header_values: StringBuilder,
    /// How many header fields each request has.
    header_counts: Vec<usize>,
    bodies: BinaryBuilder,
    lengths: Vec<i64>,
    encodings: Vec<Option<String>>,
    content_types: Vec<Option<String>>,
    chunked: Vec<bool>,
}

impl RequestColumn {
    pub(super) fn push(&mut self, request: &Request<'_>) {
        self.methods.append_value(request.method());
        self.uris.append_value(request.target());
        let headers = request.headers();
        for (name, value) in headers.iter() {
            self.header_names.append_value(name);
            self.header_values
                .append_value(String::from_utf8_lossy(value));
        }
        self.header_counts.push(headers.len());
        self.bodies.append_value(request.body());
        let length = i64::try_from(request.body().len());
        self.lengths.push(length.unwrap_or(i64::MAX));
        let text = |name| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        self.encodings.push(text("content-encoding"));
        self.content_types.push(text("content-type"));
        self.chunked
            .push(headers.get("transfer-encoding").is_some());
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.lengths.len();
        let request = fields_of(schema::request_field().data_type());
        let line = fields_of(request[0].data_type());
        let version = fields_of(line[2].data_type());
        let version: ArrayRef = structs(
            version,
            vec![
                Arc::new(StringArray::from(vec!["HTTP"; rows])),
                Arc::new(Int32Array::from(vec![1; rows])),
                Arc::new(Int32Array::from(vec![1; rows])),
            ],
        );
        let (methods, uris) = (self.methods.finish(), self.uris.finish());
        let line = structs(line, vec![Arc::new(methods), Arc::new(uris), version]);
        let headers = self.finish_headers(request[1].data_type());
        let entity = self.finish_entity(fields_of(request[2].data_type()));
        structs(request, vec![line, headers, entity])
    }

    fn finish_headers(&mut self, data_type: &DataType) -> ArrayRef {
        let DataType::List(element) = data_type else {
            unreachable!("headers are a list");
        };
        let (names, values) = (self.header_names.finish(), self.header_values.finish());
        let fields = structs(
            fields_of(element.data_type()),
            vec![Arc::new(names), Arc::new(values)],
        );
        let counts = std::mem::take(&mut self.header_counts);
        let offsets = OffsetBuffer::from_lengths(counts);
        Arc::new(ListArray::new(element.clone(), offsets, fields, None))
    }

    fn finish_entity(&mut self, entity: Fields) -> ArrayRef {
        let encodings = std::mem::take(&mut self.encodings);
        let content_types = std::mem::take(&mut self.content_types);
        let rows = self.lengths.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.bodies.finish()),
            named(&entity[1], "Content-Encoding", encodings),
            Arc::new(Int64Array::from(std::mem::take(&mut self.lengths))),
            named(&entity[3], "Content-Type", content_types),
            Arc::new(BooleanArray::from(std::mem::take(&mut self.chunked))),
            Arc::new(BooleanArray::from(vec![true; rows])),
            Arc::new(BooleanArray::from(vec![false; rows])),
        ];
        structs(entity, columns)
    }
}

/// A column of header fields of one name, null where a request has none.
fn named(
    field: &datafusion::arrow::datatypes::FieldRef,
    name: &str,
    values: Vec<Option<String>>,
) -> ArrayRef {
    let is_there: NullBuffer = values
        .iter()
        .map(Option::is_some)
        .collect::<Vec<_>>()
        .into();
    let names = values.iter().map(|value| value.as_ref().map(|_| name));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(names.collect::<StringArray>()),
        Arc::new(values.iter().map(Option::as_deref).collect::<StringArray>()),
    ];
    let fields = fields_of(field.data_type());
    Arc::new(StructArray::new(fields, columns, Some(is_there)))
}

fn structs(fields: Fields, columns: Vec<ArrayRef>) -> ArrayRef {
    Arc::new(StructArray::new(fields, columns, None))
}

fn fields_of(data_type: &DataType) -> Fields {
    let DataType::Struct(fields) = data_type else {
        unreachable!("it is a struct");
    };
    fields.clone()
}
