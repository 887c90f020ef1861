//! Schemas as Spark writes them: `'foo STRING, bar ARRAY<INT>'`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// How deep arrays, maps and structs may nest.
const MOST_NESTED: usize = 32;

const TYPES: &str = "BOOLEAN, TINYINT (BYTE), SMALLINT (SHORT), INT (INTEGER), BIGINT (LONG), \
    FLOAT (REAL), DOUBLE, DECIMAL(precision, scale), STRING, BINARY, DATE, TIMESTAMP, \
    TIMESTAMP_NTZ, ARRAY<type>, MAP<STRING, type>, STRUCT<name: type, …>";

/// The text is not a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema `{ddl}` at byte {at}: expected {expected}, found {found}")]
pub struct DdlError {
    /// The whole text.
    pub ddl: String,
    /// Where in it.
    pub at: usize,
    /// What would fit there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// Parses Spark's DDL of a schema into Arrow's schema.
///
/// Type names are taken in any case; names of columns are taken as they are, in backquotes if they
/// hold more than letters, digits and underscores. `NOT NULL` and `COMMENT 'text'` may follow a type.
///
/// | Spark | Arrow |
/// |---|---|
/// | `BOOLEAN` | `Boolean` |
/// | `TINYINT`, `BYTE`; `SMALLINT`, `SHORT`; `INT`, `INTEGER`; `BIGINT`, `LONG` | `Int8`; `Int16`; `Int32`; `Int64` |
/// | `FLOAT`, `REAL`; `DOUBLE` | `Float32`; `Float64` |
/// | `DECIMAL(p, s)`, `DEC`, `NUMERIC`; (10, 0) when not said | `Decimal128(p, s)` |
/// | `STRING`; `BINARY` | `Utf8`; `Binary` |
/// | `DATE` | `Date32` |
/// | `TIMESTAMP`, `TIMESTAMP_LTZ`; `TIMESTAMP_NTZ` | `Timestamp(Microsecond, "UTC")`; without a zone |
/// | `ARRAY<t>`, `MAP<STRING, t>`, `STRUCT<name: t, …>` | `List`, `Map`, `Struct` |
///
/// # Errors
///
/// [`DdlError`], which says where, what is expected there, and what was found.
///
/// ```
/// use snapback_sql::datafusion::arrow::datatypes::DataType;
/// use snapback_sql::ddl;
///
/// let schema = ddl::parse("foo STRING NOT NULL, bar array<int>")?;
/// assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
/// assert!(!schema.field(0).is_nullable());
/// assert_eq!(ddl::write(&schema), "foo STRING NOT NULL, bar ARRAY<INT>");
///
/// let error = ddl::parse("foo STRNG").unwrap_err();
/// assert!(error.to_string().contains("at byte 4: expected one of BOOLEAN"));
/// # Ok::<(), ddl::DdlError>(())
/// ```
pub fn parse(ddl: &str) -> Result<Schema, DdlError> {
    let mut parser = Parser { ddl, at: 0 };
    let mut fields = vec![parser.field(0)?];
    while parser.takes(",") {
        fields.push(parser.field(0)?);
    }
    match parser.rest() {
        "" => Ok(Schema::new(fields)),
        _ => Err(parser.expected("`,` or the end")),
    }
}

struct Parser<'d> {
    ddl: &'d str,
    at: usize,
}

impl<'d> Parser<'d> {
    /// `name type [NOT NULL] [COMMENT 'text']`, also `name: type`.
    fn field(&mut self, nested: usize) -> Result<Field, DdlError> {
        let name = self.name()?;
        self.takes(":");
        let data_type = self.data_type(nested)?;
        let not_null = self.takes_word("NOT");
        if not_null && !self.takes_word("NULL") {
            return Err(self.expected("NULL"));
        }
        if self.takes_word("COMMENT") {
            self.comment()?;
        }
        Ok(Field::new(name, data_type, !not_null))
    }

    fn data_type(&mut self, nested: usize) -> Result<DataType, DdlError> {
        if nested > MOST_NESTED {
            return Err(self.expected(&format!("types nested at most {MOST_NESTED} deep")));
        }
        self.skip_space();
        let start = self.at;
        let word = self.word().to_ascii_uppercase();
        Ok(match word.as_str() {
            "BOOLEAN" => DataType::Boolean,
            "TINYINT" | "BYTE" => DataType::Int8,
            "SMALLINT" | "SHORT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" | "LONG" => DataType::Int64,
            "FLOAT" | "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "STRING" => DataType::Utf8,
            "BINARY" => DataType::Binary,
            "DATE" => DataType::Date32,
            "TIMESTAMP" | "TIMESTAMP_LTZ" => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "ARRAY" => {
                let element = self.inside(|parser| parser.data_type(nested + 1))?;
                DataType::new_list(element, true)
            }
            "MAP" => self.map(nested)?,
            "STRUCT" => {
                let fields = self.inside(|parser| parser.struct_fields(nested))?;
                DataType::Struct(fields.into())
            }
            _ => {
                self.at = start;
                return Err(self.expected(&format!("one of {TYPES}")));
            }
        })
    }

