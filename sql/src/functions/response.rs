//! Responses with a status of their own.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch, StructArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use datafusion::common::{Result, internal_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::{Expr, lit};

use crate::schema;

/// A reply of a text with a status: Spark Serving's `string_to_response`. In SQL the status may be
/// left out (200), and a reason phrase may follow, which is not sent: a status has its own.
///
/// ```
/// # use snapback::Pipeline;
/// # use snapback_sql::prelude::*;
/// # use snapback_sql::functions::string_to_response;
/// # fn main() -> snapback_sql::Result<()> {
/// let mut service = Pipeline::detached()
///     .columns()
///     .parse_request("foo STRING")?
///     .make_reply(when(col("foo").is_null(), string_to_response(lit("no foo"), lit(422)))
///         .otherwise(string_to_response(col("foo"), lit(201)))?)?
///     .test();
/// service.post(r#"{"foo":"made"}"#).expect(201, "made");
/// service.post(r#"{"foo":null}"#).expect(422, "no foo");
/// # Ok(())
/// # }
/// ```
pub fn string_to_response(text: Expr, status: Expr) -> Expr {
    ScalarUDF::from(ToResponse::new(Kind::Text)).call(vec![text, status])
}

/// A reply of bytes with a status: Spark Serving's `binary_to_response`.
pub fn binary_to_response(bytes: Expr, status: Expr) -> Expr {
    ScalarUDF::from(ToResponse::new(Kind::Bytes)).call(vec![bytes, status])
}

/// A reply without a body, with a status: Spark Serving's `empty_response`.
pub fn empty_response(status: Expr) -> Expr {
    ScalarUDF::from(ToResponse::new(Kind::Empty)).call(vec![status, lit("")])
}

/// What a response is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Text,
    Bytes,
    Empty,
}

impl Kind {
    /// How many arguments come before the status.
    fn bodies(self) -> usize {
        match self {
            Kind::Text | Kind::Bytes => 1,
            Kind::Empty => 0,
        }
    }

