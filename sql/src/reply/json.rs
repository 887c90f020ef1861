//! One value of an array as JSON, as Spark's `to_json` writes it.
//!
//! Fields of a struct that are null are left out; elements of a list and values of a map that are
//! null are `null`. Numbers that JSON has no number for are texts, `"NaN"`; so are dates, times and
//! bytes, these in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::array::{Array, ArrowPrimitiveType, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{bytes, key, text, time};

/// Appends the value of a row.
pub(super) fn write_value(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match array.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => {
            let bit = array.as_boolean().value(row);
            out.extend_from_slice(if bit { b"true" } else { b"false" });
        }
        DataType::Int8 => write_integer(out, value::<Int8Type>(array, row)),
        DataType::Int16 => write_integer(out, value::<Int16Type>(array, row)),
        DataType::Int32 => write_integer(out, value::<Int32Type>(array, row)),
        DataType::Int64 => write_integer(out, value::<Int64Type>(array, row)),
        DataType::UInt8 => write_integer(out, value::<UInt8Type>(array, row)),
        DataType::UInt16 => write_integer(out, value::<UInt16Type>(array, row)),
        DataType::UInt32 => write_integer(out, value::<UInt32Type>(array, row)),
        DataType::UInt64 => write_integer(out, value::<UInt64Type>(array, row)),
        DataType::Float16 => write_float(out, value::<Float16Type>(array, row).to_f32()),
        DataType::Float32 => write_float(out, value::<Float32Type>(array, row)),
        DataType::Float64 => write_float(out, value::<Float64Type>(array, row)),
        DataType::Decimal32(..) => {
            write_bare(
                out,
                &array.as_primitive::<Decimal32Type>().value_as_string(row),
            );
        }
        DataType::Decimal64(..) => {
            write_bare(
                out,
                &array.as_primitive::<Decimal64Type>().value_as_string(row),
            );
        }
        DataType::Decimal128(..) => {
            write_bare(
                out,
                &array.as_primitive::<Decimal128Type>().value_as_string(row),
            );
        }
        DataType::Decimal256(..) => {
            write_bare(
                out,
                &array.as_primitive::<Decimal256Type>().value_as_string(row),
            );
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            write_text(out, text(array, row));
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => write_text(out, &STANDARD.encode(bytes(array, row))),
        DataType::Timestamp(unit, zone) => {
            time::write_timestamp(out, array, row, *unit, zone.as_deref());
        }
        DataType::List(_) => write_list(out, array.as_list::<i32>().value(row).as_ref()),
        DataType::LargeList(_) => write_list(out, array.as_list::<i64>().value(row).as_ref()),
        DataType::ListView(_) => write_list(out, array.as_list_view::<i32>().value(row).as_ref()),
        DataType::LargeListView(_) => {
            write_list(out, array.as_list_view::<i64>().value(row).as_ref());
        }
        DataType::FixedSizeList(..) => {
            write_list(out, array.as_fixed_size_list().value(row).as_ref());
        }
        DataType::Struct(_) => write_struct(out, array, row),
        DataType::Map(..) => write_map(out, array, row),
        DataType::Dictionary(..) => {
            let values = array.as_any_dictionary().values();
            write_value(out, values.as_ref(), key(array, row));
        }
        _ => write_displayed(out, array, row),
    }
}

fn value<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn write_integer<I: itoa::Integer>(out: &mut Vec<u8>, value: I) {
    write_bare(out, itoa::Buffer::new().format(value));
}

fn write_float<F: zmij::Float + Into<f64> + Copy>(out: &mut Vec<u8>, value: F) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        write_bare(out, zmij::Buffer::new().format(value));
    } else if wide.is_nan() {
        write_bare(out, "\"NaN\"");
    } else if wide > 0.0 {
        write_bare(out, "\"Infinity\"");
    } else {
        write_bare(out, "\"-Infinity\"");
    }
}

fn write_bare(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text in quotes.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // A vector takes any bytes and a text is always JSON: this cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_list(out: &mut Vec<u8>, elements: &dyn Array) {
    out.push(b'[');
    for row in 0..elements.len() {
        if row > 0 {
            out.push(b',');
        }
        write_value(out, elements, row);
    }
    out.push(b']');
}

fn write_struct(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    let fields = array.as_struct();
    out.push(b'{');
    let mut first = true;
    for (name, column) in fields.column_names().into_iter().zip(fields.columns()) {
        if column.is_null(row) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_text(out, name);
        out.push(b':');
        write_value(out, column.as_ref(), row);
    }
    out.push(b'}');
}

fn write_map(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push(b'{');
    for entry in 0..entries.len() {
        if entry > 0 {
            out.push(b',');
        }
        write_key(out, keys.as_ref(), entry);
        out.push(b':');
        write_value(out, values.as_ref(), entry);
    }
    out.push(b'}');
}

/// A key is always a text: what would be another JSON value gets quotes, and is escaped where it
/// holds some itself.
fn write_key(out: &mut Vec<u8>, keys: &dyn Array, row: usize) {
    let mut key = Vec::new();
    write_value(&mut key, keys, row);
    match key.first() {
        Some(b'"') => out.extend_from_slice(&key),
        _ => write_text(out, &String::from_utf8_lossy(&key)),
    }
}

/// Dates, times of day, durations, intervals and what else Arrow has, as Arrow shows them.
fn write_displayed(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    let options = FormatOptions::new();
    let shown = ArrayFormatter::try_new(array, &options).map(|shown| shown.value(row).to_string());
    match shown {
        Ok(shown) => write_text(out, &shown),
        Err(_) => write_bare(out, "null"),
    }
}
