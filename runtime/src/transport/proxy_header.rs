//! The header by which a balancer names the client it speaks for: the PROXY protocol, versions 1
//! and 2, as HAProxy's `doc/proxy-protocol.txt` defines them. Bytes in, values out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use snapback_operators::Peer;

/// How a header of version 1, a line of text, begins.
const V1: &[u8] = b"PROXY ";
/// How a header of version 2 begins. No line of HTTP or record of TLS does.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its CRLF (section 2.1).
const V1_BYTES: usize = 107;
/// Signature, command, family and length of version 2 (section 2.2).
const V2_FIXED_BYTES: usize = 16;
/// The longest header of version 2 that is read. Addresses take 216 bytes at most; what comes
/// behind them, a client's certificate names for instance, is passed over.
const V2_BYTES: usize = 4 << 10;

/// A header, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// How long it is; what comes behind it is the client's.
    pub(crate) bytes: usize,
    /// The client, unless the balancer speaks for itself or does not know.
    pub(crate) client: Option<Peer>,
}

/// Why the beginning of a connection is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it does not begin with a PROXY header; let the balancer send one (`send-proxy`)")]
    Signature,
    #[error("its line of version 1 is not of the form `PROXY TCP4 source destination port port`")]
    Line,
    #[error("its line of version 1 is longer than {V1_BYTES} bytes")]
    LineTooLong,
    #[error("its version or command is {0:#04x}, which version 2 does not have")]
    Command(u8),
    #[error("its address family is {0:#04x}, which version 2 does not have")]
    Family(u8),
    #[error("its length of {0} bytes does not hold the addresses of its family")]
    TooShort(usize),
    #[error("its length of {0} bytes is more than the {V2_BYTES} that are read")]
    TooLong(usize),
}

/// Reads the header at the beginning of what a connection sent so far; `None` asks for more. It is
/// refused as early as a byte shows that it cannot become one.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    let begins = |signature: &[u8]| {
        let common = bytes.len().min(signature.len());
        bytes[..common] == signature[..common]
    };
    if begins(V2) {
        return parse_v2(bytes);
    }
    if begins(V1) {
        return parse_v1(bytes);
    }
    Err(Malformed::Signature)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    let shown = &bytes[..bytes.len().min(V1_BYTES)];
    let Some(end) = memchr::memchr(b'\n', shown) else {
        return match bytes.len() {
            0..V1_BYTES => Ok(None),
            _ => Err(Malformed::LineTooLong),
        };
    };
    let line = shown[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let line = line.strip_prefix(V1).ok_or(Malformed::Line)?;
    Ok(Some(ProxyHeader {
        bytes: end + 1,
        client: client_of_line(line)?,
    }))
}

/// The client in a line without its `PROXY ` and its end.
fn client_of_line(line: &[u8]) -> Result<Option<Peer>, Malformed> {
    // Whatever else such a line says is to be ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let words: [&str; 4] = words
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| Malformed::Line)?;
    let [source, destination, source_port, destination_port] = words;
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| Malformed::Line),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| Malformed::Line),
        _ => Err(Malformed::Line),
    };
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (v1_port(source_port)?, v1_port(destination_port)?);
    Ok(Some(Peer::Tcp(SocketAddr::new(source, port))))
}

/// A decimal number without leading zeros, which some read as octal.
fn v1_port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_plain && (text == "0" || !text.starts_with('0'));
    let port = is_plain.then(|| text.parse().ok()).flatten();
    port.ok_or(Malformed::Line)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    const PROXY: u8 = 0x21;
    const LOCAL: u8 = 0x20;
    let Some(&command) = bytes.get(12) else {
        return Ok(None);
    };
    if !matches!(command, PROXY | LOCAL) {
        return Err(Malformed::Command(command));
    }
    let Some(&[family, high, low]) = bytes.get(13..V2_FIXED_BYTES) else {
        return Ok(None);
    };
    let end = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if end > V2_BYTES {
        return Err(Malformed::TooLong(end));
    }
    let Some(addresses) = bytes.get(V2_FIXED_BYTES..end) else {
        return Ok(None);
    };
    let client = match command {
        PROXY => client_of_addresses(family, addresses)?,
        // A health check of the balancer's own; its family is to be ignored.
        _ => None,
    };
    Ok(Some(ProxyHeader { bytes: end, client }))
}

