//! Plans that the continuous mode does not run, and mistakes: refused when the pipeline is built.

use snapback::Pipeline;
use snapback_sql::prelude::*;
use snapback_sql::{NotRowWise, SqlError, context};

fn build(query: &str) -> Result<(), SqlError> {
    let tables = context();
    let table = DataFrame::from_columns(vec![("k", snapback_sql::strings(["a", "b"]))])?;
    tables.register_table("t", table.into_view())?;
    let column = Pipeline::detached()
        .columns_in(&tables)
        .parse_request("a STRING, n INT, l ARRAY<INT>")?
        .sql(query)?
        .make_reply(col("r"))?;
    drop(column.into_chain());
    Ok(())
}

#[track_caller]
fn refused(query: &str, operator: &str, way_out: &str) {
    let error = build(query).expect_err(query);
    let SqlError::NotRowWise(NotRowWise {
        operator: named,
        way_out: shown,
        ..
    }) = &error
    else {
        panic!("{query}: {error}");
    };
    assert!(named.contains(operator), "{query}: {error}");
    assert!(shown.contains(way_out), "{query}: {error}");
    assert!(
        error.to_string().starts_with("continuous mode cannot run"),
        "{error}"
    );
}

#[test]
fn what_is_not_row_wise_is_refused_by_name() {
    let server = "server mode will run it";
    refused("SELECT count(*) AS r FROM requests", "count", server);
    refused("SELECT a AS r FROM requests GROUP BY a", "GROUP BY", server);
    refused("SELECT sum(n) AS r FROM requests GROUP BY a", "sum", server);
    refused("SELECT DISTINCT a AS r FROM requests", "DISTINCT", server);
    refused("SELECT a AS r FROM requests ORDER BY n", "ORDER BY", server);
    refused(
        "SELECT row_number() OVER (ORDER BY n) AS r FROM requests",
        "row_number",
        server,
    );
    refused("SELECT unnest(l) AS r FROM requests", "unnest", server);
    refused(
        "SELECT x.a AS r FROM requests x JOIN requests y ON x.n = y.n",
        "a join of requests with requests",
        server,
    );
    refused("SELECT a AS r FROM requests LIMIT 5", "LIMIT", "filter");
    refused(
        "SELECT a AS r FROM requests UNION ALL SELECT a AS r FROM requests",
        "UNION",
        "CASE WHEN",
    );
    refused(
        "SELECT a AS r FROM requests CROSS JOIN t",
        "a join without an equality",
        "join ON",
    );
    refused(
        "SELECT a AS r FROM requests FULL JOIN t ON a = k",
        "Full join",
        "inner join",
    );
    refused(
        "SELECT k AS r FROM requests RIGHT JOIN t ON a = k",
        "Right join with the requests on its left",
        "inner join",
    );
    refused(
        "SELECT (SELECT max(k) FROM t) AS r FROM requests",
        "subquery",
        "compute it into a table beforehand",
    );
}

#[test]
fn a_plan_that_reads_no_requests_is_refused() {
    for query in ["SELECT k AS r FROM t", "SELECT 1 AS r"] {
        let error = build(query).expect_err(query);
        assert!(matches!(error, SqlError::NotFromRequests), "{error}");
    }
}

#[test]
fn a_stream_is_asked_not_changed() {
    for query in [
        "CREATE TABLE x AS SELECT 1 AS r",
        "DROP TABLE t",
        "INSERT INTO t VALUES ('c')",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let error = build(query).expect_err(query);
        assert!(matches!(error, SqlError::Plan(..)), "{query}: {error}");
    }
}

#[test]
fn mistakes_name_the_thing() {
    for (query, part) in [
        ("SELECT b AS r FROM requests", "b"),
        ("SELECT a FROM requests", "r"),
        ("SELECT a + 1 FROM", "Expected"),
        ("SELECT nosuch(a) AS r FROM requests", "nosuch"),
        ("SELECT a AS r FROM nosuch", "nosuch"),
        ("SELECT a * DATE '2020-01-01' AS r FROM requests", "Date"),
    ] {
        let error = build(query).expect_err(query).to_string();
        assert!(error.contains(part), "{query}: {error}");
    }
}

#[test]
fn schemas_that_cannot_be_parsed_into_are_refused() {
    use snapback_sql::datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema};

    let parse = |schema: Schema| {
        let stream = Pipeline::detached().columns().parse_request(schema);
        stream.map(drop).expect_err("a refusal").to_string()
    };
    let interval = DataType::Interval(IntervalUnit::DayTime);
    let nested = DataType::new_list(interval, true);
    let error = parse(Schema::new(vec![Field::new("l", nested, true)]));
    assert!(
        error.contains("column `l[]`") && error.contains("Interval"),
        "{error}"
    );
    let text = || Field::new("a", DataType::Utf8, true);
    let error = parse(Schema::new(vec![text(), text()]));
    assert!(error.contains("`a` twice"), "{error}");
    let error = parse(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    assert!(error.contains("`id`"), "{error}");
    let ddl = Pipeline::detached().columns().parse_request("foo STRNG");
    let error = ddl.map(drop).expect_err("a refusal").to_string();
    assert!(
        error.contains("at byte 4") && error.contains("`STRNG`"),
        "{error}"
    );
}

#[test]
fn parse_request_comes_first() {
    let stream = Pipeline::detached()
        .columns()
        .with_column("x", lit(1))
        .and_then(|stream| stream.parse_request("a INT"));
    let error = stream.map(drop).expect_err("a refusal").to_string();
    assert!(error.contains("parse_request comes first"), "{error}");
}

#[test]
fn a_table_of_the_streams_name_is_refused_and_stays() {
    let tables = context();
    let table = DataFrame::from_columns(vec![("k", snapback_sql::strings(["a"]))]);
    let table = table.expect("a table").into_view();
    tables
        .register_table("requests", table)
        .expect("a free name");
    let stream = Pipeline::detached()
        .columns_in(&tables)
        .parse_request("a INT")
        .and_then(|stream| stream.sql("SELECT a FROM requests"));
    assert!(matches!(stream.map(drop), Err(SqlError::NameTaken)));
    assert_eq!(tables.table_exist("requests").ok(), Some(true));
}
