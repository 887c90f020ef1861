//! What a request can be parsed into.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit,
};

use crate::ddl;
use crate::error::{Result, SqlError};
use crate::parsing_check::ParsingCheck;

/// The name of the column that holds the request's id.
pub(crate) const ID: &str = "id";

/// The Arrow types that [`crate::input`] has columns for.
pub(crate) const TYPES: &str = "Boolean, Int8 to Int64, UInt8 to UInt64, Float16 to Float64, \
    Decimal32 to Decimal256 with a scale from 0 to its precision, Utf8, LargeUtf8, Utf8View, \
    Binary, LargeBinary, BinaryView, Date32, Date64, Time32, Time64, Timestamp without a zone or \
    in one that is known, List, Map with Utf8 keys, Struct";

/// A schema, or what can be read as one: an Arrow schema, or Spark's DDL string.
pub trait IntoSchema {
    /// The schema.
    ///
    /// # Errors
    ///
    /// [`SqlError::Ddl`] when a text is not one.
    fn into_schema(self) -> Result<SchemaRef>;
}

impl IntoSchema for &str {
    fn into_schema(self) -> Result<SchemaRef> {
        Ok(Arc::new(ddl::parse(self)?))
    }
}

impl IntoSchema for Schema {
    fn into_schema(self) -> Result<SchemaRef> {
        Ok(Arc::new(self))
    }
}

impl IntoSchema for SchemaRef {
    fn into_schema(self) -> Result<SchemaRef> {
        Ok(self)
    }
}

/// The columns of a parsed request, checked: what a check other than `full` accepts can be null
/// anywhere.
pub(crate) fn of_requests(schema: &Schema, check: ParsingCheck) -> Result<Fields> {
    for field in schema.fields() {
        supported(field, field.name())?;
    }
    Ok(match check {
        ParsingCheck::Full => schema.fields().clone(),
        ParsingCheck::None | ParsingCheck::Partial => {
            schema.fields().iter().map(all_nullable).collect()
        }
    })
}

/// Spark's type of a request's id.
pub(crate) fn id_field() -> Field {
    let fields = vec![
        Field::new("originatingService", DataType::Utf8, true),
        Field::new("requestId", DataType::Utf8, true),
        Field::new("partitionId", DataType::Int32, true),
    ];
    Field::new_struct(ID, fields, true)
}

/// Query parameters or header fields, checked: each is one value, and not a list or an object.
pub(crate) fn of_texts(schema: &Schema) -> Result<Fields> {
    for field in schema.fields() {
        if field.data_type().is_nested() {
            return Err(SqlError::NotOneText {
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
            });
        }
        supported(field, field.name())?;
    }
    Ok(schema.fields().clone())
}

/// No two columns of a stream have the same name.
pub(crate) fn distinct(columns: &Schema) -> Result<()> {
    let mut names = std::collections::HashSet::new();
    for field in columns.fields() {
        if !names.insert(field.name()) {
            let column = field.name().clone();
            return Err(SqlError::Twice { column });
        }
    }
    Ok(())
}

/// The name of the column that holds the whole request.
pub(crate) const REQUEST: &str = "request";

/// Spark's type of a request.
pub(crate) fn request_field() -> Field {
    let line = vec![text("method"), text("uri"), version_field()];
    let line = Field::new_struct("requestLine", line, true);
    Field::new_struct(REQUEST, vec![line, headers_field(), entity_field()], true)
}

/// Spark's type of a response.
pub(crate) fn response_type() -> DataType {
    let line = vec![
        version_field(),
        Field::new("statusCode", DataType::Int32, true),
        text("reasonPhrase"),
    ];
    let line = Field::new_struct("statusLine", line, true);
    DataType::Struct(vec![headers_field(), entity_field(), line, text("locale")].into())
}

fn headers_field() -> Field {
    Field::new_list("headers", header_field("element"), true)
}

fn entity_field() -> Field {
    let flag = |name| Field::new(name, DataType::Boolean, true);
    let entity = vec![
        Field::new("content", DataType::Binary, true),
        header_field("contentEncoding"),
        Field::new("contentLength", DataType::Int64, true),
        header_field("contentType"),
        flag("isChunked"),
        flag("isRepeatable"),
        flag("isStreaming"),
    ];
    Field::new_struct("entity", entity, true)
}

fn header_field(name: &str) -> Field {
    Field::new_struct(name, vec![text("name"), text("value")], true)
}

fn version_field() -> Field {
    let number = |name| Field::new(name, DataType::Int32, true);
    let fields = vec![text("protocol"), number("major"), number("minor")];
    Field::new_struct("protocolVersion", fields, true)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn supported(field: &Field, path: &str) -> Result<()> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256,
        Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, List, Map,
        Struct, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};

    let unsupported = || SqlError::Type {
        column: path.to_owned(),
        data_type: field.data_type().to_string(),
    };
    match field.data_type() {
        Boolean
        | Int8
        | Int16
        | Int32
        | Int64
        | UInt8
        | UInt16
        | UInt32
        | UInt64
        | Float16
        | Float32
        | Float64
        | Utf8
        | LargeUtf8
        | Utf8View
        | Binary
        | LargeBinary
        | BinaryView
        | Date32
        | Date64
        | Time32(Second | Millisecond)
        | Time64(Microsecond | Nanosecond)
        | Timestamp(_, None) => Ok(()),
        Timestamp(_, Some(zone)) if zone.parse::<Tz>().is_ok() => Ok(()),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale)
            if u8::try_from(*scale).is_ok_and(|scale| scale <= *precision) =>
        {
            Ok(())
        }
        List(element) => supported(element, &format!("{path}[]")),
        Struct(fields) => {
            let mut names = std::collections::HashSet::new();
            fields.iter().try_for_each(|field| {
                let path = format!("{path}.{}", field.name());
                if !names.insert(field.name()) {
                    return Err(SqlError::Twice { column: path });
                }
                supported(field, &path)
            })
        }
        Map(entries, _) => match entries.data_type() {
            Struct(fields) if fields.len() == 2 && *fields[0].data_type() == Utf8 => {
                supported(&fields[1], &format!("{path}[]"))
            }
            _ => Err(unsupported()),
        },
        _ => Err(unsupported()),
    }
}

/// The field and what is inside, nullable; the keys of a map never are.
fn all_nullable(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(all_nullable(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(all_nullable).collect()),
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(fields) => {
                let fields = [Arc::clone(&fields[0]), all_nullable(&fields[1])];
                let entries = entries
                    .as_ref()
                    .clone()
                    .with_data_type(DataType::Struct(fields.into_iter().collect()));
                DataType::Map(Arc::new(entries), *sorted)
            }
            other => DataType::Map(
                Arc::new(entries.as_ref().clone().with_data_type(other.clone())),
                *sorted,
            ),
        },
        other => other.clone(),
    };
    Arc::new(
        field
            .as_ref()
            .clone()
            .with_data_type(data_type)
            .with_nullable(true),
    )
}
