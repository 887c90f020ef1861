//! What a service takes and answers, as a page for people: its OpenAPI document, read aloud.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::page::{Escaped, STYLE};

/// The page of a service's OpenAPI document.
pub(super) fn reference(query: &str, open_api: &str) -> String {
    let document: Value = serde_json::from_str(open_api).unwrap_or_default();
    let title = text(&document["info"]["title"]);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>{STYLE}\
         </head><body><p><a href=\"/\">All queries</a></p><h1>{0}</h1><p>{1}</p>\n\
         <p>Version {2}; <a href=\"/api/v1/queries/{3}/openapi.json\">the same as JSON</a>.</p>\n",
        Escaped(title),
        Escaped(text(&document["info"]["description"])),
        Escaped(text(&document["info"]["version"])),
        Escaped(query),
    );
    for (path, operations) in entries(&document["paths"]) {
        for (method, operation) in entries(operations) {
            let method = method.to_uppercase();
            let _ = writeln!(page, "<h2>{} {}</h2>", Escaped(&method), Escaped(path));
            parameters(&mut page, operation);
            for (content_type, content) in entries(&operation["requestBody"]["content"]) {
                let _ = writeln!(page, "<h3>Body: {}</h3>", Escaped(content_type));
                schema(&mut page, &document, &content["schema"]);
            }
            replies(&mut page, &document, operation);
        }
    }
    page + "</body></html>\n"
}

fn parameters(page: &mut String, operation: &Value) {
    let parameters = operation["parameters"].as_array();
    let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) else {
        return;
    };
    page.push_str("<h3>Parameters</h3><table><tr><th>Name<th>In<th>Type<th></tr>\n");
    for parameter in parameters {
        let required = match parameter["required"].as_bool() {
            Some(true) => "required",
            _ => "",
        };
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{required}</tr>",
            Escaped(text(&parameter["name"])),
            Escaped(text(&parameter["in"])),
            Escaped(&type_of(&parameter["schema"])),
        );
    }
    page.push_str("</table>\n");
}

/// The fields of an object, or what else it is.
fn schema(page: &mut String, document: &Value, schema: &Value) {
    let schema = resolved(document, schema);
    let fields = schema["properties"].as_object();
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
        let _ = writeln!(page, "<p>{}</p>", Escaped(&type_of(schema)));
        return;
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    page.push_str("<table><tr><th>Field<th>Type<th></tr>\n");
    for (name, field) in fields {
        let is_required = required.contains(&name.as_str());
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}</tr>",
            Escaped(name),
            Escaped(&type_of(resolved(document, field))),
            if is_required { "required" } else { "" },
        );
    }
    page.push_str("</table>\n");
}

fn replies(page: &mut String, document: &Value, operation: &Value) {
    page.push_str("<h3>Replies</h3><table><tr><th>Status<th>When<th>Body</tr>\n");
    for (status, reply) in entries(&operation["responses"]) {
        let reply = resolved(document, reply);
        let bodies = entries(&reply["content"]).map(|(content_type, content)| {
            let what = type_of(resolved(document, &content["schema"]));
            format!("{content_type}: {what}")
        });
        let bodies: Vec<String> = bodies.collect();
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}</tr>",
            Escaped(status),
            Escaped(text(&reply["description"])),
            Escaped(&bodies.join("; ")),
        );
    }
    page.push_str("</table>\n");
}

/// What a reference within the document names; anything else is itself.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let name = value["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    name.and_then(|name| document.pointer(name))
        .unwrap_or(value)
}

/// A type in a few words.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema[several].as_array() {
            let types: Vec<String> = schemas.iter().map(type_of).collect();
            return types.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        return values.join(" or ");
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "anything".to_owned(),
    };
    let named = names.iter().map(|name| match *name {
        "array" => format!("array of {}", type_of(&schema["items"])),
        "object" => object(schema),
        name => match schema["format"].as_str() {
            Some(format) if name != "null" => format!("{name} ({format})"),
            _ => name.to_owned(),
        },
    });
    named.collect::<Vec<_>>().join(" or ")
}

fn object(schema: &Value) -> String {
    let fields: Vec<String> = entries(&schema["properties"])
        .map(|(name, field)| format!("{name}: {}", type_of(field)))
        .collect();
    match fields.is_empty() {
        true => "object".to_owned(),
        false => format!("{{{}}}", fields.join(", ")),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_told_in_a_few_words() {
        for (schema, expected) in [
            (json!({"type": "string"}), "string"),
            (
                json!({"type": ["integer", "null"], "format": "int32"}),
                "integer (int32) or null",
            ),
            (
                json!({"type": "array", "items": {"type": "number"}}),
                "array of number",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "boolean"}}}),
                "{a: boolean}",
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "object"}]}),
                "string or object",
            ),
            (json!({"enum": ["red", 1]}), "\"red\" or 1"),
            (json!({"$ref": "#/components/schemas/Problem"}), "Problem"),
            (json!({}), "anything"),
        ] {
            assert_eq!(type_of(&schema), expected);
        }
    }

    #[test]
    fn a_document_becomes_a_page_without_markup_of_its_own() {
        let document = json!({
            "info": {"title": "<b>api</b>", "version": "1", "description": "what it does"},
            "paths": {"/api": {"post": {
                "parameters": [
                    {"name": "q", "in": "query", "required": true, "schema": {"type": "string"}},
                ],
                "requestBody": {"content": {"application/json": {"schema": {
                    "type": "object",
                    "properties": {"foo": {"type": "string"}, "<i>": {}},
                    "required": ["foo"],
                }}}},
                "responses": {"400": {"$ref": "#/components/responses/BadRequest"}},
            }}},
            "components": {"responses": {"BadRequest": {"description": "It does not fit."}}},
        });
        let page = reference("my query", &document.to_string());
        for part in [
            "<h2>POST /api</h2>",
            "<tr><td>q<td>query<td>string<td>required</tr>",
            "<tr><td>foo<td>string<td>required</tr>",
            "<tr><td>&lt;i&gt;<td>anything<td></tr>",
            "<tr><td>400<td>It does not fit.<td></tr>",
            "&lt;b&gt;api&lt;/b&gt;",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("<b>"));
        // What is no document is an empty page, not a panic.
        assert!(reference("x", "no JSON").contains("<h1></h1>"));
    }
}
