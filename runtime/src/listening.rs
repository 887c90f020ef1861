//! Where a query listens, and what it speaks there.

use std::sync::Arc;

use crate::error::Result;
use crate::io::listen::Address;
use crate::options::{OptionError, Options};
use crate::reloads::Reloads;
use crate::service_info::Scheme;
use crate::transport::Entrance;
use crate::transport::tls::{Certificates, TlsFiles};

/// Checks and reads what connections are to meet before HTTP.
pub(crate) fn entrance(options: &Options, reloads: &Arc<Reloads>) -> Result<Entrance> {
    let certificates = match TlsFiles::of(options)? {
        Some(files) => Some(Certificates::load(files, Arc::clone(reloads))?),
        None => None,
    };
    if !options.proxy_protocol {
        return Ok(Entrance {
            certificates,
            proxies: None,
        });
    }
    if options.trusted_proxies.is_empty() {
        return Err(bad_value(
            "trustedProxies",
            String::new(),
            "the balancers that send the header, such as `10.0.0.0/8`, since proxyProtocol is on",
        ));
    }
    Ok(Entrance {
        certificates,
        proxies: Some(Arc::new(options.trusted_proxies.clone())),
    })
}

/// The host that the options name for a scheme.
pub(crate) fn host(options: &Options, scheme: Scheme) -> &str {
    match (scheme, &options.tls_host) {
        (Scheme::Https, Some(host)) => host,
        _ => &options.host,
    }
}

/// The addresses to listen at: for plain HTTP first, then for TLS. With certificates alone the one address speaks TLS; with a place of
/// its own for TLS the other one stays plain.
pub(crate) fn places(options: &Options) -> Result<Vec<(Scheme, Address)>> {
    let first = Address::new(&options.host, options.port);
    let tls_host = host(options, Scheme::Https);
    let is_unix = tls_host.starts_with("unix:");
    let tls = match (options.tls_port, &options.tls_host) {
        (None, None) if options.tls_cert_file.is_none() => return Ok(vec![(Scheme::Http, first)]),
        (None, None) => return Ok(vec![(Scheme::Https, first)]),
        (_, Some(_)) if is_unix => Address::new(tls_host, 0),
        (Some(_), None) if is_unix => {
            return Err(bad_value(
                "tlsHost",
                String::new(),
                "a host with a port, or another Unix domain socket, since host is a Unix domain socket and tlsPort is given",
            ));
        }
        (Some(port), _) => Address::new(tls_host, port),
        (None, Some(host)) => {
            return Err(bad_value(
                "tlsPort",
                String::new(),
                &format!("the port for TLS, such as `8443`, since tlsHost is `{host}`"),
            ));
        }
    };
    Ok(vec![(Scheme::Http, first), (Scheme::Https, tls)])
}

fn bad_value(key: &'static str, value: String, allowed: &str) -> crate::Error {
    let allowed = allowed.to_owned();
    OptionError::BadValue {
        key,
        value,
        allowed,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(options: &[(&str, &str)], expect: Expect) {
        let mut parsed = Options::default();
        for (key, value) in options {
            parsed.set(key, value).unwrap();
        }
        let shown = match places(&parsed) {
            Ok(places) => {
                let places = places.iter().map(|(scheme, place)| match place {
                    Address::Tcp { host, port } => format!("{scheme} {host}:{port}"),
                    Address::Unix(path) => format!("{scheme} {}", path.display()),
                });
                places.collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn plain_and_tls_may_stand_side_by_side() {
        let tls = ("tlsCertFile", "cert.pem");
        check(&[], expect!["http localhost:8888"]);
        check(&[tls], expect!["https localhost:8888"]);
        check(
            &[tls, ("tlsPort", "8443")],
            expect!["http localhost:8888, https localhost:8443"],
        );
        check(
            &[tls, ("tlsPort", "8443"), ("tlsHost", "*")],
            expect!["http localhost:8888, https *:8443"],
        );
        check(
            &[
                tls,
                ("host", "unix:/run/a"),
                ("tlsPort", "443"),
                ("tlsHost", "*"),
            ],
            expect!["http /run/a, https *:443"],
        );
        check(
            &[tls, ("tlsHost", "unix:/run/b")],
            expect!["http localhost:8888, https /run/b"],
        );
        check(
            &[tls, ("tlsHost", "*")],
            expect![
                "option `tlsPort` cannot be ``: it must be the port for TLS, such as `8443`, since tlsHost is `*`"
            ],
        );
        check(
            &[tls, ("host", "unix:/run/a"), ("tlsPort", "443")],
            expect![
                "option `tlsHost` cannot be ``: it must be a host with a port, or another Unix domain socket, since host is a Unix domain socket and tlsPort is given"
            ],
        );
    }
}
