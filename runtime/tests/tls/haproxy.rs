//! HAProxy stands before a service.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::certificates::{Authority, VERSIONS, secure_over};
use crate::echo;
use crate::programs::is_there;
use crate::support::{Client, eventually, serve};

/// HAProxy from Debian, which ends with the test.
struct Haproxy(Child);

impl Haproxy {
    /// Listens at one port for each way to speak to the service, in this order.
    fn start(folder: &std::path::Path, ports: &[u16], servers: &[String]) -> Haproxy {
        let mut config = "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n".to_owned();
        for (index, (port, server)) in ports.iter().zip(servers).enumerate() {
            config += &format!("listen l{index}\n  bind 127.0.0.1:{port}\n  server s {server}\n");
        }
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("haproxy");
        command
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null());
        Haproxy(command.spawn().expect("haproxy runs"))
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap())
        .collect();
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    listeners.iter().map(port).collect()
}

#[test]
fn haproxy_names_the_client() {
    if !is_there("haproxy_names_the_client", "haproxy") {
        return;
    }
    let authority = Authority::new("ours");
    let reader = authority.reader("api").option("tlsPort", 0);
    let reader = reader
        .option("proxyProtocol", "on")
        .option("trustedProxies", "127.0.0.1");
    let service = serve(echo(reader));
    let of = |index: usize| service.service_info()[index].port.unwrap();
    let (plain, secured) = (of(0), of(1));
    let servers: Vec<_> = [plain, secured]
        .iter()
        .flat_map(|port| {
            ["send-proxy", "send-proxy-v2"].map(|way| format!("127.0.0.1:{port} {way}"))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports(4);
    let mut haproxy = Haproxy::start(folder.path(), &ports, &servers);
    for (index, port) in ports.into_iter().enumerate() {
        let stream = eventually("haproxy listens", || {
            assert_eq!(haproxy.0.try_wait().unwrap(), None, "haproxy ended");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let own = stream.local_addr().unwrap().to_string();
        let mut client = if index < 2 {
            Client::over(stream)
        } else {
            let config = authority.client_config(&VERSIONS, None);
            Client::secured(secure_over(config, stream))
        };
        assert_eq!(client.get("/api").text(), own, "way {index}");
    }
}
