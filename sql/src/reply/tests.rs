//! The table of types: what each becomes.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DictionaryArray, DurationSecondArray, FixedSizeBinaryArray, Float16Array, Float32Array,
    Float64Array, Int64Array, Int64Builder, LargeBinaryArray, LargeStringArray, ListArray,
    MapBuilder, NullArray, StringArray, StringViewArray, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{Field, Int8Type, i256};
use snapback_operators::ReplyHead;

use super::*;

/// Checks the reply of the first row, and of the second, which is null.
#[track_caller]
fn check(array: impl Array + 'static, expected: &str, content_type: Option<&str>, null: &str) {
    let array: ArrayRef = Arc::new(array);
    let column = ReplyColumn::new("c", array.data_type());
    let write = |row| {
        let (mut out, mut head) = (Vec::new(), ReplyHead::default());
        column.write(array.as_ref(), row, &mut Reply::new(&mut out, &mut head));
        let content_type = head.content_type().as_str();
        (String::from_utf8_lossy(&out).into_owned(), content_type)
    };
    assert_eq!(write(0), (expected.to_owned(), content_type));
    if array.len() > 1 {
        let null_type = (!null.is_empty()).then_some("application/json");
        assert_eq!(write(1), (null.to_owned(), null_type));
    }
}

#[track_caller]
fn json(array: impl Array + 'static, expected: &str) {
    check(array, expected, Some("application/json"), "{}");
}

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const BYTES: Option<&str> = Some("application/octet-stream");

#[test]
fn texts_and_bytes_are_as_they_are() {
    check(
        StringArray::from(vec![Some("a\"é"), None]),
        "a\"é",
        TEXT,
        "",
    );
    check(LargeStringArray::from(vec![Some("a"), None]), "a", TEXT, "");
    check(
        StringViewArray::from(vec![Some("a longer text than inline"), None]),
        "a longer text than inline",
        TEXT,
        "",
    );
    let dictionary: DictionaryArray<Int8Type> = [Some("word"), None].into_iter().collect();
    check(dictionary, "word", TEXT, "");
    check(
        BinaryArray::from_opt_vec(vec![Some(b"hi"), None]),
        "hi",
        BYTES,
        "",
    );
    check(
        LargeBinaryArray::from_opt_vec(vec![Some(b"hi"), None]),
        "hi",
        BYTES,
        "",
    );
    let fixed = FixedSizeBinaryArray::try_from_iter([b"hi"].into_iter());
    check(fixed.expect("bytes of one length"), "hi", BYTES, "");
    check(NullArray::new(1), "", None, "");
}

#[test]
fn numbers_are_values_with_their_name() {
    json(
        Int64Array::from(vec![Some(i64::MIN), None]),
        r#"{"c":-9223372036854775808}"#,
    );
    json(
        UInt64Array::from(vec![Some(u64::MAX), None]),
        r#"{"c":18446744073709551615}"#,
    );
    json(BooleanArray::from(vec![Some(true), None]), r#"{"c":true}"#);
    json(
        Float64Array::from(vec![Some(5e-324), None]),
        r#"{"c":5e-324}"#,
    );
    json(Float64Array::from(vec![-0.0]), r#"{"c":-0.0}"#);
    json(Float64Array::from(vec![f64::NAN]), r#"{"c":"NaN"}"#);
    json(
        Float32Array::from(vec![f32::NEG_INFINITY]),
        r#"{"c":"-Infinity"}"#,
    );
    json(Float32Array::from(vec![0.1]), r#"{"c":0.1}"#);
    json(
        Float16Array::from(vec![Some(half(1.5)), None]),
        r#"{"c":1.5}"#,
    );
    let decimal = Decimal128Array::from(vec![Some(500), None]);
    json(
        decimal.with_precision_and_scale(5, 2).expect("a decimal"),
        r#"{"c":5.00}"#,
    );
    let decimal = Decimal256Array::from(vec![i256::from_i128(-1)]);
    json(
        decimal.with_precision_and_scale(5, 2).expect("a decimal"),
        r#"{"c":-0.01}"#,
    );
}

fn half(value: f32) -> <datafusion::arrow::datatypes::Float16Type as datafusion::arrow::array::ArrowPrimitiveType>::Native{
    Float16Array::from_iter_values([]);
    datafusion::arrow::compute::cast(&Float32Array::from(vec![value]), &DataType::Float16)
        .expect("a half")
        .as_primitive::<datafusion::arrow::datatypes::Float16Type>()
        .value(0)
}

#[test]
fn times_are_texts() {
    json(
        Date32Array::from(vec![Some(18_263), None]),
        r#"{"c":"2020-01-02"}"#,
    );
    json(
        Time64MicrosecondArray::from(vec![3_661_000_001]),
        r#"{"c":"01:01:01.000001"}"#,
    );
    let micros = || TimestampMicrosecondArray::from(vec![Some(1_577_934_245_000_000), None]);
    json(
        micros().with_timezone("UTC"),
        r#"{"c":"2020-01-02T03:04:05.000Z"}"#,
    );
    json(
        micros().with_timezone("+02:00"),
        r#"{"c":"2020-01-02T05:04:05.000+02:00"}"#,
    );
    json(micros(), r#"{"c":"2020-01-02T03:04:05.000"}"#);
    json(
        TimestampNanosecondArray::from(vec![1_000_000_001]),
        r#"{"c":"1970-01-01T00:00:01.000000001"}"#,
    );
    json(
        TimestampMicrosecondArray::from(vec![-1]),
        r#"{"c":"1969-12-31T23:59:59.999999"}"#,
    );
    json(TimestampSecondArray::from(vec![i64::MAX]), r#"{"c":null}"#);
    json(DurationSecondArray::from(vec![5]), r#"{"c":"PT5S"}"#);
}

#[test]
fn lists_of_primitives_are_values_and_lists_of_documents_are_documents() {
    let list = ListArray::from_iter_primitive::<datafusion::arrow::datatypes::Int32Type, _, _>([
        Some(vec![Some(5), None, Some(2)]),
        None,
    ]);
    json(list, r#"{"c":[5,null,2]}"#);
    let number = Field::new("n", DataType::Int64, true);
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let rows = StructArray::from(vec![(Arc::new(number), rows)]);
    let element = Arc::new(Field::new_list_field(rows.data_type().clone(), true));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([2]);
    let list = ListArray::new(element, offsets, Arc::new(rows.clone()), None);
    check(list, r#"[{"n":1},{}]"#, Some("application/json"), "");
    check(rows.slice(0, 1), r#"{"n":1}"#, Some("application/json"), "");
}

#[test]
fn the_keys_of_a_map_are_texts() {
    let mut builder = MapBuilder::new(None, Int64Builder::new(), Int64Builder::new());
    builder.keys().append_value(7);
    builder.values().append_null();
    builder.append(true).expect("an entry");
    builder.append(false).expect("an entry");
    check(
        builder.finish(),
        r#"{"7":null}"#,
        Some("application/json"),
        "",
    );
}

#[test]
fn a_name_is_escaped() {
    let column = ReplyColumn::new("a\"b", &DataType::Boolean);
    let (mut out, mut head) = (Vec::new(), ReplyHead::default());
    let array = BooleanArray::from(vec![false]);
    column.write(&array, 0, &mut Reply::new(&mut out, &mut head));
    assert_eq!(out, br#"{"a\"b":false}"#);
}
