//! Requests as examples: a schema from a file of them, and one of them from a schema.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use snapback_sql::datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use snapback_sql::datafusion::arrow::json::reader::infer_json_schema_from_iterator;
use snapback_sql::ddl;

use crate::definition::{BodyKind, Definition, Table};
use crate::{serve, tables};

/// How many requests of a file are looked at.
const MOST_SAMPLES: usize = 10_000;

/// Why a schema cannot be inferred.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    /// The file cannot be read.
    #[error("cannot read the sample `{file}`: {error}")]
    File {
        /// The file.
        file: String,
        /// Why not.
        error: std::io::Error,
    },
    /// It is not what its name says.
    #[error("the sample `{file}` is not as expected: {reason}")]
    Content {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
}

/// The columns of requests in a file, as DDL; those of JSON by their names. All can be null: who leaves a field out in a sample may
/// do so in a request.
///
/// # Errors
///
/// When the file cannot be read as what its name says.
pub(crate) fn infer(path: &Path) -> Result<String, SampleError> {
    let file = path.display().to_string();
    let content = |reason: String| SampleError::Content {
        file: file.clone(),
        reason,
    };
    let ending = path.extension().and_then(|ending| ending.to_str());
    let schema = match ending {
        Some("json" | "ndjson" | "jsonl") | None => {
            let text = fs::read_to_string(path).map_err(|error| SampleError::File {
                file: file.clone(),
                error,
            })?;
            let samples = samples(&text).map_err(content)?;
            let seen = || samples.iter().take(MOST_SAMPLES);
            let inferred = infer_json_schema_from_iterator(seen().map(Ok));
            let schema = plain(&inferred.map_err(|error| content(error.to_string()))?);
            let odd = seen().find_map(|sample| misfit(sample, schema.fields(), ""));
            if let Some(reason) = odd {
                return Err(content(reason));
            }
            schema
        }
        Some(_) => of_table(path).map_err(content)?,
    };
    if schema.fields().is_empty() {
        return Err(content("it has no fields".to_owned()));
    }
    Ok(ddl::write(&plain(&schema)))
}

/// One object, an array of objects, or an object per line.
fn samples(text: &str) -> Result<Vec<Value>, String> {
    let values: Vec<Value> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is not JSON: {error}"))?;
    let values = match values.as_slice() {
        [Value::Array(elements)] => elements.clone(),
        _ => values,
    };
    match values.iter().find(|value| !value.is_object()) {
        Some(other) => Err(format!("{other} is not an object")),
        None if values.is_empty() => Err("it is empty".to_owned()),
        None => Ok(values),
    }
}

/// A field that a column of the inferred type would not take, because the samples do not agree on it.
fn misfit(sample: &Value, fields: &Fields, inside: &str) -> Option<String> {
    fields.iter().find_map(|field| {
        let value = sample.get(field.name())?;
        misfit_of(
            value,
            field.data_type(),
            &format!("{inside}{}", field.name()),
        )
    })
}

fn misfit_of(value: &Value, data_type: &DataType, path: &str) -> Option<String> {
    let fits = match (value, data_type) {
        (Value::Null, _) => true,
        (Value::Object(_), DataType::Struct(fields)) => {
            return misfit(value, fields, &format!("{path}."));
        }
        (Value::Array(elements), DataType::List(element)) => {
            let mut elements = elements.iter();
            return elements.find_map(|value| misfit_of(value, element.data_type(), path));
        }
        (Value::Bool(_), DataType::Boolean) | (Value::String(_), DataType::Utf8) => true,
        (Value::Number(number), DataType::Int64) => number.is_i64(),
        (Value::Number(_), DataType::Float64) => true,
        _ => false,
    };
    let name = ddl::type_name(data_type);
    (!fits).then(|| {
        format!(
            "`{path}` is {value} in one request, and {name} by the others: write the columns out, by \
             --schema, as a service could not take them all"
        )
    })
}

fn of_table(path: &Path) -> Result<Schema, String> {
    let table = Table {
        name: "sample".to_owned(),
        file: path.to_owned(),
        format: None,
        schema: None,
        header: true,
        reload: None,
    };
    let read = async {
        let context = tables::context([&table]).await;
        let context = context.map_err(|(_, error)| error.to_string())?;
        let frame = context.table("sample").await;
        let frame = frame.map_err(|error| error.to_string())?;
        Ok(frame.schema().as_arrow().clone())
    };
    serve::wait_for(read).map_err(|error| error.to_string())?
}

/// The same fields in types that DDL has words for.
fn plain(schema: &Schema) -> Schema {
    let fields: Fields = schema
        .fields()
        .iter()
        .map(|field| plain_field(field))
        .collect();
    Schema::new(fields)
}

fn plain_field(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Timestamp(_, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::List(element) => {
            DataType::new_list(plain_field(element).data_type().clone(), true)
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| plain_field(field)).collect())
        }
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

/// A request that a definition answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The method.
    pub(crate) method: String,
    /// Path and query, without the service's path.
    pub(crate) target: String,
    /// Header fields.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