    fn content_type(self) -> Option<&'static str> {
        match self {
            Kind::Text => Some("text/plain; charset=utf-8"),
            Kind::Bytes => Some("application/octet-stream"),
            Kind::Empty => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToResponse {
    kind: Kind,
    signature: Signature,
}

impl ToResponse {
    pub(super) fn new(kind: Kind) -> Self {
        ToResponse {
            kind,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToResponse {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Text => "string_to_response",
            Kind::Bytes => "binary_to_response",
            Kind::Empty => "empty_response",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let bodies = self.kind.bodies();
        let name = self.name();
        // With a status and a reason phrase at most; DataFusion has no function of no arguments here.
        if !(bodies.max(1)..=bodies + 2).contains(&arguments.len()) {
            return plan_err!("{name} takes a body, if any, a status and a reason phrase");
        }
        let fits = match (self.kind, &arguments[0]) {
            (_, DataType::Null) | (Kind::Empty, _) => true,
            (Kind::Text, body) => body.is_string(),
            (Kind::Bytes, body) => body.is_binary(),
        };
        let status = arguments.get(bodies);
        if !fits || status.is_some_and(|status| !(status.is_integer() || status.is_null())) {
            return plan_err!("{name} cannot take {arguments:?}: a body, then a status as INT");
        }
        Ok(schema::response_type())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let array = |value: &ColumnarValue| value.to_array(rows);
        let statuses = match arguments.args.get(self.kind.bodies()) {
            Some(status) => cast(&array(status)?, &DataType::Int32)?,
            None => Arc::new(Int32Array::from(vec![200; rows])),
        };
        let bodies = match self.kind {
            Kind::Empty => new_null_array(&DataType::Binary, rows),
            Kind::Text => cast(
                &cast(&array(&arguments.args[0])?, &DataType::Utf8)?,
                &DataType::Binary,
            )?,
            Kind::Bytes => cast(&array(&arguments.args[0])?, &DataType::Binary)?,
        };
        let response = response(self.kind, bodies.as_binary(), &statuses)?;
        Ok(ColumnarValue::Array(Arc::new(response)))
    }
}

/// The response of each row.
fn response(kind: Kind, bodies: &BinaryArray, statuses: &ArrayRef) -> Result<StructArray> {
    let rows = bodies.len();
    let DataType::Struct(fields) = schema::response_type() else {
        return Err(internal_datafusion_err!("a response is a struct"));
    };
    let nothing = |field: &Field| new_null_array(field.data_type(), rows);
    let put = |fields: &Fields, place: usize, column: ArrayRef| -> ArrayRef {
        let columns = fields
            .iter()
            .enumerate()
            .map(|(index, field)| match index == place {
                true => Arc::clone(&column),
                false => nothing(field),
            });
        Arc::new(StructArray::new(fields.clone(), columns.collect(), None))
    };
    let (entity, line) = (members(&fields[1]), members(&fields[2]));
    let content_types = match kind.content_type() {
        None => nothing(&entity[3]),
        Some(value) => put(
            &members(&entity[3]),
            1,
            Arc::new(datafusion::arrow::array::StringArray::from(vec![
                value;
                rows
            ])),
        ),
    };
    let mut contents: Vec<ArrayRef> = entity.iter().map(|field| nothing(field)).collect();
    contents[0] = Arc::new(bodies.clone());
    contents[3] = content_types;
    let entity = StructArray::new(entity, contents, None);
    let columns = vec![
        nothing(&fields[0]),
        Arc::new(entity) as ArrayRef,
        put(&line, 1, Arc::clone(statuses)),
        nothing(&fields[3]),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    Ok(StructArray::from(batch))
}

fn members(field: &Field) -> Fields {
    match field.data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    }
}

/// A response, as a reply is written from it.
pub(crate) struct ResponseRow<'a> {
    response: &'a StructArray,
    row: usize,
}

impl<'a> ResponseRow<'a> {
    /// The row of an array whose type is a response's.
    pub(crate) fn of(array: &'a dyn Array, row: usize) -> Self {
        ResponseRow {
            response: array.as_struct(),
            row,
        }
    }

    /// The status; 200 when it is null, 0 when it is none.
    pub(crate) fn status(&self) -> u16 {
        let line = self.response.column(2).as_struct();
        let codes = line.column(1).as_primitive::<Int32Type>();
        match line.is_valid(self.row) && codes.is_valid(self.row) {
            true => u16::try_from(codes.value(self.row)).unwrap_or(0),
            false => 200,
        }
    }

    /// Name and value of each header field.
    pub(crate) fn headers(&self) -> Vec<(&'a str, &'a str)> {
        let lists = self.response.column(0).as_list::<i32>();
        if lists.is_null(self.row) {
            return Vec::new();
        }
        let offsets = lists.value_offsets();
        let (from, to) = (offsets[self.row] as usize, offsets[self.row + 1] as usize);
        let fields = lists.values().as_struct();
        let (names, values) = (
            fields.column(0).as_string::<i32>(),
            fields.column(1).as_string::<i32>(),
        );
        (from..to)
            .filter(|row| fields.is_valid(*row) && names.is_valid(*row) && values.is_valid(*row))
            .map(|row| (names.value(row), values.value(row)))
            .collect()
    }

    fn entity(&self) -> Option<&'a StructArray> {
        let entity = self.response.column(1).as_struct();
        entity.is_valid(self.row).then_some(entity)
    }

    /// The content type that its entity names.
    pub(crate) fn content_type(&self) -> Option<&'a str> {
        let header = self.entity()?.column(3).as_struct();
        let values = header.column(1).as_string::<i32>();
        (header.is_valid(self.row) && values.is_valid(self.row)).then(|| values.value(self.row))
    }

    /// The body.
    pub(crate) fn content(&self) -> Option<&'a [u8]> {
        let content = self.entity()?.column(0).as_binary::<i32>();
        content.is_valid(self.row).then(|| content.value(self.row))
    }
}
