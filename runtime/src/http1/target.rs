//! Request targets and hosts (RFC 9112, section 3.2).

use super::fault::{Reject, shown};

/// The path and query of a target, which is what a pipeline sees.
///
/// - origin-form `/a?b` is its own path;
/// - absolute-form `http://host/a?b` loses scheme and authority, an empty path is `/` (`*` for
///   OPTIONS, RFC 9112, section 3.2.4);
/// - `*` is for OPTIONS only;
/// - CONNECT and its authority-form are not implemented (501; RFC 9110, section 9.3.6): were it
///   answered in another way, what follows could be a tunnel's bytes.
#[inline]
pub(super) fn path_of<'b>(method: &str, target: &'b str) -> Result<&'b str, Reject> {
    if method == "CONNECT" {
        return Err(Reject::Connect);
    }
    if target.starts_with('/') {
        Ok(target)
    } else {
        path_of_unusual(method, target)
    }
}

#[cold]
fn path_of_unusual<'b>(method: &str, target: &'b str) -> Result<&'b str, Reject> {
    let refuse = |way_out| {
        let (method, target) = (shown(method.as_bytes()), shown(target.as_bytes()));
        Err(Reject::Target {
            method,
            target,
            way_out,
        })
    };
    if target == "*" {
        return if method == "OPTIONS" {
            Ok(target)
        } else {
            refuse("only OPTIONS may ask for *, send a path")
        };
    }
    let Some(rest) = strip_scheme(target) else {
        return refuse("send a path that begins with / or a whole http URL");
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.is_empty() || !is_host(authority.as_bytes()) {
        return Err(Reject::Host {
            value: shown(authority.as_bytes()),
        });
    }
    match path.as_bytes().first() {
        Some(b'/') => Ok(path),
        None if method == "OPTIONS" => Ok("*"),
        None => Ok("/"),
        Some(_) => refuse("put a / between the host and the query"),
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

/// Whether these are characters of `uri-host [ ":" port ]` (RFC 9110, section 7.2). Empty is fine:
/// a client without an authority sends that. User information is not (section 4.2.4).
#[inline]
pub(super) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| HOST_BYTES[usize::from(*byte)])
}

/// RFC 3986, sections 3.2.2 and 3.2.3: unreserved, sub-delims, percent, and `:[]`.
static HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
            || matches!(
                byte,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
            )
            || matches!(byte, b';' | b'=');
        byte += 1;
    }
    table
};
