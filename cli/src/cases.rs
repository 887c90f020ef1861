//! Tests that are kept beside a service: a request, and the reply to it.

use serde_json::Value;
use snapback::test::{TestReply, TestService};

/// A request, and what must come back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// What it shows.
    pub(crate) name: String,
    /// The method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Header fields.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
    /// What must come back.
    pub(crate) expected: Expected,
}

/// What must come back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expected {
    /// The status.
    pub(crate) status: u16,
    /// Header fields that must be there.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Expectation,
}

/// What a body must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expectation {
    /// Whatever it is.
    Anything,
    /// This text, in which `<any>` is any text.
    Text(String),
    /// JSON that is equal to this, but for its placeholders.
    Json(Value),
}

impl Case {
    /// Sends the request, and says what is wrong with the reply: a line for each difference.
    pub(crate) fn run(&self, service: &mut TestService) -> Vec<String> {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let reply = service.send(&self.method, &self.target, &headers, &self.body);
        self.expected.differences(&reply)
    }
}

impl Expected {
    fn differences(&self, reply: &TestReply) -> Vec<String> {
        let mut differences = Vec::new();
        if reply.status != self.status {
            let (expected, received) = (self.status, reply.status);
            differences.push(format!("status: expected {expected}, received {received}"));
        }
        for (name, expected) in &self.headers {
            match reply.header(name) {
                Some(value) if matches(expected, value) => {}
                Some(value) => differences.push(format!(
                    "header `{name}`: expected `{expected}`, received `{value}`"
                )),
                None => {
                    differences.push(format!("header `{name}`: expected `{expected}`, not there"));
                }
            }
        }
        let received = reply.text();
        match &self.body {
            Expectation::Anything => {}
            Expectation::Text(expected) if matches(expected, &received) => {}
            Expectation::Text(expected) => {
                differences.push(format!(
                    "body: expected `{expected}`, received `{received}`"
                ));
            }
            Expectation::Json(expected) => match serde_json::from_str(&received) {
                Ok(json) => compare(expected, &json, "body", &mut differences),
                Err(_) => differences.push(format!("body: expected JSON, received `{received}`")),
            },
        }
        // A reply that nobody expected says best itself what it is.
        if reply.status != self.status && !differences.iter().any(|line| line.starts_with("body")) {
            differences.push(format!("body: received `{received}`"));
        }
        differences
    }
}

/// Whether a text is as expected, where `<any>` is any text.
fn matches(expected: &str, text: &str) -> bool {
    let mut parts = expected.split("<any>");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

/// Adds the differences between a value and what it should be.
fn compare(expected: &Value, received: &Value, path: &str, differences: &mut Vec<String>) {
    match (expected, received) {
        (Value::Object(expected), Value::Object(received)) => {
            for (key, expected) in expected {
                let path = format!("{path}.{key}");
                match received.get(key) {
                    Some(received) => compare(expected, received, &path, differences),
                    None => differences.push(format!("{path}: expected {expected}, not there")),
                }
            }
            for (key, received) in received {
                if !expected.contains_key(key) {
                    differences.push(format!("{path}.{key}: not expected, received {received}"));
                }
            }
        }
        (Value::Array(expected), Value::Array(received)) => {
            for (index, (expected, received)) in expected.iter().zip(received).enumerate() {
                compare(expected, received, &format!("{path}[{index}]"), differences);
            }
            let (expected, received) = (expected.len(), received.len());
            if expected != received {
                differences.push(format!(
                    "{path}: expected {expected} elements, received {received}"
                ));
            }
        }
        (Value::String(text), received) if stands_for(text, received) => {}
        (Value::Number(expected), Value::Number(received))
            if expected.as_f64() == received.as_f64() => {}
        (expected, received) if expected == received => {}
        _ => differences.push(format!("{path}: expected {expected}, received {received}")),
    }
}

/// Whether a text is a placeholder that the value may take, or is the value with `<any>` in it.
fn stands_for(text: &str, received: &Value) -> bool {
    match text {
        "<any>" => true,
        "<text>" => received.is_string(),
        "<number>" => received.is_number(),
        "<integer>" => received.is_i64() || received.is_u64(),
        "<boolean>" => received.is_boolean(),
        _ => received.as_str().is_some_and(|value| matches(text, value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{compare, matches};

    #[test]
    fn texts_with_placeholders() {
        for (expected, text, fits) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("<any>", "", true),
            ("a<any>", "ab", true),
            ("<any>b", "ab", true),
            ("a<any>c<any>e", "abcde", true),
            ("a<any>c<any>e", "abde", false),
            ("a<any>a", "a", false),
        ] {
            assert_eq!(matches(expected, text), fits, "{expected} {text}");
        }
    }

    #[test]
    fn values_with_placeholders() {
        let expected = json!({"a": "<number>", "b": ["<any>", 2], "c": "x<any>"});
        for (received, differences) in [
            (json!({"a": 1, "b": [null, 2.0], "c": "xyz"}), 0),
            (json!({"a": "1", "b": [null, 2], "c": "xyz"}), 1),
            (json!({"a": 1, "b": [null], "c": "y"}), 2),
            (json!({"a": 1, "b": [1, 2], "c": "x", "d": 1}), 1),
            (json!([]), 1),
        ] {
            let mut found = Vec::new();
            compare(&expected, &received, "body", &mut found);
            assert_eq!(found.len(), differences, "{found:?}");
        }
    }
}