    fn decimal(&mut self) -> Result<DataType, DdlError> {
        const MOST_DIGITS: u8 = 38;
        if !self.takes("(") {
            return Ok(DataType::Decimal128(10, 0));
        }
        let precision = self.number(1, MOST_DIGITS)?;
        let scale = match self.takes(",") {
            true => self.number(0, precision)?,
            false => 0,
        };
        self.needs(")")?;
        Ok(DataType::Decimal128(precision, scale.cast_signed()))
    }

    /// JSON's keys are text, so a map's are.
    fn map(&mut self, nested: usize) -> Result<DataType, DdlError> {
        let (key, value) = self.inside(|parser| {
            parser.skip_space();
            let start = parser.at;
            let key = parser.data_type(nested + 1)?;
            if key != DataType::Utf8 {
                parser.at = start;
                return Err(parser.expected("STRING, since the keys of a JSON object are text"));
            }
            parser.needs(",")?;
            Ok((key, parser.data_type(nested + 1)?))
        })?;
        let entries = Field::new_struct(
            "entries",
            vec![
                Field::new("keys", key, false),
                Field::new("values", value, true),
            ],
            false,
        );
        Ok(DataType::Map(Arc::new(entries), false))
    }

    fn struct_fields(&mut self, nested: usize) -> Result<Vec<Field>, DdlError> {
        let mut fields = vec![self.field(nested + 1)?];
        while self.takes(",") {
            fields.push(self.field(nested + 1)?);
        }
        Ok(fields)
    }

    /// `<`, what `inner` parses, `>`.
    fn inside<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, DdlError>,
    ) -> Result<T, DdlError> {
        self.needs("<")?;
        let parsed = inner(self)?;
        self.needs(">")?;
        Ok(parsed)
    }

    fn name(&mut self) -> Result<String, DdlError> {
        self.skip_space();
        if self.takes("`") {
            return self.until_closing('`');
        }
        match self.word() {
            "" => Err(self.expected("the name of a column")),
            word => Ok(word.to_owned()),
        }
    }

    fn comment(&mut self) -> Result<(), DdlError> {
        match ["'", "\""].into_iter().find(|quote| self.takes(quote)) {
            Some("'") => self.until_closing('\'').map(drop),
            Some(_) => self.until_closing('"').map(drop),
            None => Err(self.expected("a comment in quotes")),
        }
    }

    /// What stands before the closing quote; a doubled quote is one of the text.
    fn until_closing(&mut self, quote: char) -> Result<String, DdlError> {
        let mut text = String::new();
        loop {
            let Some(end) = self.ddl[self.at..].find(quote) else {
                self.at = self.ddl.len();
                return Err(self.expected(&format!("a closing {quote}")));
            };
            text.push_str(&self.ddl[self.at..self.at + end]);
            self.at += end + 1;
            if !self.ddl[self.at..].starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.at += 1;
        }
    }

    fn number(&mut self, least: u8, most: u8) -> Result<u8, DdlError> {
        self.skip_space();
        let start = self.at;
        let number = self.word().parse().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                self.at = start;
                self.expected(&format!("a number from {least} to {most}"))
            })
    }

    /// The longest run of letters, digits and underscores.
    fn word(&mut self) -> &'d str {
        let rest = &self.ddl[self.at..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let start = self.at;
        let found = self.word().eq_ignore_ascii_case(word);
        if !found {
            self.at = start;
        }
        found
    }

    fn takes(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len();
        }
        found
    }

    fn needs(&mut self, mark: &str) -> Result<(), DdlError> {
        match self.takes(mark) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{mark}`"))),
        }
    }

    fn rest(&mut self) -> &'d str {
        self.skip_space();
        &self.ddl[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = &self.ddl[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn expected(&mut self, expected: &str) -> DdlError {
        let found = match self.rest() {
            "" => "the end".to_owned(),
            rest => match rest.find(|c: char| !c.is_alphanumeric() && c != '_') {
                Some(0) => format!(
                    "`{}`",
                    &rest[..rest.chars().next().map_or(0, char::len_utf8)]
                ),
                Some(end) => format!("`{}`", &rest[..end]),
                None => format!("`{rest}`"),
            },
        };
        DdlError {
            ddl: self.ddl.to_owned(),
            at: self.at,
            expected: expected.to_owned(),
            found,
        }
    }
}

/// Writes a schema as Spark's DDL. A type that Spark does not have is written as Arrow names it.
pub fn write(schema: &Schema) -> String {
    let fields = schema.fields().iter().map(|field| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!(
            "{} {}{not_null}",
            quoted(field.name()),
            type_name(field.data_type())
        )
    });
    fields.collect::<Vec<_>>().join(", ")
}

/// Spark's name of an Arrow type, or Arrow's own where Spark has none.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP".to_owned(),
        DataType::List(element) => format!("ARRAY<{}>", type_name(element.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let types: Vec<_> = fields.iter().map(|f| type_name(f.data_type())).collect();
                format!("MAP<{}>", types.join(","))
            }
            other => other.to_string(),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
                let data_type = type_name(field.data_type());
                format!("{}: {data_type}{not_null}", quoted(field.name()))
            });
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn quoted(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    match plain {
        true => name.to_owned(),
        false => format!("`{}`", name.replace('`', "``")),
    }
}

#[cfg(test)]
mod tests;
