//! What is said of columns.

use serde_json::Value;
use snapback::Pipeline;
use snapback_operators::{Body, Description};
use snapback_sql::datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use snapback_sql::prelude::*;
use snapback_sql::{Result, strings};

use crate::support::{requests, serve};

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON") + "\n"
}

/// Compares with a file of `golden/openapi`, or writes it where `UPDATE_EXPECT` is set.
fn check(name: &str, value: &Value) {
    let path = format!("{}/tests/openapi/{name}.json", env!("CARGO_MANIFEST_DIR"));
    expect_test::expect_file![path].assert_eq(&pretty(value));
}

#[test]
fn a_service_of_columns_describes_itself() -> Result<()> {
    let replies = requests("fares")
        .columns()
        .parse_request("zone STRING NOT NULL, km DOUBLE, passengers INT")?
        .parse_query("round INT, currency STRING NOT NULL, unread DATE NOT NULL")?
        .parse_headers("x_client STRING NOT NULL")?
        .sql(
            "SELECT named_struct('fare', km * 2, 'currency', currency, 'by', x_client, \
             'round', round) AS bill FROM requests WHERE passengers > 0",
        )?
        .make_reply(col("bill"))?;
    let service = serve(replies.write_stream());
    let mut client = service.client();
    client.send("GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
    check("fares", &document);
    Ok(())
}

/// What a pipeline takes and answers.
fn describe<O>(
    pipeline: Pipeline<snapback_operators::Detached, snapback_operators::Replied, O>,
) -> Description
where
    O: snapback_operators::Operator<snapback::Requests, Out = snapback_operators::Replied>,
{
    pipeline.into_chain().describe()
}

fn body(description: &Description) -> &Value {
    match &description.body {
        Some(Body::Taken { content, .. }) => &content.schema,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_type_of_a_body_has_its_schema() -> Result<()> {
    let ddl = "a BOOLEAN, b TINYINT, c SMALLINT NOT NULL, d INT, e BIGINT, f FLOAT, g DOUBLE, \
        h DECIMAL(5,2), i DECIMAL(3,0), j DECIMAL(2,2) NOT NULL, k STRING, l BINARY, m DATE, \
        n TIMESTAMP, o TIMESTAMP_NTZ, p ARRAY<INT>, q MAP<STRING, DOUBLE>, \
        r STRUCT<x: INT NOT NULL, y: ARRAY<STRUCT<z: STRING>>>";
    let full = Pipeline::detached()
        .columns()
        .parse_request(ddl)?
        .make_reply(col("k"))?;
    check("types", body(&describe(full)));
    let none = Pipeline::detached()
        .columns()
        .parse_request_with(
            "a INT NOT NULL, b STRUCT<c: INT NOT NULL>",
            ParsingCheck::None,
        )?
        .make_reply(col("a"))?;
    let described = describe(none);
    assert!(matches!(
        described.body,
        Some(Body::Taken {
            is_required: false,
            ..
        })
    ));
    check("unchecked", body(&described));
    let arrow = Schema::new(vec![
        Field::new("a", DataType::UInt64, false),
        Field::new("b", DataType::Float16, true),
        Field::new("c", DataType::Time64(TimeUnit::Microsecond), false),
        Field::new("d", DataType::Date64, false),
    ]);
    let arrow = Pipeline::detached()
        .columns()
        .parse_request(arrow)?
        .make_reply(col("a"))?;
    check("arrow", body(&describe(arrow)));
    Ok(())
}

#[test]
fn every_type_of_a_reply_has_its_schema() -> Result<()> {
    let mut table = String::new();
    for sql in [
        "SELECT k FROM requests",
        "SELECT b FROM requests",
        "SELECT n FROM requests",
        "SELECT n + 1.5 AS sum FROM requests",
        "SELECT coalesce(n, 0) AS n FROM requests",
        "SELECT [n, 1] AS list FROM requests",
        "SELECT [named_struct('n', n)] AS list FROM requests",
        "SELECT named_struct('n', n, 'one', 1) AS pair FROM requests",
        "SELECT CAST(n AS DECIMAL(7,2)) AS price FROM requests",
        "SELECT now() AS at FROM requests",
        "SELECT CAST(k AS DATE) AS day FROM requests",
        "SELECT NULL AS nothing FROM requests",
        "SELECT string_to_response(k, 404) AS r FROM requests",
    ] {
        for mode in [ReplyMode::First, ReplyMode::Array] {
            let pipeline = Pipeline::detached()
                .columns()
                .parse_request("n INT, k STRING, b BINARY")?
                .sql(sql)?
                .reply_mode(mode)
                .make_reply_of_all()?;
            let said = describe(pipeline);
            table += &format!("{sql} {mode:?}\n");
            for reply in &said.replies {
                table += &format!("    {} {}\n", reply.content_type, reply.schema);
            }
            if said.answers_freely {
                table += "    anything\n";
            }
            assert!(!said.may_be_unanswered, "{sql}");
        }
    }
    expect_test::expect![[r#"
        SELECT k FROM requests First
            text/plain; charset=utf-8 {"type":"string"}
        SELECT k FROM requests Array
            application/json {"items":{"type":["string","null"]},"type":"array"}
        SELECT b FROM requests First
            application/octet-stream {}
        SELECT b FROM requests Array
            application/json {"items":{"contentEncoding":"base64","type":["string","null"]},"type":"array"}
        SELECT n FROM requests First
            application/json {"properties":{"n":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"}},"type":"object"}
        SELECT n FROM requests Array
            application/json {"items":{"properties":{"n":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"}},"type":"object"},"type":"array"}
        SELECT n + 1.5 AS sum FROM requests First
            application/json {"properties":{"sum":{"anyOf":[{"format":"double","type":"number"},{"enum":["NaN","Infinity","-Infinity"],"type":"string"}]}},"type":"object"}
        SELECT n + 1.5 AS sum FROM requests Array
            application/json {"items":{"properties":{"sum":{"anyOf":[{"format":"double","type":"number"},{"enum":["NaN","Infinity","-Infinity"],"type":"string"}]}},"type":"object"},"type":"array"}
        SELECT coalesce(n, 0) AS n FROM requests First
            application/json {"properties":{"n":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"}},"required":["n"],"type":"object"}
        SELECT coalesce(n, 0) AS n FROM requests Array
            application/json {"items":{"properties":{"n":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"}},"required":["n"],"type":"object"},"type":"array"}
        SELECT [n, 1] AS list FROM requests First
            application/json {"properties":{"list":{"items":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":["integer","null"]},"type":"array"}},"type":"object"}
        SELECT [n, 1] AS list FROM requests Array
            application/json {"items":{"properties":{"list":{"items":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":["integer","null"]},"type":"array"}},"type":"object"},"type":"array"}
        SELECT [named_struct('n', n)] AS list FROM requests First
            application/json {"items":{"properties":{"n":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"}},"type":["object","null"]},"type":"array"}
        SELECT [named_struct('n', n)] AS list FROM requests Array
            application/json {"items":{"items":{"properties":{"n":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"}},"type":["object","null"]},"type":["array","null"]},"type":"array"}
        SELECT named_struct('n', n, 'one', 1) AS pair FROM requests First
            application/json {"properties":{"n":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"},"one":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"}},"type":"object"}
        SELECT named_struct('n', n, 'one', 1) AS pair FROM requests Array
            application/json {"items":{"properties":{"n":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"},"one":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"}},"type":["object","null"]},"type":"array"}
        SELECT CAST(n AS DECIMAL(7,2)) AS price FROM requests First
            application/json {"properties":{"price":{"description":"At most 2 digits behind the point.","exclusiveMaximum":100000.0,"exclusiveMinimum":-100000.0,"format":"decimal","type":"number"}},"type":"object"}
        SELECT CAST(n AS DECIMAL(7,2)) AS price FROM requests Array
            application/json {"items":{"properties":{"price":{"description":"At most 2 digits behind the point.","exclusiveMaximum":100000.0,"exclusiveMinimum":-100000.0,"format":"decimal","type":"number"}},"type":"object"},"type":"array"}
        SELECT now() AS at FROM requests First
            application/json {"properties":{"at":{"format":"date-time-local","type":"string"}},"required":["at"],"type":"object"}
        SELECT now() AS at FROM requests Array
            application/json {"items":{"properties":{"at":{"format":"date-time-local","type":"string"}},"required":["at"],"type":"object"},"type":"array"}
        SELECT CAST(k AS DATE) AS day FROM requests First
            application/json {"properties":{"day":{"format":"date","type":"string"}},"type":"object"}
        SELECT CAST(k AS DATE) AS day FROM requests Array
            application/json {"items":{"properties":{"day":{"format":"date","type":"string"}},"type":"object"},"type":"array"}
        SELECT NULL AS nothing FROM requests First
        SELECT NULL AS nothing FROM requests Array
            application/json {"items":{"type":"null"},"type":"array"}
        SELECT string_to_response(k, 404) AS r FROM requests First
            anything
        SELECT string_to_response(k, 404) AS r FROM requests Array
            application/json {"items":{"properties":{"entity":{"properties":{"content":{"contentEncoding":"base64","type":"string"},"contentEncoding":{"properties":{"name":{"type":"string"},"value":{"type":"string"}},"type":"object"},"contentLength":{"format":"int64","maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"},"contentType":{"properties":{"name":{"type":"string"},"value":{"type":"string"}},"type":"object"},"isChunked":{"type":"boolean"},"isRepeatable":{"type":"boolean"},"isStreaming":{"type":"boolean"}},"type":"object"},"headers":{"items":{"properties":{"name":{"type":"string"},"value":{"type":"string"}},"type":["object","null"]},"type":"array"},"locale":{"type":"string"},"statusLine":{"properties":{"protocolVersion":{"properties":{"major":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"},"minor":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"},"protocol":{"type":"string"}},"type":"object"},"reasonPhrase":{"type":"string"},"statusCode":{"format":"int32","maximum":2147483647,"minimum":-2147483648,"type":"integer"}},"type":"object"}},"type":["object","null"]},"type":"array"}
    "#]].assert_eq(&table);
    Ok(())
}

/// Whether a request may be left without a reply, and what is asked of its body.
#[test]
fn the_plan_tells_whether_rows_may_go() -> Result<()> {
    let check = |sql: &str, expected: bool| -> Result<()> {
        let tables = snapback_sql::context();
        let batch = snapback_sql::datafusion::arrow::array::RecordBatch::try_from_iter([(
            "zip",
            strings(["98052"]),
        )])
        .expect("a batch");
        tables.register_batch("cities", batch)?;
        let pipeline = Pipeline::detached()
            .columns_in(&tables)
            .parse_query("zip STRING")?
            .sql(sql)?
            .make_reply_of_all()?;
        let description = describe(pipeline);
        assert_eq!(description.may_be_unanswered, expected, "{sql}");
        assert_eq!(description.body, Some(Body::Unread), "{sql}");
        Ok(())
    };
    check("SELECT zip FROM requests", false)?;
    check("SELECT zip FROM (SELECT * FROM requests) AS r", false)?;
    check("SELECT zip FROM requests WHERE zip <> ''", true)?;
    check(
        "SELECT requests.zip FROM requests JOIN cities ON requests.zip = cities.zip",
        true,
    )?;
    let whole = Pipeline::detached()
        .columns()
        .make_reply(request_to_string(col("request")))?;
    assert_eq!(describe(whole).body, None);
    let text = Pipeline::detached()
        .columns()
        .parse_text()?
        .make_reply(col("text"))?;
    assert!(matches!(
        describe(text).body,
        Some(Body::Taken { content, is_required: false, .. }) if content.content_type == "text/plain"
    ));
    Ok(())
}

/// Each reply from the middle of the pipeline is one that may come.
#[test]
fn early_replies_are_described() -> Result<()> {
    let replies = |early: Expr| -> Result<Description> {
        let pipeline = Pipeline::detached()
            .columns()
            .parse_request("n INT, k STRING")?
            .send_reply(when(col("n").is_null(), early).end()?)?
            .make_reply(col("k"))?;
        Ok(describe(pipeline))
    };
    let text = replies(lit(7))?;
    let kinds: Vec<_> = text
        .replies
        .iter()
        .map(|reply| reply.content_type)
        .collect();
    assert_eq!(kinds, ["application/json", "text/plain; charset=utf-8"]);
    assert!(!text.answers_freely && !text.may_be_unanswered);
    assert!(replies(string_to_response(lit("no"), lit(400)))?.answers_freely);
    Ok(())
}

#[test]
fn arrays_of_rows_are_described() -> Result<()> {
    let described = |mode: Option<ReplyMode>| -> Result<Description> {
        let stream = Pipeline::detached()
            .columns()
            .parse_rows("n INT NOT NULL")?
            .filter(col("n").gt(lit(0)))?;
        let stream = match mode {
            Some(mode) => stream.reply_mode(mode),
            None => stream,
        };
        Ok(describe(stream.make_reply(col("n"))?))
    };
    let array = described(None)?;
    let row = serde_json::json!({
        "type": "object",
        "properties": {
            "n": { "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX },
        },
        "required": ["n"],
    });
    let expected = serde_json::json!({ "anyOf": [{ "type": "array", "items": row }, row] });
    assert_eq!(*body(&array), expected);
    assert_eq!(array.replies[0].schema["items"], row);
    assert!(!array.may_be_unanswered, "an empty array is one");
    let first = described(Some(ReplyMode::First))?;
    assert_eq!(first.replies[0].schema, row);
    assert!(first.may_be_unanswered);
    Ok(())
}
