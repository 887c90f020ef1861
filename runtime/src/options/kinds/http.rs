//! The kinds of values that name a part of HTTP.

use super::Kind;
use crate::content::{ContentCoding, names_of};

/// The name of a header field that belongs to no one else, or `none`.
pub(in crate::options) struct Header;

/// Fields that mean something to the server already.
const TAKEN_HEADERS: [&str; 14] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "traceparent",
    "traceresponse",
];

impl Kind<Option<String>> for Header {
    fn parse(&self, text: &str) -> Option<Option<String>> {
        let name = text.trim().to_ascii_lowercase();
        if name == "none" {
            return Some(None);
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_token = (1..=64).contains(&name.len()) && name.bytes().all(fits);
        (is_token && !TAKEN_HEADERS.contains(&name.as_str())).then_some(Some(name))
    }
    fn show(&self, value: &Option<String>) -> String {
        value.clone().unwrap_or_else(|| "none".to_owned())
    }
    fn allowed(&self) -> String {
        "the name of a header field with no other meaning to the server, or `none`".to_owned()
    }
    fn name(&self) -> String {
        "header name or `none`".to_owned()
    }
}

/// Content codings, or `identity` for none.
pub(in crate::options) struct Codings;

impl Kind<Vec<ContentCoding>> for Codings {
    fn parse(&self, text: &str) -> Option<Vec<ContentCoding>> {
        if text.trim().eq_ignore_ascii_case("identity") {
            return Some(Vec::new());
        }
        let mut codings = Vec::new();
        for name in text.split(',') {
            let coding = ContentCoding::from_name(name.trim().as_bytes())?;
            if !codings.contains(&coding) {
                codings.push(coding);
            }
        }
        Some(codings)
    }
    fn show(&self, value: &Vec<ContentCoding>) -> String {
        names_of(value)
    }
    fn allowed(&self) -> String {
        format!("`identity`, or a list of {}", names_of(&ContentCoding::ALL))
    }
    fn name(&self) -> String {
        "content codings, or `identity`".to_owned()
    }
}
