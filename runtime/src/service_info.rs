//! What a balancer must know of a running service: where it listens.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::io::listen::{LocalAddress, PartitionListeners};
use crate::options::PortMode;

/// One listener of a service. A list of them is what Spark Serving's `serviceInfoJson` gives:
///
/// ```json
/// [{"name":"my_api","scheme":"http","host":"localhost","port":8888,"path":"my_api","localIp":"127.0.0.1"}]
/// ```
///
/// Beside Spark's fields it says the scheme, for a service may speak plain HTTP and TLS at once.
/// Nothing is asked of the network to fill it in; there is no `publicIp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The name of the service.
    pub name: String,
    /// What is spoken there.
    pub scheme: Scheme,
    /// The host as the options gave it (`host`, or `tlsHost`); `unix:` and the path of its socket for a Unix domain socket.
    pub host: String,
    /// The port that is bound; none for a Unix domain socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path of the service in URLs.
    pub path: String,
    /// The partition that listens here; none where all partitions share the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<usize>,
    /// An address of this machine by which the listener is reached; none for a Unix domain socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_ip: Option<IpAddr>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

impl ServiceInfo {
    /// One entry per listener, in the order of partitions and addresses. `host_of` gives the host
    /// that the options name for a scheme.
    pub(crate) fn of<H: Into<String>>(
        name: &str,
        host_of: impl Fn(Scheme) -> H,
        path: &str,
        mode: PortMode,
        partitions: &[PartitionListeners],
    ) -> Vec<Self> {
        let distinct = match mode {
            PortMode::Shared => &partitions[..partitions.len().min(1)],
            PortMode::PerPartition => partitions,
        };
        let mut infos = Vec::new();
        for (partition, listeners) in distinct.iter().enumerate() {
            for listener in listeners {
                let scheme = listener.scheme();
                let (host, port) = match listener.local() {
                    LocalAddress::Tcp(local) => (host_of(scheme).into(), Some(local.port())),
                    LocalAddress::Unix(socket) => (format!("unix:{}", socket.display()), None),
                };
                infos.push(Self {
                    name: name.to_owned(),
                    scheme,
                    host,
                    port,
                    path: path.to_owned(),
                    partition: (mode == PortMode::PerPartition).then_some(partition),
                    local_ip: listener.local_ip(),
                });
            }
        }
        infos
    }
}

/// As an argument of `curl`: a URL, or the options and URL for a Unix domain socket.
impl fmt::Display for ServiceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = (self.scheme, self.path.trim_matches('/'));
        match (self.port, self.host.strip_prefix("unix:")) {
            (Some(port), _) if matches!(self.host.as_str(), "*" | "0.0.0.0" | "::") => {
                match self.local_ip {
                    Some(IpAddr::V6(ip)) => write!(f, "{scheme}://[{ip}]:{port}/{path}"),
                    Some(IpAddr::V4(ip)) => write!(f, "{scheme}://{ip}:{port}/{path}"),
                    None => write!(f, "{scheme}://localhost:{port}/{path}"),
                }
            }
            (Some(port), _) if self.host.contains(':') && !self.host.starts_with('[') => {
                write!(f, "{scheme}://[{}]:{port}/{path}", self.host)
            }
            (Some(port), _) => write!(f, "{scheme}://{}:{port}/{path}", self.host),
            (None, Some(socket)) => write!(f, "--unix-socket {socket} {scheme}://localhost/{path}"),
            (None, None) => write!(f, "{scheme}://{}/{path}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::listen::{Address, bind};

    fn infos(host: &str, mode: PortMode) -> Vec<ServiceInfo> {
        let listeners = bind(&Address::new(host, 0), Scheme::Http, mode, 2, 10).unwrap();
        ServiceInfo::of("greeter", |_| host, "my_api", mode, &listeners)
    }

    #[test]
    fn a_shared_port_is_listed_once_in_sparks_words() {
        let infos = infos("127.0.0.1", PortMode::Shared);
        let port = infos[0].port.unwrap();
        assert_eq!(
            serde_json::to_string(&infos).unwrap(),
            format!(
                r#"[{{"name":"greeter","scheme":"http","host":"127.0.0.1","port":{port},"path":"my_api","localIp":"127.0.0.1"}}]"#
            )
        );
    }

    #[test]
    fn a_listener_for_tls_says_so() {
        let address = Address::new("127.0.0.1", 0);
        let listeners = bind(&address, Scheme::Https, PortMode::Shared, 1, 10).unwrap();
        let infos = ServiceInfo::of("a", |_| "127.0.0.1", "my_api", PortMode::Shared, &listeners);
        let port = infos[0].port.unwrap();
        assert_eq!(
            infos[0].to_string(),
            format!("https://127.0.0.1:{port}/my_api")
        );
    }

    #[test]
    fn a_port_per_partition_is_listed_with_its_partition() {
        let infos = infos("127.0.0.1", PortMode::PerPartition);
        assert_eq!(
            infos.iter().map(|info| info.partition).collect::<Vec<_>>(),
            [Some(0), Some(1)]
        );
        assert_ne!(infos[0].port, infos[1].port);
    }

    #[test]
    fn all_addresses_are_listed_with_one_of_this_machine() {
        let infos = infos("0.0.0.0", PortMode::Shared);
        assert!(
            infos[0]
                .local_ip
                .is_some_and(|ip| ip.is_ipv4() && !ip.is_unspecified())
        );
    }

    #[test]
    fn a_unix_socket_is_listed_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let host = format!("unix:{}/s", directory.path().display());
        let infos = infos(&host, PortMode::PerPartition);
        assert_eq!(infos[1].host, format!("{host}.1"));
        assert_eq!((infos[1].port, infos[1].local_ip), (None, None));
    }
}
