//! The OpenAPI 3.1 document of a service: what its pipeline takes, and every answer that it may get.
//!
//! It is written once, when the query starts. At the service's port it is looked at only for a path
//! that is not the service's, so no request of the service knows of it.

mod replies;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use snapback_operators::{Body, Description, Parameter, ParameterPlace, Reply};

use crate::options::Options;
use crate::route::Route;
#[cfg(test)]
pub(crate) use replies::REFUSALS;

/// Where a service tells it.
pub(crate) const PATH: &str = "/openapi.json";

/// The document of a service.
#[derive(Debug)]
pub(crate) struct OpenApi {
    json: String,
}

impl OpenApi {
    /// Describes a service.
    pub(crate) fn of(pipeline: &Description, options: &Options) -> Self {
        let mut document = document(pipeline, options);
        document["info"]["version"] = version(&document).into();
        // The alternate form of a JSON value is indented.
        let json = format!("{document:#}\n");
        OpenApi { json }
    }

    /// The document as JSON.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Answers a request for it.
    #[cold]
    pub(crate) fn answer(&self, method: &str, reply: &mut Reply<'_>) {
        match method {
            "GET" | "HEAD" => reply.json_with(|out| out.extend_from_slice(self.json.as_bytes())),
            _ => {
                reply.header("allow", "GET, HEAD");
                let detail = format!(
                    "the service's description can be read, with GET or HEAD, not {method}"
                );
                reply.problem(405, &detail);
            }
        }
    }
}

fn document(pipeline: &Description, options: &Options) -> Value {
    let service = match options.service_name() {
        "" => "/",
        name => name,
    };
    // Braces would be a template's.
    let path = Route::new(&options.path).to_string();
    let path = path.replace('{', "%7B").replace('}', "%7D");
    let mut components = replies::components(options);
    let security = security(options);
    if let Some((schemes, _)) = &security {
        components["securitySchemes"] = schemes.clone();
    }
    let mut operations = Map::new();
    for method in methods(pipeline) {
        let operation = operation(pipeline, options, service, method);
        operations.insert((*method).to_owned(), operation);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": service,
            "description": format!(
                "Requests are answered at {path} and below it. What is refused or fails is answered \
                 with a problem document (RFC 9457)."
            ),
            "version": "",
        },
        "paths": { path: operations },
        "components": components,
    });
    if let Some((_, requirements)) = security {
        document["security"] = requirements;
    }
    document
}

/// The version of a contract is its hash: it changes when anything in it does, and only then.
fn version(document: &Value) -> String {
    let hash = Sha256::digest(document.to_string());
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A service answers any method, and its pipeline may look at it. These are those that suit what it
/// takes.
fn methods(pipeline: &Description) -> &'static [&'static str] {
    match &pipeline.body {
        Some(Body::Taken { .. }) => &["post"],
        Some(Body::Unread) => &["get"],
        _ => &["get", "post"],
    }
}

fn operation(pipeline: &Description, options: &Options, service: &str, method: &str) -> Value {
    let name = service
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' });
    let mut operation = json!({
        "operationId": format!("{method}_{}", name.collect::<String>()),
        "responses": replies::of(pipeline, options),
    });
    match &pipeline.body {
        Some(Body::Taken {
            content,
            is_required,
        }) => {
            operation["requestBody"] = json!({
                "required": is_required,
                "content": { content.content_type: { "schema": content.schema } },
            });
        }
        None if method != "get" => {
            operation["requestBody"] = json!({ "content": { "*/*": {} } });
        }
        _ => {}
    }
    if !pipeline.parameters.is_empty() {
        let parameters = pipeline.parameters.iter().map(parameter);
        operation["parameters"] = parameters.collect();
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        ParameterPlace::Query => "query",
        ParameterPlace::Header => "header",
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.is_required,
        "schema": parameter.schema,
    })
}

/// How a key may come, and that one must: `None` for a service that serves everybody.
fn security(options: &Options) -> Option<(Value, Value)> {
    if options.auth_keys_file.is_none() && options.auth_keys_env.is_none() {
        return None;
    }
    let mut schemes = json!({ "bearer": { "type": "http", "scheme": "bearer" } });
    let mut requirements = vec![json!({ "bearer": [] })];
    if let Some(header) = &options.api_key_header {
        schemes["apiKey"] = json!({ "type": "apiKey", "in": "header", "name": header });
        requirements.push(json!({ "apiKey": [] }));
    }
    Some((schemes, requirements.into()))
}