fn client_of_addresses(family: u8, addresses: &[u8]) -> Result<Option<Peer>, Malformed> {
    let too_short = Malformed::TooShort(addresses.len());
    let protocol = family & 0x0f;
    if protocol > 2 {
        return Err(Malformed::Family(family));
    }
    let client = match family >> 4 {
        0 => return Ok(None),
        1 => {
            let block: &[u8; 12] = addresses.first_chunk().ok_or(too_short)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *block;
            let port = u16::from_be_bytes([high, low]);
            Peer::Tcp(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port))
        }
        2 => {
            let block: &[u8; 36] = addresses.first_chunk().ok_or(too_short)?;
            let (source, rest) = block.split_first_chunk::<16>().ok_or(too_short)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            Peer::Tcp(SocketAddr::new(Ipv6Addr::from(*source).into(), port))
        }
        3 if addresses.len() >= 216 => Peer::Unix,
        3 => return Err(too_short),
        _ => return Err(Malformed::Family(family)),
    };
    // Of an unspecified protocol the addresses mean nothing.
    Ok((protocol != 0).then_some(client))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2: command, family and what follows its length.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &len, rest].concat()
    }

    fn shown(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(None) => "more".to_owned(),
            Ok(Some(ProxyHeader { bytes, client })) => match client {
                Some(client) => format!("{bytes} bytes from {client}"),
                None => format!("{bytes} bytes"),
            },
            Err(malformed) => malformed.to_string(),
        }
    }

    /// Every prefix asks for more; what comes behind the header changes nothing.
    fn check(header: &[u8], expect: Expect) {
        let verdict = shown(header);
        let is_good = parse(header).is_ok_and(|header| header.is_some());
        for split in (0..header.len()).filter(|_| is_good) {
            assert_eq!(parse(&header[..split]), Ok(None), "cut at {split}");
        }
        let followed = [header, b"GET / HTTP/1.1\r\n".as_slice()].concat();
        if is_good {
            assert_eq!(shown(&followed), verdict);
        }
        expect.assert_eq(&verdict);
    }

    #[test]
    fn version_1_is_a_line() {
        check(
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
            expect!["45 bytes from 192.0.2.7:56324"],
        );
        check(
            b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
            expect!["44 bytes from [2001:db8::7]:1"],
        );
        check(b"PROXY UNKNOWN\r\n", expect!["15 bytes"]);
        check(
            b"PROXY UNKNOWN ffff::1 whatever 0 \xff\xff\r\n",
            expect!["37 bytes"],
        );
        let longest = [
            b"PROXY UNKNOWN ".as_slice(),
            &[b'x'; V1_BYTES - 16],
            b"\r\n",
        ]
        .concat();
        check(&longest, expect!["107 bytes"]);
    }

    #[test]
    fn a_line_that_is_not_to_the_letter_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 1 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 443\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line}");
        }
        assert_eq!(
            parse(&[V1, &[b'x'; 101]].concat()),
            Err(Malformed::LineTooLong)
        );
        for other in [
            "GET / HTTP/1.1\r\n",
            "PROXZ",
            "proxy ",
            "\x16\x03\x01",
            "\r\n\r\nx",
        ] {
            assert_eq!(
                parse(other.as_bytes()),
                Err(Malformed::Signature),
                "{other:?}"
            );
        }
    }

    #[test]
    fn version_2_is_binary() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 187];
        check(
            &v2(0x21, 0x11, &v4),
            expect!["28 bytes from 192.0.2.7:56324"],
        );
        check(
            &v2(0x21, 0x12, &v4),
            expect!["28 bytes from 192.0.2.7:56324"],
        );
        let with_tlv = [v4.as_slice(), &[4, 0, 2, 0, 0]].concat();
        check(
            &v2(0x21, 0x11, &with_tlv),
            expect!["33 bytes from 192.0.2.7:56324"],
        );
        let v6 = [
            &[0x20, 1, 0xd, 0xb8],
            [7; 12].as_slice(),
            &[9; 16],
            &[0, 80, 1, 187],
        ]
        .concat();
        check(
            &v2(0x21, 0x21, &v6),
            expect!["52 bytes from [2001:db8:707:707:707:707:707:707]:80"],
        );
        check(&v2(0x21, 0x31, &[0; 216]), expect!["232 bytes from unix"]);
        check(&v2(0x21, 0x00, &[]), expect!["16 bytes"]);
        check(&v2(0x21, 0x10, &v4), expect!["28 bytes"]);
        check(&v2(0x20, 0xff, b"ignored"), expect!["23 bytes"]);
    }

    #[test]
    fn what_version_2_does_not_have_is_refused() {
        check(
            &v2(0x22, 0x11, &[0; 12]),
            expect!["its version or command is 0x22, which version 2 does not have"],
        );
        check(
            &v2(0x11, 0x11, &[0; 12]),
            expect!["its version or command is 0x11, which version 2 does not have"],
        );
        check(
            &v2(0x21, 0x41, &[0; 12]),
            expect!["its address family is 0x41, which version 2 does not have"],
        );
        check(
            &v2(0x21, 0x13, &[0; 12]),
            expect!["its address family is 0x13, which version 2 does not have"],
        );
        check(
            &v2(0x21, 0x11, &[0; 11]),
            expect!["its length of 11 bytes does not hold the addresses of its family"],
        );
        check(
            &v2(0x21, 0x31, &[0; 215]),
            expect!["its length of 215 bytes does not hold the addresses of its family"],
        );
        // The length alone decides: nothing of so long a header is waited for.
        let too_long = v2(0x21, 0x11, &vec![0; V2_BYTES]);
        assert_eq!(
            parse(&too_long[..V2_FIXED_BYTES]),
            Err(Malformed::TooLong(V2_BYTES + V2_FIXED_BYTES))
        );
    }

    proptest! {
        /// More bytes never change a verdict, and what asks for more is bounded.
        #[test]
        fn a_verdict_is_final(
            signature in prop_oneof![Just(V1), Just(V2), Just(b"".as_slice())],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [signature, &rest].concat();
            let whole = parse(&bytes);
            if let Ok(Some(header)) = whole {
                prop_assert!(header.bytes <= bytes.len());
            }
            for split in 0..bytes.len() {
                match parse(&bytes[..split]) {
                    Ok(None) => prop_assert!(split < V2_BYTES),
                    verdict => prop_assert_eq!(verdict, whole),
                }
            }
        }

        #[test]
        fn what_a_balancer_writes_is_read(source: SocketAddr, destination_port: u16) {
            let ip = source.ip();
            let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {ip} {ip} {} {destination_port}\r\n", source.port());
            let expected = ProxyHeader {
                bytes: line.len(),
                // The line has no room for a scope or a flow label.
                client: Some(Peer::Tcp(SocketAddr::new(ip, source.port()))),
            };
            prop_assert_eq!(parse(line.as_bytes()), Ok(Some(expected)));
        }
    }
}
