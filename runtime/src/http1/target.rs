//! Request targets (RFC 9112, section 3.2).

use super::fault::{Reject, shown};
use super::host::{is_host, is_same_host};

/// The path and query of a target, which is what a pipeline sees.
///
/// - origin-form `/a?b` is its own path;
/// - absolute-form `http://host/a?b` loses scheme and authority, an empty path is `/` (`*` for
///   OPTIONS, RFC 9112, section 3.2.4). A Host header must name the same host, or what one reader
///   routes by the target another would route by the header;
/// - `*` is for OPTIONS only;
/// - CONNECT and its authority-form are not implemented (501; RFC 9110, section 9.3.6): were it
///   answered in another way, what follows could be a tunnel's bytes;
/// - a fragment belongs to none of them, and readers disagree about whether the path ends there.
#[inline]
pub(super) fn path_of<'b>(
    method: &str,
    target: &'b str,
    host: Option<&[u8]>,
) -> Result<&'b str, Reject> {
    if method == "CONNECT" {
        return Err(Reject::Connect);
    }
    if target.starts_with('/') && !target.as_bytes().contains(&b'#') {
        Ok(target)
    } else {
        path_of_unusual(method, target, host)
    }
}

#[cold]
fn path_of_unusual<'b>(
    method: &str,
    target: &'b str,
    host: Option<&[u8]>,
) -> Result<&'b str, Reject> {
    let refuse = |way_out| {
        let (method, target) = (shown(method.as_bytes()), shown(target.as_bytes()));
        Err(Reject::Target {
            method,
            target,
            way_out,
        })
    };
    if target.contains('#') {
        return refuse("leave out the fragment, which begins with #");
    }
    if target == "*" {
        return if method == "OPTIONS" {
            Ok(target)
        } else {
            refuse("only OPTIONS may ask for *, send a path")
        };
    }
    let Some((default_port, rest)) = strip_scheme(target) else {
        return refuse("send a path that begins with / or a whole http URL");
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = authority.as_bytes();
    if authority.is_empty() || !is_host(authority) {
        return Err(Reject::Host {
            value: shown(authority),
        });
    }
    if let Some(host) = host
        && !is_same_host(host, authority, default_port)
    {
        let (host, authority) = (shown(host), shown(authority));
        return Err(Reject::HostDiffers { host, authority });
    }
    match path.as_bytes().first() {
        Some(b'/') => Ok(path),
        None if method == "OPTIONS" => Ok("*"),
        None => Ok("/"),
        Some(_) => refuse("put a / between the host and the query"),
    }
}

/// The port that the scheme implies, with its colon, and what follows the scheme.
fn strip_scheme(target: &str) -> Option<(&'static [u8], &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if scheme.eq_ignore_ascii_case("http") {
        Some((b":80", rest))
    } else if scheme.eq_ignore_ascii_case("https") {
        Some((b":443", rest))
    } else {
        None
    }
}
