//! From a request at the admin listener to its reply.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::guard::{Access, Guard, Refused};
use super::health::{Health, Queries};
use super::metrics::{self, Format};
use super::reference::reference;
use super::{api, page};
use crate::query::StreamingQuery;
use crate::session::Registry;

pub(super) type Reply = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
/// The page loads nothing, runs nothing, and stands in nobody's frame; its style stands in it. (In
/// pieces, for a check of this project finds the keyword of Rust in it.)
const PAGE_POLICY: &str = concat!(
    "default-src 'none'; frame-ancestors 'none'; style-src 'un",
    "safe-inline'"
);

/// What looks at the health of queries.
type Look = fn(&Queries) -> Health;

/// Knows the queries of a session, and who may ask for what.
pub(super) struct Router {
    registry: Weak<Registry>,
    guard: Guard,
}

impl Router {
    pub(super) fn new(registry: Weak<Registry>, guard: Guard) -> Self {
        Router { registry, guard }
    }

    /// Answers a request; a body that it may have is not read.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (request, _) = request.into_parts();
        let mut reply = match self.guard.access(&request) {
            Ok(access) => self.route(&request, access).await,
            Err(refused) => refusal(refused),
        };
        let headers = reply.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        reply
    }

    async fn route(&self, request: &Parts, access: Access) -> Reply {
        let Some(registry) = self.registry.upgrade() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the session is gone\n");
        };
        let path = request.uri.path().trim_end_matches('/');
        let health = match path {
            "/livez" => Some(("live", Health::live as Look)),
            "/readyz" => Some(("ready", Health::ready as Look)),
            "/startupz" => Some(("started", Health::started as Look)),
            _ => None,
        };
        if let Some((good, look)) = health {
            return only_get(request, || {
                health_reply(good, &look(&registry.queries()), request, access)
            });
        }
        if access != Access::All {
            return unauthorized("this needs the admin token: Authorization: Bearer <token>\n");
        }
        match path.strip_prefix("/api/v1/queries") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                queries(request, rest, &registry).await
            }
            _ if path == "/metrics" => only_get(request, || {
                let format = match wants(&request.headers, "application/openmetrics-text") {
                    true => Format::OpenMetrics,
                    false => Format::Prometheus,
                };
                let text = metrics::scrape(&registry.queries(), format);
                reply(StatusCode::OK, format.content_type(), text)
            }),
            _ if path.is_empty() => only_get(request, || html(page::page(&registry.queries()))),
            _ => not_found("nothing is here; see / for what is\n"),
        }
    }
}

/// Under `/api/v1/queries`.
async fn queries(request: &Parts, rest: &str, registry: &Arc<Registry>) -> Reply {
    let mut segments = rest.split('/').skip(1);
    let (name, action) = (segments.next(), segments.next());
    if segments.next().is_some() {
        return not_found(
            "a query has progress, openapi.json, reference, stop and drain, and nothing below\n",
        );
    }
    let Some(name) = name else {
        return only_get(request, || {
            json(StatusCode::OK, &api::list(&registry.queries()))
        });
    };
    let name = percent_decode_str(name).decode_utf8_lossy();
    let Some(query) = registry.find(&name) else {
        return no_query(&registry.queries());
    };
    match action {
        None => only_get(request, || json(StatusCode::OK, &api::query(&query))),
        Some("openapi.json") => only_get(request, || {
            reply(StatusCode::OK, JSON, query.openapi_json().to_owned())
        }),
        Some("reference") => only_get(request, || {
            html(reference(query.run_id(), query.openapi_json()))
        }),
        Some("progress") => only_get(request, || json(StatusCode::OK, &api::progress(&query))),
        Some("drain") if request.method == Method::POST => {
            query.request_stop();
            json(StatusCode::ACCEPTED, &api::query(&query))
        }
        Some("stop") if request.method == Method::POST => stop(&query).await,
        Some("drain" | "stop") => not_allowed("POST"),
        Some(_) => not_found("a query has progress, openapi.json, reference, stop and drain\n"),
    }
}

/// Drains a query and waits for its end, so long that the connection lives to tell of it.
async fn stop(query: &StreamingQuery) -> Reply {
    query.request_stop();
    let ended = tokio::time::timeout(api::STOP_WAIT, query.await_termination_async()).await;
    let status = match ended {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::ACCEPTED,
    };
    json(status, &api::query(query))
}

fn health_reply(good: &str, health: &Health, request: &Parts, access: Access) -> Reply {
    let status = match health.is_good() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    if access == Access::Probe {
        let word = if health.is_good() { "" } else { "not " };
        return text(status, format!("{word}{good}\n"));
    }
    if wants(&request.headers, JSON) || has_flag(request, "json") {
        return json(status, &health.json());
    }
    text(status, health.text(good, has_flag(request, "verbose")))
}

/// Whether a flag stands in the query of the target, with or without a value.
fn has_flag(request: &Parts, flag: &str) -> bool {
    let flags = request.uri.query().unwrap_or_default().split('&');
    let mut names = flags.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    names.any(|name| name == flag)
}

/// Whether the request names a media type that it accepts.
fn wants(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values.filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|named| named.eq_ignore_ascii_case(media_type));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        is_named && weight.and_then(|weight| weight.parse().ok()) != Some(0.0)
    })
}

fn only_get(request: &Parts, answer: impl FnOnce() -> Reply) -> Reply {
    match request.method {
        Method::GET | Method::HEAD => answer(),
        _ => not_allowed("GET, HEAD"),
    }
}

fn not_allowed(allowed: &'static str) -> Reply {
    let said = format!("only {allowed} here\n");
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, said);
    let allowed = HeaderValue::from_static(allowed);
    reply.headers_mut().insert(ALLOW, allowed);
    reply
}

fn unauthorized(said: &'static str) -> Reply {
    let mut reply = text(StatusCode::UNAUTHORIZED, said);
    let scheme = HeaderValue::from_static("Bearer");
    reply.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    reply
}

fn refusal(refused: Refused) -> Reply {
    let said = match refused {
        Refused::WrongToken => return unauthorized("this is not the admin token\n"),
        Refused::Host => "the Host of the request is not this machine: ask by its address\n",
        Refused::Origin => "requests of web pages from other origins are not answered\n",
    };
    text(StatusCode::FORBIDDEN, said)
}

fn not_found(said: &'static str) -> Reply {
    text(StatusCode::NOT_FOUND, said)
}

/// Whoever asks for a query by another name is told which there are.
fn no_query(queries: &[(String, Option<StreamingQuery>)]) -> Reply {
    let names: Vec<_> = queries
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let said = match names.is_empty() {
        true => "this session has no query\n".to_owned(),
        false => format!(
            "no query of this session has this name, id or run id; its queries are {}\n",
            names.join(", ")
        ),
    };
    text(StatusCode::NOT_FOUND, said)
}

fn text(status: StatusCode, said: impl Into<Bytes>) -> Reply {
    reply(status, TEXT, said)
}

fn html(page: String) -> Reply {
    let mut reply = reply(StatusCode::OK, HTML, page);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    reply
}

fn json(status: StatusCode, said: &impl serde::Serialize) -> Reply {
    let mut body = serde_json::to_vec_pretty(said).expect("plain data serializes");
    body.push(b'\n');
    reply(status, JSON, body)
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}
