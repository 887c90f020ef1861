//! The builder's methods, functions of the user's, and the clock.

use std::sync::Arc;

use snapback::Pipeline;
use snapback::test::TestService;
use snapback_sql::datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
use snapback_sql::datafusion::arrow::datatypes::{DataType, Int64Type};
use snapback_sql::datafusion::error::{DataFusionError, Result as PlanResult};
use snapback_sql::datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use snapback_sql::prelude::*;
use snapback_sql::{Result, context, strings};

fn zip_codes() -> DataFrame {
    DataFrame::from_columns(vec![
        ("code", strings(["98052", "10001", "10001"])),
        ("city", strings(["Redmond", "New York", "Manhattan"])),
    ])
    .expect("a table")
}

#[test]
fn columns_are_selected_added_replaced_filtered_and_dropped() -> Result<()> {
    let mut service = Pipeline::detached()
        .columns()
        .parse_request("Foo STRING, bar INT")?
        .with_column("size", character_length(col("Foo")))?
        .with_column("bar", col("bar") * lit(2))?
        .filter(col("bar").gt(lit(2)))?
        .drop(&["Foo", "id", "nosuch"])?
        .select([named_struct(vec![lit("size"), col("size"), lit("bar"), col("bar")]).alias("r")])?
        .make_reply(col("r"))?
        .test();
    service
        .post(r#"{"Foo":"abc","bar":2}"#)
        .expect(200, r#"{"size":3,"bar":4}"#);
    service.post(r#"{"Foo":"abc","bar":1}"#).expect(204, "");
    Ok(())
}

#[test]
fn a_dropped_column_is_gone() {
    let stream = Pipeline::detached()
        .columns()
        .parse_request("a INT, b INT")
        .and_then(|stream| stream.drop(&["a"]))
        .and_then(|stream| stream.make_reply(col("a")));
    let error = stream.map(drop).expect_err("a refusal").to_string();
    assert!(error.contains("No field named requests.a"), "{error}");
}

#[test]
fn steps_of_both_languages_compose() -> Result<()> {
    let mut service = Pipeline::detached()
        .columns()
        .parse_request("a INT")?
        .with_column("b", col("a") + lit(1))?
        .sql("SELECT a, b, a * b AS c FROM requests WHERE a > 0")?
        .with_column("d", col("c") + col("b"))?
        .sql("SELECT d + a AS e FROM requests")?
        .make_reply(col("e"))?
        .test();
    service.post(r#"{"a":3}"#).expect(200, r#"{"e":19}"#);
    service.post(r#"{"a":0}"#).expect(204, "");
    Ok(())
}

#[test]
fn a_join_keeps_all_requests_or_those_that_match_and_the_first_row_answers() -> Result<()> {
    let service = |join_type| -> Result<TestService> {
        Ok(Pipeline::detached()
            .columns()
            .parse_request("zip STRING")?
            .join(zip_codes(), join_type, &[("zip", "code")])?
            .make_reply(col("city"))?
            .test())
    };
    let mut inner = service(JoinType::Inner)?;
    inner.post(r#"{"zip":"98052"}"#).expect(200, "Redmond");
    inner.post(r#"{"zip":"10001"}"#).expect(200, "New York");
    inner.post(r#"{"zip":"0"}"#).expect(204, "");
    let mut left = service(JoinType::Left)?;
    left.post(r#"{"zip":"10001"}"#).expect(200, "New York");
    left.post(r#"{"zip":"0"}"#).expect(200, "");
    Ok(())
}

#[test]
fn a_table_comes_from_a_csv_file() -> Result<()> {
    let file = tempfile::Builder::new().suffix(".csv").tempfile()?;
    std::fs::write(file.path(), "zip,city\n98052,Redmond\n10001,New York\n")?;
    let tables = context();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let path = file.path().display().to_string();
    runtime.block_on(tables.register_csv("cities", path.as_str(), CsvReadOptions::new()))?;
    let mut service = Pipeline::detached()
        .columns_in(&tables)
        .parse_request("zip BIGINT")?
        .sql("SELECT city FROM requests JOIN cities ON requests.zip = cities.zip")?
        .make_reply(col("city"))?
        .test();
    service.post(r#"{"zip":10001}"#).expect(200, "New York");
    Ok(())
}

#[test]
fn the_id_is_a_column() -> Result<()> {
    let mut service = Pipeline::detached()
        .columns()
        .sql("SELECT id['requestId'] AS r, id['partitionId'] AS p FROM requests")?
        .make_reply(concat(vec![col("r"), lit("/"), col("p")]))?
        .test();
    service.get("/").expect(200, "test-0-0/0");
    service.get("/").expect(200, "test-0-1/0");
    Ok(())
}

/// The square root of a whole number; a negative one is an error, and 13 a panic.
fn whole_root() -> ScalarUDF {
    let root = |arguments: &[ColumnarValue]| -> PlanResult<ColumnarValue> {
        let numbers = ColumnarValue::values_to_arrays(arguments)?;
        let numbers = numbers[0].as_primitive::<Int64Type>();
        let roots = numbers.iter().map(|number| match number {
            Some(number) if number < 0 => Err(DataFusionError::Execution(format!(
                "the secret is {number}"
            ))),
            Some(13) => panic!("unlucky"),
            number => Ok(number.map(i64::isqrt)),
        });
        let roots: Int64Array = roots.collect::<PlanResult<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(roots) as ArrayRef))
    };
    create_udf(
        "whole_root",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(root),
    )
}

#[test]
fn a_function_in_rust_is_called_from_both_languages() -> Result<()> {
    let functions = context();
    functions.register_udf(whole_root());
    let mut service = Pipeline::detached()
        .columns_in(&functions)
        .parse_request("n BIGINT")?
        .with_column("once", whole_root().call(vec![col("n")]))?
        .sql("SELECT whole_root(once) AS twice FROM requests")?
        .make_reply(col("twice"))?
        .test();
    service.post(r#"{"n":81}"#).expect(200, r#"{"twice":3}"#);
    service.post(r#"{"n":null}"#).expect(200, "{}");
    Ok(())
}

#[test]
fn a_function_that_fails_costs_its_request_and_tells_nothing() -> Result<()> {
    let mut service = Pipeline::detached()
        .columns()
        .parse_request("n BIGINT")?
        .make_reply(whole_root().call(vec![col("n")]).alias("r"))?
        .test();
    let error = service.post(r#"{"n":-5}"#);
    assert_eq!(error.status, 500);
    assert!(!error.text().contains("secret"), "{}", error.text());
    assert_eq!(service.post(r#"{"n":13}"#).status, 500);
    service.post(r#"{"n":9}"#).expect(200, r#"{"r":3}"#);
    Ok(())
}

#[test]
fn the_clock_tells_the_time_of_the_batch() -> Result<()> {
    use std::time::{SystemTime, UNIX_EPOCH};

    let now_ms = || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        since_1970.expect("a clock after 1970").as_millis()
    };
    let query = "SELECT CAST(date_part('epoch', now()) * 1000 AS BIGINT) AS ms,
        now() = now() AND now() >= CAST(current_date() AS TIMESTAMP) AS agrees FROM requests";
    let mut service = Pipeline::detached()
        .columns()
        .sql(query)?
        .make_reply(named_struct(vec![
            lit("ms"),
            col("ms"),
            lit("agrees"),
            col("agrees"),
        ]))?
        .test();
    let mut times = Vec::new();
    while times.len() < 3 {
        let before = now_ms();
        let reply: serde_json::Value =
            serde_json::from_slice(&service.get("/").body).expect("JSON");
        let after = now_ms();
        assert_eq!(reply["agrees"], true);
        let ms = u128::from(reply["ms"].as_u64().expect("a number"));
        assert!((before..=after + 1).contains(&(ms + 1)) || (before..=after).contains(&ms));
        if times.last() != Some(&ms) {
            times.push(ms);
        }
    }
    Ok(())
}

#[test]
fn the_kind_of_reply_follows_the_column() -> Result<()> {
    let mut service = Pipeline::detached()
        .columns()
        .parse_request("a STRING")?
        .make_reply(octet_length(col("a")).alias("bytes"))?
        .test();
    let reply = service.post(r#"{"a":"é"}"#);
    reply.expect(200, r#"{"bytes":2}"#);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    Ok(())
}

#[test]
fn the_check_is_named_in_any_case() {
    assert_eq!("NONE".parse(), Ok(ParsingCheck::None));
    assert_eq!("Full".parse(), Ok(ParsingCheck::Full));
    let error = "strict".parse::<ParsingCheck>().expect_err("no check");
    assert_eq!(
        error.to_string(),
        "parsingCheck cannot be `strict`: it must be none, partial or full"
    );
}
