//! Which paths a service answers.

use std::borrow::Cow;
use std::fmt;

/// The path of a service. It answers this path and those below it, by whole segments: `/foo` serves
/// `/foo`, `/foo/` and `/foo/bar`, but not `/foobar`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Begins with a slash and does not end with one; empty for the root.
    prefix: String,
}

impl Route {
    /// The route of a path as users write it: `my_api`, `/my_api` and `/my_api/` are the same.
    pub(crate) fn new(path: &str) -> Self {
        let path = path.trim_matches('/');
        Route {
            prefix: if path.is_empty() {
                String::new()
            } else {
                format!("/{path}")
            },
        }
    }

    /// Whether the service answers this target, a path and its query. Percent-encoded characters
    /// count as what they stand for (RFC 3986, section 6.2.2.2).
    #[inline]
    pub(crate) fn matches(&self, target: &str) -> bool {
        // The path ends where the prefix does, or a segment does: the query is not looked for.
        match target.strip_prefix(self.prefix.as_str()).map(str::as_bytes) {
            Some([] | [b'/' | b'?', ..]) => true,
            _ => target.contains('%') && self.matches_decoded(target),
        }
    }

    #[cold]
    fn matches_decoded(&self, target: &str) -> bool {
        let path = target.split('?').next().unwrap_or_default();
        let decoded: Cow<'_, [u8]> = percent_encoding::percent_decode_str(path).into();
        let rest = decoded.strip_prefix(self.prefix.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.prefix.is_empty() {
            "/"
        } else {
            &self.prefix
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_whole_segments() {
        for (route, path, expected) in [
            ("foo", "/foo", true),
            ("/foo/", "/foo/", true),
            ("foo", "/foo/bar", true),
            ("foo", "/foo?bar", true),
            ("foo", "/foo/?bar", true),
            ("foo", "/bar?/foo", false),
            ("", "/?foo", true),
            ("my_api", "/my%5Fapi?x=%2F", true),
            ("my_api", "/other?x=/my%5Fapi", false),
            ("foo", "/foobar", false),
            ("foo", "/fo", false),
            ("foo", "/", false),
            ("foo", "/FOO", false),
            ("a/b", "/a/b/c", true),
            ("a/b", "/a", false),
            ("", "/", true),
            ("", "/anything", true),
            ("my_api", "/my%5Fapi", true),
            ("my_api", "/my%5Fapi2", false),
            ("grüße", "/gr%C3%BC%C3%9Fe", true),
            ("foo", "/foo%2Fbar", true),
        ] {
            assert_eq!(Route::new(route).matches(path), expected, "{route} {path}");
        }
    }
}
