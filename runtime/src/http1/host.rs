//! Hosts with ports: `uri-host [ ":" port ]` (RFC 9110, section 7.2; RFC 3986, section 3.2.2).

use std::net::Ipv6Addr;

/// A letter, digit or sign that a name may have anywhere.
const NAME: u32 = 0;
const COLON: u32 = 1;
/// A character that only has its place: `[`, `]` and `%`.
const PLACED: u32 = 1 << 8;
/// Any other byte.
const BAD: u32 = 1 << 16;

/// The longest value whose kinds cannot overflow when they are added.
const USUAL_BYTES: usize = 255;

/// Whether this is a host, with a port or without. Empty is fine: a client without an authority
/// sends that. User information is not (RFC 9110, section 4.2.4).
#[inline]
pub(super) fn is_host(value: &[u8]) -> bool {
    if value.len() > USUAL_BYTES {
        return value.iter().all(|byte| kind(*byte) != BAD) && has_good_places(value);
    }
    // Without early exit: hosts are short, and nearly all are good.
    match value.iter().fold(0, |kinds, byte| kinds + kind(*byte)) {
        NAME => true,
        COLON => ends_with_port(value),
        kinds => kinds < BAD && has_good_places(value),
    }
}

/// Whether the only colon stands behind a name and before digits.
#[inline]
fn ends_with_port(value: &[u8]) -> bool {
    let digits = value.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let name_and_colon = value.len() - digits.count();
    name_and_colon > 1 && value[name_and_colon - 1] == b':'
}

#[inline]
fn kind(byte: u8) -> u32 {
    KINDS[usize::from(byte)]
}

/// Whether colons, brackets and percent signs of a host stand where they may.
#[cold]
fn has_good_places(value: &[u8]) -> bool {
    let (host, port) = split_port(value);
    let has_good_port = match port {
        [] => true,
        [_colon, digits @ ..] => digits.iter().all(u8::is_ascii_digit),
    };
    let has_good_host = match host {
        // Only a port: an http URL has a host (RFC 9110, section 4.2.1).
        [] => value.is_empty(),
        [b'[', literal @ .., b']'] => is_ip_literal(literal),
        name => is_name(name),
    };
    has_good_port && has_good_host
}

/// The host, and the last colon with what follows it. A colon in brackets is no port's.
fn split_port(value: &[u8]) -> (&[u8], &[u8]) {
    let in_port = |byte: &u8| !matches!(byte, b':' | b']');
    let port_bytes = value.iter().rev().take_while(|byte| in_port(byte)).count();
    match value.len().checked_sub(port_bytes + 1) {
        Some(at) if value[at] == b':' => value.split_at(at),
        _ => (value, &[]),
    }
}

/// An IPv6 address, or a future one, which begins with `v`, digits and a dot.
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let digits = future.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (digits, rest) = future.split_at(digits.count());
        let is_address = |byte: &u8| !matches!(byte, b'[' | b']' | b'%');
        return !digits.is_empty()
            && rest.len() > 1
            && rest[0] == b'.'
            && rest[1..].iter().all(is_address);
    }
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// A name in which every percent sign begins an encoded byte.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, rest @ ..] => {
                if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
                    return false;
                }
                rest
            }
            [b'%' | b':' | b'[' | b']', ..] => return false,
            [_, rest @ ..] => rest,
        }
    }
}

/// Whether a Host header and the authority of a target name the same host and port (RFC 9112,
/// section 3.2): in any case of letters, and with the port of the scheme or without.
pub(super) fn is_same_host(host: &[u8], authority: &[u8], default_port: &[u8]) -> bool {
    let ((host, port), (other_host, other_port)) = (split_port(host), split_port(authority));
    let is_default = |port: &[u8]| matches!(port, [] | b":") || port == default_port;
    let is_same_port = port == other_port || is_default(port) && is_default(other_port);
    is_same_port && host.eq_ignore_ascii_case(other_host)
}

/// RFC 3986, sections 3.2.2 and 3.2.3: unreserved, sub-delims, and what only has its place.
static KINDS: [u32; 256] = {
    let mut kinds = [BAD; 256];
    let mut byte = 0;
    while byte < 128u8 {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => NAME,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => NAME,
            b':' => COLON,
            b'[' | b']' | b'%' => PLACED,
            _ => BAD,
        };
        byte += 1;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "",
            "a",
            "a-b.example_1.org",
            "localhost:8888",
            "127.0.0.1:1",
            "a:",
            "a:99999",
            "[::1]",
            "[::1]:8888",
            "[::ffff:127.0.0.1]",
            "[v1.a:b]",
            "gr%C3%BC%C3%9fe:80",
            "a,b",
        ] {
            assert!(is_host(good.as_bytes()), "{good:?}");
        }
        for long in ["a".repeat(1000), "a".repeat(300) + ":80"] {
            assert!(is_host(long.as_bytes()));
            assert!(!is_host((long + ":80:").as_bytes()));
        }
        for bad in [
            ":",
            ":80",
            "a:b",
            "a:80:80",
            "a:-1",
            "a:+1",
            "a: 1",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]]",
            "[[::1]]",
            "[::1]a",
            "[::1]:a",
            "[a]",
            "[v1]",
            "[v.a]",
            "[v1.]",
            "a[::1]",
            "[fe80::1%25eth0]",
            "%",
            "a%2",
            "%zz",
            "a/b",
            "me@a",
            "a b",
            "a\"",
            "a\\b",
            "a#b",
            "a?b",
            "\u{e4}",
            "a\0",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out() {
        for (host, authority, expected) in [
            ("a", "a", true),
            ("A", "a", true),
            ("a:80", "a", true),
            ("a", "a:80", true),
            ("a:", "a:80", true),
            ("[::1]", "[::1]:80", true),
            ("a:81", "a", false),
            ("a", "a:443", false),
            ("a", "b", false),
            ("", "a", false),
        ] {
            let same = is_same_host(host.as_bytes(), authority.as_bytes(), b":80");
            assert_eq!(same, expected, "{host:?} {authority:?}");
        }
    }
}
