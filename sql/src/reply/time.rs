//! Timestamps as ISO 8601 texts.

use std::fmt::Display;

use chrono::{DateTime, Timelike, Utc};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

/// Appends `"2020-01-02T03:04:05.000Z"`: with three digits of the second as Spark writes them, or
/// six or nine where three would cut something off; in the zone of the column, if it has one.
pub(super) fn write_timestamp(
    out: &mut Vec<u8>,
    array: &dyn Array,
    row: usize,
    unit: TimeUnit,
    zone: Option<&str>,
) {
    let Some(time) = time_of(array, row, unit) else {
        // Beyond what a calendar can say.
        return out.extend_from_slice(b"null");
    };
    let fraction = match time.nanosecond() {
        nanos if nanos % 1_000_000 == 0 => "%.3f",
        nanos if nanos % 1_000 == 0 => "%.6f",
        _ => "%.9f",
    };
    let format = format!("%Y-%m-%dT%H:%M:%S{fraction}");
    match zone {
        None => quote(out, time.naive_utc().format(&format), ""),
        Some("UTC" | "Z" | "+00:00") => quote(out, time.format(&format), "Z"),
        Some(zone) => match zone.parse::<Tz>() {
            Ok(zone) => {
                let format = format!("{format}%:z");
                quote(out, time.with_timezone(&zone).format(&format), "");
            }
            Err(_) => quote(out, time.format(&format), "Z"),
        },
    }
}

fn time_of(array: &dyn Array, row: usize, unit: TimeUnit) -> Option<DateTime<Utc>> {
    match unit {
        TimeUnit::Second => {
            let seconds = array.as_primitive::<TimestampSecondType>().value(row);
            DateTime::from_timestamp(seconds, 0)
        }
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(
            array.as_primitive::<TimestampMillisecondType>().value(row),
        ),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(
            array.as_primitive::<TimestampMicrosecondType>().value(row),
        ),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(
            array.as_primitive::<TimestampNanosecondType>().value(row),
        )),
    }
}

fn quote(out: &mut Vec<u8>, time: impl Display, zone: &str) {
    use std::io::Write as _;

    // A vector takes any bytes: this cannot fail.
    let _ = write!(out, "\"{time}{zone}\"");
}
