//! Dates and times, from ISO 8601 texts.

use chrono::Utc;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit,
};
use simd_json::Node;

fn text<'n>(node: &Node<'n>) -> Option<&'n str> {
    match node {
        Node::String(text) => Some(text),
        _ => None,
    }
}

/// Days since 1970-01-01, of `2020-01-31`; a time of day behind it does not fit.
pub(super) fn date(node: &Node<'_>, _: &DataType) -> Option<i32> {
    let text = text(node)?;
    let signed = text.starts_with(['+', '-']);
    let day = signed || (text.len() <= 10 && text.contains('-'));
    day.then(|| Date32Type::parse(text)).flatten()
}

/// Milliseconds since 1970-01-01 00:00, of a day.
pub(super) fn date_in_ms(node: &Node<'_>, data_type: &DataType) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    date(node, data_type).map(|days| i64::from(days) * DAY_MS)
}

/// Seconds since midnight, of `23:59:59`.
pub(super) fn second_of_day(node: &Node<'_>, _: &DataType) -> Option<i32> {
    of_day::<Time32SecondType>(node)
}

/// Milliseconds since midnight, of `23:59:59.999`.
pub(super) fn ms_of_day(node: &Node<'_>, _: &DataType) -> Option<i32> {
    of_day::<Time32MillisecondType>(node)
}

/// Microseconds since midnight, of `23:59:59.999999`.
pub(super) fn us_of_day(node: &Node<'_>, _: &DataType) -> Option<i64> {
    of_day::<Time64MicrosecondType>(node)
}

/// Nanoseconds since midnight, of `23:59:59.999999999`.
pub(super) fn ns_of_day(node: &Node<'_>, _: &DataType) -> Option<i64> {
    of_day::<Time64NanosecondType>(node)
}

fn of_day<T: Parser>(node: &Node<'_>) -> Option<T::Native> {
    let text = text(node)?;
    text.contains(':').then(|| T::parse(text)).flatten()
}

/// Units since 1970-01-01 00:00 UTC, of `2020-01-31T23:59:59.999Z`. Digits below the unit of the
/// column are cut off, as Spark does.
///
/// A column with a zone takes a text without one as the time there; one without a zone takes no text
/// with a zone, since what is meant by it then is not known.
pub(super) fn timestamp(node: &Node<'_>, data_type: &DataType) -> Option<i64> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return None;
    };
    let text = text(node)?;
    let time = match zone.as_deref() {
        None if has_zone(text) => return None,
        None | Some("UTC" | "+00:00") => string_to_datetime(&Utc, text).ok()?,
        Some(zone) => {
            let zone: Tz = zone.parse().ok()?;
            string_to_datetime(&zone, text).ok()?.to_utc()
        }
    };
    match unit {
        TimeUnit::Second => Some(time.timestamp()),
        TimeUnit::Millisecond => Some(time.timestamp_millis()),
        TimeUnit::Microsecond => Some(time.timestamp_micros()),
        TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
    }
}

/// Whether something but digits, `:` and `.` follows the date and its separator.
fn has_zone(text: &str) -> bool {
    let time = text.bytes().skip("2020-01-31T".len());
    time.into_iter()
        .any(|byte| !byte.is_ascii_digit() && byte != b':' && byte != b'.')
}
