//! The table of types, and what is refused.

use super::*;

fn check(ddl: &str, expected: &str) {
    let shown = match parse(ddl) {
        Ok(schema) => {
            let again = parse(&write(&schema)).expect("what was written is parsed again");
            assert_eq!(again, schema, "{ddl}");
            write(&schema)
        }
        Err(error) => format!("at {}: {}", error.at, error.found),
    };
    assert_eq!(shown, expected, "{ddl}");
}

#[test]
fn every_type_has_its_names() {
    for (names, expected) in [
        ("BOOLEAN", DataType::Boolean),
        ("TINYINT BYTE", DataType::Int8),
        ("SMALLINT SHORT", DataType::Int16),
        ("INT INTEGER", DataType::Int32),
        ("BIGINT LONG", DataType::Int64),
        ("FLOAT REAL", DataType::Float32),
        ("DOUBLE", DataType::Float64),
        ("DECIMAL DEC NUMERIC", DataType::Decimal128(10, 0)),
        ("DECIMAL(7) dec(7,0)", DataType::Decimal128(7, 0)),
        ("DECIMAL(38,38)", DataType::Decimal128(38, 38)),
        ("STRING", DataType::Utf8),
        ("BINARY", DataType::Binary),
        ("DATE", DataType::Date32),
        (
            "TIMESTAMP TIMESTAMP_LTZ",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        (
            "TIMESTAMP_NTZ",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        ("ARRAY<INT>", DataType::new_list(DataType::Int32, true)),
    ] {
        for name in names.split(' ') {
            for name in [name.to_owned(), name.to_lowercase()] {
                let schema = parse(&format!("c {name}")).expect(&name);
                assert_eq!(schema.field(0).data_type(), &expected, "{name}");
                assert!(schema.field(0).is_nullable());
            }
        }
    }
}

#[test]
fn schemas_are_read_and_written() {
    check("foo STRING, bar INT", "foo STRING, bar INT");
    check(" foo:string ,bar : int ", "foo STRING, bar INT");
    check("a INT NOT NULL", "a INT NOT NULL");
    check(
        "a int not null comment 'it''s one', b int",
        "a INT NOT NULL, b INT",
    );
    check("a INT COMMENT \"x\"", "a INT");
    check(
        "`two words` INT, `tick``s` INT",
        "`two words` INT, `tick``s` INT",
    );
    check("größe INT", "größe INT");
    check(
        "m map < string , array<double> >",
        "m MAP<STRING,ARRAY<DOUBLE>>",
    );
    check(
        "s STRUCT<a: INT NOT NULL COMMENT 'x', `b c` STRING>",
        "s STRUCT<a: INT NOT NULL, `b c`: STRING>",
    );
    check(
        "s STRUCT<a: STRUCT<b: STRUCT<c: DECIMAL(3,1)>>>",
        "s STRUCT<a: STRUCT<b: STRUCT<c: DECIMAL(3,1)>>>",
    );
}

#[test]
fn what_is_no_schema_is_refused_where_it_stops_being_one() {
    check("", "at 0: the end");
    check("foo", "at 3: the end");
    check("foo STRNG", "at 4: `STRNG`");
    check("foo STRING bar INT", "at 11: `bar`");
    check("foo STRING,", "at 11: the end");
    check("foo DECIMAL(39)", "at 12: `39`");
    check("foo DECIMAL(0)", "at 12: `0`");
    check("foo DECIMAL(5,6)", "at 14: `6`");
    check("foo DECIMAL(5", "at 13: the end");
    check("foo ARRAY", "at 9: the end");
    check("foo ARRAY<INT", "at 13: the end");
    check("foo MAP<INT, INT>", "at 8: `INT`");
    check("foo STRUCT<>", "at 11: `>`");
    check("foo INT NOT", "at 11: the end");
    check("`foo INT", "at 8: the end");
    check("foo INT COMMENT x", "at 16: `x`");
    check("foo INT; DROP", "at 7: `;`");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("a {}INT{}", "ARRAY<".repeat(depth), ">".repeat(depth));
    assert!(parse(&nested(MOST_NESTED)).is_ok());
    let error = parse(&nested(MOST_NESTED + 1)).expect_err("too deep");
    assert!(
        error.to_string().contains("nested at most 32 deep"),
        "{error}"
    );
    assert!(parse(&nested(100_000)).is_err());
}