/// A request that fits a definition.
pub(crate) fn request(definition: &Definition) -> Sample {
    let fields = |ddl: &Option<String>| {
        let schema = ddl.as_deref().and_then(|ddl| ddl::parse(ddl).ok());
        schema
            .map(|schema| schema.fields().clone())
            .unwrap_or_default()
    };
    let named = |ddl: &Option<String>| -> Vec<(String, String)> {
        let fields = fields(ddl);
        let named = fields
            .iter()
            .map(|field| (field.name().clone(), text_of(field.data_type())));
        named.collect()
    };
    let body = match (definition.body, &definition.schema) {
        (BodyKind::Json, Some(_)) => Some(object(&fields(&definition.schema)).to_string()),
        (BodyKind::Rows, Some(_)) => Some(json!([object(&fields(&definition.schema))]).to_string()),
        (BodyKind::Json | BodyKind::Rows, None) => None,
        _ => Some("hello".to_owned()),
    };
    let parameters: Vec<String> = named(&definition.parameters)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let headers = named(&definition.headers).into_iter();
    Sample {
        method: if body.is_some() { "POST" } else { "GET" }.to_owned(),
        target: match parameters.is_empty() {
            true => "/".to_owned(),
            false => format!("/?{}", parameters.join("&")),
        },
        headers: headers
            .map(|(name, value)| (name.replace('_', "-"), value))
            .collect(),
        body: body.unwrap_or_default(),
    }
}

impl Sample {
    /// The arguments of `curl` that send it to a service at a URL.
    pub(crate) fn curl(&self, url: &str) -> String {
        let mut words = Vec::new();
        for (name, value) in &self.headers {
            words.push(format!("-H {}", quoted(&format!("{name}: {value}"))));
        }
        if !self.body.is_empty() {
            words.push(format!("-d {}", quoted(&self.body)));
        }
        words.push(match self.target.split_once('?') {
            Some((_, query)) => quoted(&format!("{url}?{query}")),
            None => url.to_owned(),
        });
        words.join(" ")
    }
}

/// In single quotes, for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn object(fields: &Fields) -> Value {
    let fields = fields.iter();
    let values: Map<String, Value> = fields
        .map(|field| (field.name().clone(), value_of(field.data_type())))
        .collect();
    Value::Object(values)
}

/// A value that a column of this type takes.
fn value_of(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => json!(true),
        DataType::Float32 | DataType::Float64 => json!(1.5),
        DataType::Utf8 => json!("hello"),
        DataType::Binary => json!("aGVsbG8="),
        DataType::Date32 => json!("2020-01-31"),
        DataType::Timestamp(_, Some(_)) => json!("2020-01-31T12:00:00Z"),
        DataType::Timestamp(_, None) => json!("2020-01-31T12:00:00"),
        DataType::List(element) => json!([value_of(element.data_type())]),
        DataType::Struct(fields) => object(fields),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                json!({"key": value_of(fields[1].data_type())})
            }
            _ => json!({}),
        },
        _ => json!(1),
    }
}

/// The same as a text, for a URL or a header.
fn text_of(data_type: &DataType) -> String {
    match value_of(data_type) {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_fits_its_schema() {
        let definition = Definition {
            schema: Some("foo STRING, bar INT, l ARRAY<STRUCT<d: DATE>>".to_owned()),
            parameters: Some("zip STRING, n INT".to_owned()),
            headers: Some("x_user STRING".to_owned()),
            ..Definition::default()
        };
        assert_eq!(
            request(&definition).curl("http://localhost:80/api"),
            r#"-H 'x-user: hello' -d '{"bar":1,"foo":"hello","l":[{"d":"2020-01-31"}]}' 'http://localhost:80/api?zip=hello&n=1'"#
        );
        let definition = Definition::default();
        assert_eq!(request(&definition).curl("http://h/a"), "http://h/a");
    }

    #[test]
    fn schemas_are_inferred_from_json() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, expected) in [
            (
                r#"{"foo":"a","bar":1,"deep":{"x":[1.5]}}"#,
                Ok("bar BIGINT, deep STRUCT<x: ARRAY<DOUBLE>>, foo STRING"),
            ),
            (
                "{\"a\":1}\n{\"a\":2.5,\"b\":true}\n",
                Ok("a DOUBLE, b BOOLEAN"),
            ),
            (r#"[{"a":null},{"a":"x"}]"#, Ok("a STRING")),
            (r#"[{"a":"x"},{"a":{"b":1}}]"#, Err("the sample")),
            (
                r#"[{"d":{"a":"x"}},{"d":{"a":1}}]"#,
                Err("`d.a` is 1 in one request, and STRING by the others"),
            ),
            (r#"[{"a":1},{"a":18446744073709551615}]"#, Ok("a DOUBLE")),
            ("", Err("it is empty")),
            ("{", Err("it is not JSON")),
            ("[1]", Err("1 is not an object")),
            ("{}", Err("it has no fields")),
        ] {
            let file = folder.path().join("sample.json");
            fs::write(&file, text).expect("a file");
            match (infer(&file), expected) {
                (Ok(ddl), Ok(expected)) => assert_eq!(ddl, expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (inferred, _) => panic!("{text}: {inferred:?}"),
            }
        }
    }
}
