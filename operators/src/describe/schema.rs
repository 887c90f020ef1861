//! The JSON Schema of what serde reads as a type.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::asker::{Asker, Fault, Kind, Reading, Sample, Step};
use crate::batch::discard_payload;

/// How often a type is read at most. Each field takes a few readings, so no type that a person wrote
/// comes near; what is left then is described as any JSON.
const MOST_READINGS: usize = 20_000;

/// Texts that types which do not take every text may take, and what JSON Schema calls those.
const TEXTS: [(&str, &str); 8] = [
    ("", ""),
    ("2020-01-31T23:59:59Z", "date-time"),
    ("2020-01-31T23:59:59", "date-time-local"),
    ("2020-01-31", "date"),
    ("23:59:59", "time-local"),
    ("67e55044-10b1-426f-9247-bb680e5fe0c8", "uuid"),
    ("192.0.2.1", "ipv4"),
    ("2001:db8::1", "ipv6"),
];

/// The JSON Schema (2020-12) of what serde reads as a `T`.
///
/// The type is not looked at: it is asked. It is read again and again from a reader that gives it one
/// field at a time and notes what it wants there, then gives it too few fields and notes which one it
/// misses. So whatever serde's attributes do, or a `Deserialize` written by hand, is in the schema.
/// What reads itself from any value (an untagged or internally tagged enum, what is behind `flatten`)
/// is described as any value.
///
/// ```
/// # use serde::Deserialize;
/// # use snapback_operators::schema_of;
/// #[derive(Deserialize)]
/// struct Order { sku: String, #[serde(default)] count: u8 }
///
/// assert_eq!(schema_of::<Order>(), serde_json::json!({
///     "type": "object",
///     "properties": {
///         "sku": { "type": "string" },
///         "count": { "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 },
///     },
///     "required": ["sku"],
/// }));
/// ```
pub fn schema_of<T: Deserialize<'static>>() -> Value {
    let read = |asker: Asker<'_, '_>| drop(T::deserialize(asker));
    let mut explorer = Explorer {
        read: &read,
        known: HashMap::new(),
        readings: 0,
        around: Vec::new(),
    };
    explorer.explore(&[])
}

