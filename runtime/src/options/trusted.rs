//! Who may speak for a client: the option `trustedProxies`.

use std::fmt;
use std::net::IpAddr;

use snapback_operators::Peer;

/// The balancers whose word on a client's address is taken (option `trustedProxies`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustedProxies {
    /// The networks that they connect from.
    pub networks: Vec<Network>,
    /// Whether whoever connects to a Unix domain socket is one of them.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether a connection from `peer` is a balancer's.
    ///
    /// ```
    /// use snapback::options::Options;
    /// use snapback::Peer;
    ///
    /// let mut options = Options::default();
    /// options.set("trustedProxies", "10.0.0.0/8, ::1")?;
    /// let balancer = Peer::Tcp("10.1.2.3:40000".parse().unwrap());
    /// assert!(options.trusted_proxies.contains(&balancer));
    /// assert!(!options.trusted_proxies.contains(&Peer::Unix));
    /// # Ok::<(), snapback::options::OptionError>(())
    /// ```
    pub fn contains(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Tcp(address) => {
                let ip = address.ip().to_canonical();
                self.networks.iter().any(|network| network.contains(ip))
            }
            Peer::Unix => self.unix,
        }
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for network in &self.networks {
            write!(f, "{separator}{network}")?;
            separator = ",";
        }
        if self.unix {
            write!(f, "{separator}unix")?;
        }
        Ok(())
    }
}

/// A network of IPv4 or IPv6: the addresses that share a prefix (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads `address` or `address/bits`. Bits behind the prefix must be zero: `10.0.0.1/8` is more
    /// likely a slip than a network.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all_bits = address_bits(address);
        let prefix_bits = match bits {
            Some(bits) if bits.bytes().all(|digit| digit.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => all_bits,
        };
        let network = Network {
            address,
            prefix_bits,
        };
        let fits = prefix_bits <= all_bits && network.prefix_of(address) == value_of(address);
        fits.then_some(network)
    }

    fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.address.is_ipv4() && self.prefix_of(ip) == value_of(self.address)
    }

    /// The address with the bits behind the prefix cleared.
    fn prefix_of(&self, ip: IpAddr) -> u128 {
        let host_bits = u32::from(address_bits(ip) - self.prefix_bits);
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        value_of(ip) & mask
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.prefix_bits < address_bits(self.address) {
            write!(f, "/{}", self.prefix_bits)?;
        }
        Ok(())
    }
}

fn address_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn value_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_of_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::1/128", "::1", "::2"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0",
            "localhost",
            "",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    /// A listener at `::` that takes IPv4 as well would see such addresses; an operator writes the
    /// plain ones.
    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_known() {
        let proxies = TrustedProxies {
            networks: vec![Network::parse("127.0.0.0/8").unwrap()],
            unix: false,
        };
        let mapped = Peer::Tcp("[::ffff:127.0.0.1]:80".parse().unwrap());
        assert!(proxies.contains(&mapped));
    }
}
