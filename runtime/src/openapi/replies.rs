//! The replies in a service's document.

use serde_json::{Map, Value, json};
use snapback_operators::{Content, Description, reason_phrase};

use crate::options::Options;

/// The statuses with which requests are refused, or fail, whatever the pipeline is. 401 is only for
/// services with keys.
pub(crate) const REFUSALS: [(u16, &str); 13] = [
    (
        400,
        "The request is malformed, or what it brings does not fit; `field`, `expected` and `received` \
         say what, where that can be told.",
    ),
    (401, "The request has no key, or an unknown one."),
    (408, "The request was not whole in time."),
    (413, "The body is too large."),
    (414, "The target is too long."),
    (415, "The body is in a content coding that is not accepted."),
    (417, "`Expect` asks for what cannot be met."),
    (431, "The head is too large."),
    (500, "The pipeline failed at the request."),
    (501, "The method or the transfer coding is not served."),
    (503, "There is too much to do: try again later."),
    (504, "The request took too long."),
    (505, "The version of HTTP is not served."),
];

/// The replies to a request of the pipeline, by status.
pub(super) fn of(pipeline: &Description, options: &Options) -> Value {
    let mut replies = Map::new();
    let mut reply = json!({ "description": "The reply of the pipeline." });
    let content = content(&pipeline.replies, pipeline.answers_freely);
    if !content.is_empty() {
        reply["content"] = content.into();
    }
    replies.insert("200".to_owned(), reply);
    if pipeline.may_be_unanswered {
        let status = options.unanswered_reply.to_string();
        let nothing = json!({ "description": "The pipeline has no reply to this request." });
        replies.entry(status).or_insert(nothing);
    }
    for (status, _) in refusals(options) {
        let at = json!({ "$ref": format!("#/components/responses/{status}") });
        replies.entry(status.to_string()).or_insert(at);
    }
    if pipeline.answers_freely {
        let any = json!({ "description": "As the pipeline answers.", "content": { "*/*": {} } });
        replies.insert("default".to_owned(), any);
    } else if pipeline.refuses_freely {
        replies.insert(
            "default".to_owned(),
            problem("The pipeline refuses the request."),
        );
    }
    replies.into()
}

/// What operations refer to.
pub(super) fn components(options: &Options) -> Value {
    let refusals = refusals(options).map(|(status, meaning)| {
        let mut reply = problem(&format!("{}. {meaning}", reason_phrase(status)));
        match status {
            401 => {
                reply["headers"] = header("WWW-Authenticate", json!({ "type": "string" }));
            }
            503 => {
                let seconds = json!({ "type": "integer", "minimum": 0 });
                reply["headers"] = header("Retry-After", seconds);
            }
            _ => {}
        }
        (status.to_string(), reply)
    });
    json!({
        "responses": refusals.collect::<Map<_, _>>(),
        "schemas": { "Problem": problem_schema() },
    })
}

fn refusals(options: &Options) -> impl Iterator<Item = (u16, &'static str)> {
    let has_keys = options.auth_keys_file.is_some() || options.auth_keys_env.is_some();
    REFUSALS
        .into_iter()
        .filter(move |(status, _)| *status != 401 || has_keys)
}

fn content(replies: &[Content], answers_freely: bool) -> Map<String, Value> {
    let mut content = Map::new();
    for reply in replies {
        let schema = json!({ "schema": reply.schema });
        content.insert(reply.content_type.to_owned(), schema);
    }
    if answers_freely {
        content.insert("*/*".to_owned(), json!({}));
    }
    content
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    })
}

fn header(name: &str, schema: Value) -> Value {
    json!({ name: { "schema": schema } })
}

/// What [`Reply::problem_with`](snapback_operators::Reply::problem_with) writes.
fn problem_schema() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": text("The name of the status."),
            "status": { "type": "integer", "minimum": 200, "maximum": 599 },
            "detail": text("What is wrong, and the way out."),
            "field": text("The field at fault."),
            "expected": text("What was expected of it."),
            "received": text("What was received."),
            "correlationId": text("The client's own id of the request."),
        },
        "required": ["type", "title", "status", "detail"],
    })
}
