//! Arrow's types as JSON Schemas: what a body may have for them, and what a reply has.

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use serde_json::{Map, Value, json};

/// Which way the JSON goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into columns; whether each field must be there.
    In { all_fields: bool },
    /// Out of them. A field of a struct that is null is left out.
    Out,
}

/// Base64 with padding, whose bits behind the last byte are zero: other texts are refused.
const BASE64: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The values of a field, null among them where it is nullable.
pub(crate) fn of_field(field: &Field, way: Way) -> Value {
    let schema = of_type(field.data_type(), way);
    match field.is_nullable() {
        true => or_null(schema),
        false => schema,
    }
}

/// An object with these fields.
pub(crate) fn of_fields(fields: &Fields, way: Way) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields {
        let (schema, is_required) = match way {
            Way::In { all_fields } => (of_field(field, way), all_fields),
            Way::Out => (of_type(field.data_type(), way), !field.is_nullable()),
        };
        if is_required {
            required.push(field.name().as_str());
        }
        properties.insert(field.name().clone(), schema);
    }
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// The values of a type but null.
pub(crate) fn of_type(data_type: &DataType, way: Way) -> Value {
    match data_type {
        DataType::Null => json!({ "type": "null" }),
        DataType::Boolean => json!({ "type": "boolean" }),
        DataType::Int8 => integer("int8", i8::MIN, i8::MAX),
        DataType::Int16 => integer("int16", i16::MIN, i16::MAX),
        DataType::Int32 => integer("int32", i32::MIN, i32::MAX),
        DataType::Int64 => integer("int64", i64::MIN, i64::MAX),
        DataType::UInt8 => integer("uint8", u8::MIN, u8::MAX),
        DataType::UInt16 => integer("uint16", u16::MIN, u16::MAX),
        DataType::UInt32 => integer("uint32", u32::MIN, u32::MAX),
        DataType::UInt64 => integer("uint64", u64::MIN, u64::MAX),
        DataType::Float16 => float("half", Some(65_504.0), way),
        DataType::Float32 => float("float", Some(f64::from(f32::MAX)), way),
        DataType::Float64 => float("double", None, way),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => decimal(*precision, *scale, way),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!({ "type": "string" }),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => {
            let mut bytes = json!({ "type": "string", "contentEncoding": "base64" });
            if way != Way::Out {
                bytes["pattern"] = BASE64.into();
            }
            bytes
        }
        // In replies Arrow's 64 bits of a date have a time of day.
        DataType::Date64 if way == Way::Out => text_of("date-time-local"),
        DataType::Date32 | DataType::Date64 => text_of("date"),
        DataType::Time32(_) | DataType::Time64(_) => text_of("time-local"),
        DataType::Timestamp(_, Some(_)) => text_of("date-time"),
        DataType::Timestamp(_, None) => text_of("date-time-local"),
        DataType::Duration(_) | DataType::Interval(_) => json!({ "type": "string" }),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => {
            json!({ "type": "array", "items": of_field(element, way) })
        }
        DataType::Struct(fields) => of_fields(fields, way),
        DataType::Map(entries, _) => {
            let values = match entries.data_type() {
                DataType::Struct(fields) => fields.get(1).map(|value| of_field(value, way)),
                _ => None,
            };
            json!({ "type": "object", "additionalProperties": values.unwrap_or(json!({})) })
        }
        DataType::Dictionary(_, value) => of_type(value, way),
        _ => json!({}),
    }
}

fn integer<N: Into<Value>>(format: &str, least: N, most: N) -> Value {
    let (least, most): (Value, Value) = (least.into(), most.into());
    json!({ "type": "integer", "format": format, "minimum": least, "maximum": most })
}

/// A number, or one of the three that JSON has no number for.
fn float(format: &str, most: Option<f64>, way: Way) -> Value {
    let mut number = json!({ "type": "number", "format": format });
    // The shortest text of the largest single, which replies have, is a little above it.
    if let (Some(most), Way::In { .. }) = (most, way) {
        number["minimum"] = json!(-most);
        number["maximum"] = json!(most);
    }
    json!({ "anyOf": [
        number,
        { "type": "string", "enum": ["NaN", "Infinity", "-Infinity"] },
    ] })
}

fn decimal(precision: u8, scale: i8, way: Way) -> Value {
    let scale = u8::try_from(scale).unwrap_or_default();
    let digits = precision.saturating_sub(scale);
    // As text: what a double makes of so many nines is one digit longer.
    let bound: f64 = format!("1e{digits}").parse().unwrap_or(f64::INFINITY);
    let mut number = json!({
        "type": "number",
        "format": "decimal",
        "exclusiveMinimum": -bound,
        "exclusiveMaximum": bound,
        "description": format!("At most {scale} digits behind the point."),
    });
    if scale == 0 {
        number["type"] = "integer".into();
    }
    if way == Way::Out {
        return number;
    }
    let fraction = match scale {
        0 => String::new(),
        _ => format!("(\\.[0-9]{{1,{scale}}})?"),
    };
    let whole = match digits {
        0 => "0".to_owned(),
        _ => format!("[0-9]{{1,{digits}}}"),
    };
    let text = json!({ "type": "string", "pattern": format!("^-?{whole}{fraction}$") });
    json!({ "anyOf": [number, text] })
}

fn text_of(format: &str) -> Value {
    json!({ "type": "string", "format": format })
}

fn or_null(mut schema: Value) -> Value {
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.push(json!({ "type": "null" }));
    } else if let Some(name) = schema.get("type").and_then(Value::as_str)
        && name != "null"
    {
        schema["type"] = json!([name, "null"]);
    }
    schema
}