struct Explorer<'t> {
    /// Reads a value of the type.
    read: &'t dyn Fn(Asker<'_, '_>),
    /// What can be given to the types that were explored.
    known: HashMap<Vec<Step>, Sample>,
    readings: usize,
    /// The names and fields of the types around the present one.
    around: Vec<(&'static str, &'static [&'static str])>,
}

impl Explorer<'_> {
    /// The schema of what is at a place.
    fn explore(&mut self, path: &[Step]) -> Value {
        let Some(kind) = self.kind(path) else {
            return json!({});
        };
        let (schema, sample) = match kind {
            Kind::Any => (json!({}), Sample::Unit),
            Kind::Bool => (json!({ "type": "boolean" }), Sample::Bool),
            Kind::Integer(format, least, most) => self.integer(path, format, least, most),
            Kind::Float(format) => (json!({ "type": "number", "format": format }), Sample::Float),
            Kind::Char => (
                json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
                Sample::Text("x"),
            ),
            Kind::Text => self.text(path),
            // Of JSON, serde takes texts and lists of numbers.
            Kind::Bytes => (json!({ "type": ["string", "array"] }), Sample::Bytes),
            Kind::Unit | Kind::UnitVariant => (json!({ "type": "null" }), Sample::Unit),
            Kind::Option => {
                let inside = self.explore(&inside(path, Step::Some));
                (or_null(inside), Sample::Nothing)
            }
            Kind::Seq => {
                let element = self.explore(&inside(path, Step::Element(0)));
                (
                    json!({ "type": "array", "items": element }),
                    Sample::Elements(0),
                )
            }
            Kind::Tuple(len) => (self.tuple(path, len), Sample::Elements(len)),
            Kind::Map => self.map(path),
            Kind::Struct(name, fields) | Kind::Enum(name, fields)
                if self.around.contains(&(name, fields)) =>
            {
                // A type inside itself: one level of it is told.
                return json!({});
            }
            Kind::Struct(name, fields) => {
                self.around.push((name, fields));
                let described = self.object(path, fields);
                self.around.pop();
                described
            }
            Kind::Enum(name, variants) => {
                self.around.push((name, variants));
                let schema = self.choice(path, variants);
                self.around.pop();
                (schema, Sample::Variant(0))
            }
        };
        self.known.insert(path.to_vec(), sample);
        schema
    }

    fn integer(&mut self, path: &[Step], format: &str, least: i128, most: i128) -> (Value, Sample) {
        let takes_zero = self.give(path, Sample::Integer(0)).is_ok();
        let sample = Sample::Integer(u64::from(!takes_zero));
        if format.is_empty() {
            return (json!({ "type": "integer" }), sample);
        }
        let (least, most) = (i64::try_from(least), u64::try_from(most));
        let least = match (least, takes_zero) {
            (Ok(0), false) => 1,
            (least, _) => least.unwrap_or_default(),
        };
        let schema = json!({
            "type": "integer",
            "format": format,
            "minimum": least,
            "maximum": most.unwrap_or_default(),
        });
        (schema, sample)
    }

    fn text(&mut self, path: &[Step]) -> (Value, Sample) {
        let taken = TEXTS.into_iter().filter(|(text, _)| {
            let given = self.give(path, Sample::Text(text));
            given.is_ok()
        });
        let taken: Vec<_> = taken.collect();
        let sample = Sample::Text(taken.first().map_or("", |(text, _)| text));
        let schema = match taken.as_slice() {
            [(_, format)] if !format.is_empty() => json!({ "type": "string", "format": format }),
            _ => json!({ "type": "string" }),
        };
        (schema, sample)
    }

    fn tuple(&mut self, path: &[Step], len: usize) -> Value {
        let elements = (0..len).map(|index| self.explore(&inside(path, Step::Element(index))));
        let elements: Vec<_> = elements.collect();
        let mut schema = json!({ "type": "array", "minItems": len, "maxItems": len });
        match elements.first() {
            Some(first) if elements.iter().all(|element| element == first) => {
                schema["items"] = first.clone();
            }
            _ => schema["prefixItems"] = elements.into(),
        }
        schema
    }

    /// A map, or a struct with flattened fields, which misses those of its own that it needs.
    fn map(&mut self, path: &[Step]) -> (Value, Sample) {
        let value = self.explore(&inside(path, Step::Value));
        let (mut properties, mut required) = (Map::new(), Vec::new());
        while let Err(Fault::Missing(name)) = self.give(path, Sample::Fields(required.clone()))
            && !required.contains(&name)
        {
            let schema = self.explore(&inside(path, Step::Field(name)));
            properties.insert(name.to_owned(), schema);
            required.push(name);
        }
        let mut schema = json!({ "type": "object" });
        if value != json!({}) {
            schema["additionalProperties"] = value;
        }
        if !required.is_empty() {
            schema["properties"] = properties.into();
            schema["required"] = json!(required);
        }
        (schema, Sample::Fields(required))
    }

    fn object(&mut self, path: &[Step], fields: &'static [&'static str]) -> (Value, Sample) {
        let mut properties = BTreeMap::new();
        for name in fields {
            let schema = self.explore(&inside(path, Step::Field(name)));
            properties.insert(*name, schema);
        }
        // The list has aliases, too. Who has one cannot have the field itself.
        for name in fields {
            let twice = self.give(path, Sample::Fields(vec![name, name]));
            if let Err(Fault::Duplicate(own)) = twice
                && own != *name
            {
                properties.remove(name);
            }
        }
        let mut required = Vec::new();
        while let Err(Fault::Missing(name)) = self.give(path, Sample::Fields(required.clone()))
            && fields.contains(&name)
            && !required.contains(&name)
        {
            required.push(name);
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        const NOBODYS: &str = "\0";
        if self.give(path, Sample::Fields(vec![NOBODYS])) == Err(Fault::UnknownField) {
            schema["additionalProperties"] = json!(false);
        }
        (schema, Sample::Fields(required))
    }

    /// An enum as serde writes it by itself: the name, or an object with the name as its only key.
    fn choice(&mut self, path: &[Step], variants: &'static [&'static str]) -> Value {
        let (mut names, mut choices) = (Vec::new(), Vec::new());
        for (index, name) in variants.iter().enumerate() {
            let content = inside(path, Step::Variant(index));
            if self.kind(&content) == Some(Kind::UnitVariant) {
                names.push(*name);
                self.known.insert(content, Sample::Unit);
                continue;
            }
            let content = self.explore(&content);
            choices.push(json!({
                "type": "object",
                "properties": { *name: content },
                "required": [name],
                "additionalProperties": false,
            }));
        }
        if !names.is_empty() {
            choices.insert(0, json!({ "type": "string", "enum": names }));
        }
        match choices.len() {
            1 => choices.remove(0),
            _ => json!({ "oneOf": choices }),
        }
    }

    /// What the type at a place asks for, if a reading comes there.
    fn kind(&mut self, path: &[Step]) -> Option<Kind> {
        self.reading(path, None).0
    }

    /// What the type at a place says to a value.
    fn give(&mut self, path: &[Step], sample: Sample) -> Result<(), Fault> {
        let outcome = self.reading(path, Some(sample)).1;
        outcome.unwrap_or(Err(Fault::Other))
    }

    fn reading(
        &mut self,
        target: &[Step],
        given: Option<Sample>,
    ) -> (Option<Kind>, Option<Result<(), Fault>>) {
        if self.readings == MOST_READINGS {
            return (None, None);
        }
        self.readings += 1;
        let reading = RefCell::new(Reading {
            target,
            given,
            known: &self.known,
            kind: None,
            outcome: None,
        });
        let read = AssertUnwindSafe(|| (self.read)(Asker::new(&reading)));
        // A type that cannot stand what it is given is not described; its pipeline starts all the same.
        if let Err(payload) = catch_unwind(read) {
            discard_payload(payload);
            return (None, None);
        }
        let reading = reading.into_inner();
        (reading.kind, reading.outcome)
    }
}

fn inside(path: &[Step], step: Step) -> Vec<Step> {
    [path, &[step]].concat()
}

/// The schema, and null beside it.
fn or_null(mut schema: Value) -> Value {
    if schema == json!({}) || schema.get("type") == Some(&json!("null")) {
        return schema;
    }
    match &schema["type"] {
        Value::String(name) if schema.get("enum").is_none() => {
            schema["type"] = json!([name, "null"]);
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}
