//! The PROXY header that a balancer sends before anything else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use snapback::Peer;
use snapback::internals::proxy_header;

/// What is made of the beginning of a connection: the length of the header and the client it
/// names; `None` asks for more.
type Read = Result<Option<(usize, Option<Peer>)>, String>;

/// Any bytes as the beginning of a connection.
///
/// # Panics
///
/// If a header is read before it is whole, changes when more arrives, comes back after it was
/// refused, or names another client than a second reading of it does.
pub fn run(bytes: &[u8]) {
    let whole = proxy_header(bytes);
    let mut earlier: Read = Ok(None);
    for len in 0..bytes.len() {
        let read = proxy_header(&bytes[..len]);
        match &earlier {
            Ok(None) => {}
            Ok(Some(_)) => assert_eq!(read, earlier, "after {len} bytes"),
            Err(_) => assert!(read.is_err(), "after {len} bytes: {read:?}"),
        }
        if let Ok(Some((header_bytes, _))) = read {
            assert!(header_bytes <= len, "{header_bytes} of {len} bytes");
        }
        earlier = read;
    }
    match (&earlier, &whole) {
        (Ok(None), _) => {}
        (Ok(Some(_)), _) => assert_eq!(whole, earlier),
        (Err(_), _) => assert!(whole.is_err(), "{whole:?}"),
    }
    if let Ok(Some((header_bytes, client))) = whole {
        let (header, _) = bytes.split_at(header_bytes);
        assert_eq!(Some(client), client_of(header), "{}", header.escape_ascii());
    }
}

/// The client that a whole header names, read a second time and simply; `None` if it is none.
fn client_of(header: &[u8]) -> Option<Option<Peer>> {
    match header.strip_prefix(b"PROXY ") {
        Some(line) => client_of_text(line.strip_suffix(b"\r\n")?),
        None => client_of_binary(header.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?),
    }
}

fn client_of_text(line: &[u8]) -> Option<Option<Peer>> {
    if line.contains(&b'\n') {
        return None;
    }
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let words: Vec<_> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let &[family, source, destination, port, other_port] = words.as_slice() else {
        return None;
    };
    let number = |text: &str| {
        let number: u16 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    };
    let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
    let is_of_family = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let (port, _) = (number(port)?, number(other_port)?);
    is_of_family.then(|| Some(Peer::Tcp(SocketAddr::new(source, port))))
}

fn client_of_binary(header: &[u8]) -> Option<Option<Peer>> {
    let ([command, family, high, low], addresses) = header.split_first_chunk::<4>()?;
    if usize::from(*high) << 8 | usize::from(*low) != addresses.len() {
        return None;
    }
    let named = |client| Some((family & 0x0f != 0).then_some(client));
    let (address, port): (IpAddr, _) = match (command, family >> 4, family & 0x0f) {
        (0x20, _, _) | (0x21, 0, 0..=2) => return Some(None),
        (0x21, 1, 0..=2) => (
            Ipv4Addr::from(*addresses.first_chunk::<4>()?).into(),
            addresses.get(8..12)?,
        ),
        (0x21, 2, 0..=2) => (
            Ipv6Addr::from(*addresses.first_chunk::<16>()?).into(),
            addresses.get(32..36)?,
        ),
        (0x21, 3, 0..=2) if addresses.len() >= 2 * 108 => return named(Peer::Unix),
        _ => return None,
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    named(Peer::Tcp(SocketAddr::new(address, port)))
}
