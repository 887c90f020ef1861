//! The Arrow types beyond Spark's: what JSON each takes, and how it is answered.

use snapback::Pipeline;
use snapback_sql::datafusion::arrow::datatypes::TimeUnit::{
    Microsecond, Millisecond, Nanosecond, Second,
};
use snapback_sql::datafusion::arrow::datatypes::{DataType, Field, Schema};
use snapback_sql::prelude::*;
use snapback_sql::{Result, SqlError};

fn schema(data_type: &DataType) -> Schema {
    Schema::new(vec![Field::new("v", data_type.clone(), true)])
}

/// A type, what it takes with the reply to it, and what it refuses.
type Case = (
    DataType,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

#[test]
fn each_type_takes_its_values_and_no_others() -> Result<()> {
    let zone = |unit, zone: &str| DataType::Timestamp(unit, Some(zone.into()));
    let cases: Vec<Case> = vec![
        (
            DataType::Float16,
            &[("1.5", "1.5"), ("65504", "65504.0"), ("\"NaN\"", "\"NaN\"")],
            &["1e6", "\"1\""],
        ),
        (
            DataType::Decimal32(5, 2),
            &[("999.99", "999.99"), ("-1", "-1.00"), ("\"0.01\"", "0.01")],
            &["1000", "0.001"],
        ),
        (
            DataType::Decimal64(18, 0),
            &[("999999999999999999", "999999999999999999")],
            &["1000000000000000000"],
        ),
        (
            DataType::Decimal256(76, 10),
            &[
                (
                    "\"12345678901234567890.5\"",
                    "12345678901234567890.5000000000",
                ),
                ("-3", "-3.0000000000"),
            ],
            &["true"],
        ),
        (
            DataType::Date64,
            &[("\"2020-02-29\"", "\"2020-02-29T00:00:00\"")],
            &["\"2020-02-30\"", "0"],
        ),
        (
            DataType::Time32(Second),
            &[("\"23:59:59\"", "\"23:59:59\"")],
            &["\"24:00:01\"", "5"],
        ),
        (
            DataType::Time32(Millisecond),
            &[("\"23:59:59.999\"", "\"23:59:59.999\"")],
            &["\"noon\""],
        ),
        (
            DataType::Time64(Microsecond),
            &[("\"23:59:59.999999\"", "\"23:59:59.999999\"")],
            &["\"23\""],
        ),
        (
            DataType::Time64(Nanosecond),
            &[("\"00:00:00.000000001\"", "\"00:00:00.000000001\"")],
            &["\"25:00:00\""],
        ),
        (
            zone(Microsecond, "+02:00"),
            &[
                (
                    "\"2020-01-02T03:04:05\"",
                    "\"2020-01-02T03:04:05.000+02:00\"",
                ),
                (
                    "\"2020-01-02T03:04:05Z\"",
                    "\"2020-01-02T05:04:05.000+02:00\"",
                ),
            ],
            &["\"now\""],
        ),
        (
            zone(Second, "Europe/Berlin"),
            &[
                (
                    "\"2020-07-01T12:00:00\"",
                    "\"2020-07-01T12:00:00.000+02:00\"",
                ),
                (
                    "\"2020-01-01T12:00:00\"",
                    "\"2020-01-01T12:00:00.000+01:00\"",
                ),
                (
                    "\"2020-01-01T12:00:00-05:00\"",
                    "\"2020-01-01T18:00:00.000+01:00\"",
                ),
            ],
            // An hour that the clocks there leave out.
            &["\"2020-03-29T02:30:00\""],
        ),
        (
            DataType::Timestamp(Nanosecond, None),
            &[(
                "\"2020-01-02T03:04:05.000000001\"",
                "\"2020-01-02T03:04:05.000000001\"",
            )],
            &["\"2020-01-02T03:04:05Z\"", "\"2500-01-01T00:00:00\""],
        ),
    ];
    for (data_type, good, bad) in cases {
        let mut service = Pipeline::detached()
            .columns()
            .parse_request(schema(&data_type))?
            .make_reply(col("v"))?
            .test();
        for (value, expected) in good {
            let body = format!(r#"{{"v":{value}}}"#);
            service
                .post(body)
                .expect(200, format!(r#"{{"v":{expected}}}"#));
        }
        for value in bad {
            let reply = service.post(format!(r#"{{"v":{value}}}"#));
            assert_eq!(reply.status, 400, "{data_type}: {value}");
        }
        service.post(r#"{"v":null}"#).expect(200, "{}");
    }
    Ok(())
}

#[test]
fn a_type_without_a_form_in_json_is_refused_by_name() {
    for data_type in [
        DataType::Timestamp(Second, Some("Mars/Olympus".into())),
        DataType::Duration(Second),
        DataType::Decimal128(5, -2),
    ] {
        let error = Pipeline::detached()
            .columns()
            .parse_request(schema(&data_type))
            .err();
        let Some(SqlError::Type {
            column,
            data_type: named,
        }) = &error
        else {
            panic!("{data_type}: {error:?}");
        };
        assert_eq!((column.as_str(), named), ("v", &data_type.to_string()));
    }
}
