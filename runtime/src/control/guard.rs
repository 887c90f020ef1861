//! Who may ask the admin listener for what.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::http::request::Parts;

use super::token::Token;

/// The checks before any answer.
///
/// With a token, whoever shows it may ask for everything, and everyone for the bare answers of the
/// probes. Without one the listener is at a loopback address; then a browser of this machine could
/// be made to ask by any web page, so the request must name this machine as its host (a page that
/// resolved its own name to 127.0.0.1 says its own name), and must not come from another origin.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    /// The host of `adminAddress`.
    host: String,
}

/// What a request may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    All,
    /// Whether the process is well, without the reasons.
    Probe,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It shows a token that is not ours.
    WrongToken,
    /// It names a host that this machine is not known by.
    Host,
    /// A web page of another origin made it.
    Origin,
}

impl Guard {
    pub(super) fn new(token: Option<Token>, host: String) -> Self {
        Guard { token, host }
    }

    pub(super) fn access(&self, request: &Parts) -> Result<Access, Refused> {
        let headers = &request.headers;
        let access = match (&self.token, headers.get(AUTHORIZATION)) {
            (Some(token), Some(shown)) if bearer(shown).is_some_and(|shown| token.is(shown)) => {
                Access::All
            }
            (Some(_), Some(_)) => return Err(Refused::WrongToken),
            (Some(_), None) => Access::Probe,
            (None, _) => Access::All,
        };
        if self.token.is_none() && !self.is_our_host(request) {
            return Err(Refused::Host);
        }
        if !is_same_origin(headers) {
            return Err(Refused::Origin);
        }
        Ok(access)
    }

    /// Whether the request names an address, which no page can make its own, or a name that always
    /// means this machine.
    fn is_our_host(&self, request: &Parts) -> bool {
        let header = only(request.headers.get_all(HOST).iter());
        let Some(header) = header.and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let is_ours = |authority: &str| {
            let host = host_of(authority);
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            host.parse::<Ipv4Addr>().is_ok()
                || host.parse::<Ipv6Addr>().is_ok()
                || name == "localhost"
                || name.ends_with(".localhost")
                || name == self.host.to_ascii_lowercase()
        };
        let target = request.uri.authority();
        is_ours(header) && target.is_none_or(|authority| is_ours(authority.as_str()))
    }
}

/// Browsers say `Origin` with every POST, and other clients do not.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if headers.get_all(ORIGIN).iter().next().is_none() {
        return true;
    }
    let origin = only(headers.get_all(ORIGIN).iter()).and_then(|origin| origin.to_str().ok());
    let host = only(headers.get_all(HOST).iter()).and_then(|host| host.to_str().ok());
    let authority = origin.and_then(|origin| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| Some(authority) == host)
}

/// The token in `Bearer <token>` (RFC 6750 section 2.1); the scheme's name is without case.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// The host in `host`, `host:port`, `[::1]` or `[::1]:port`.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(host, _)| host);
    }
    authority
        .split_once(':')
        .map_or(authority, |(host, _)| host)
}

/// The one value of a header that may stand only once.
fn only<'h>(mut values: impl Iterator<Item = &'h HeaderValue>) -> Option<&'h HeaderValue> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hyper::Request;

    use super::*;
    use crate::options::Options;

    fn access(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> Result<Access, Refused> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.access(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn without_a_token_the_host_must_mean_this_machine() {
        let guard = Guard::new(None, "Admin.internal".to_owned());
        for host in [
            "127.0.0.1:4040",
            "localhost",
            "LOCALHOST:1",
            "localhost.:1",
            "a.localhost",
            "[::1]:4040",
            "[::1]",
            "10.0.0.7",
            "admin.internal:4040",
        ] {
            assert_eq!(
                access(&guard, "/", &[("host", host)]),
                Ok(Access::All),
                "{host}"
            );
        }
        for host in [
            "",
            "evil.example:4040",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "[::1",
            "user@localhost",
        ] {
            assert_eq!(
                access(&guard, "/", &[("host", host)]),
                Err(Refused::Host),
                "{host}"
            );
        }
        assert_eq!(access(&guard, "/", &[]), Err(Refused::Host));
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(access(&guard, "/", &two), Err(Refused::Host));
        let absolute = "http://evil.example/";
        assert_eq!(
            access(&guard, absolute, &[("host", "localhost")]),
            Err(Refused::Host)
        );
    }

    #[test]
    fn a_page_of_another_origin_may_ask_for_nothing() {
        let guard = Guard::new(None, "127.0.0.1".to_owned());
        let with = |origin| [("host", "localhost:4040"), ("origin", origin)];
        let same = with("http://localhost:4040");
        assert_eq!(access(&guard, "/", &same), Ok(Access::All));
        for origin in [
            "http://evil.example",
            "null",
            "",
            "https://localhost:4040",
            "http://localhost",
        ] {
            assert_eq!(
                access(&guard, "/", &with(origin)),
                Err(Refused::Origin),
                "{origin}"
            );
        }
    }

    #[test]
    fn with_a_token_only_probes_go_without_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "0123456789abcdef").unwrap();
        let mut options = Options::default();
        options
            .set("adminTokenFile", file.path().display())
            .unwrap();
        let guard = Guard::new(Token::of(&options).unwrap(), "0.0.0.0".to_owned());
        let shows = |value| access(&guard, "/", &[("host", "any"), ("authorization", value)]);
        assert_eq!(
            access(&guard, "/", &[("host", "any.example")]),
            Ok(Access::Probe)
        );
        assert_eq!(shows("Bearer 0123456789abcdef"), Ok(Access::All));
        assert_eq!(shows("bearer  0123456789abcdef "), Ok(Access::All));
        for wrong in [
            "0123456789abcdef",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeg",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
        ] {
            assert_eq!(shows(wrong), Err(Refused::WrongToken), "{wrong}");
        }
    }
}
