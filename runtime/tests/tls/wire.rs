//! Whatever may come over the wire is answered over TLS as it is without.

use std::io::Read;

use crate::certificates::Authority;
use crate::support::{Client, serve};

#[path = "../wire/mod.rs"]
mod cases;

/// All that comes back until the connection ends, without the date, and without the ids of requests.
fn exchanged(mut client: Client, bytes: &[u8]) -> String {
    // It may be refused, and the connection closed, before everything is sent.
    let _ = client.try_send(bytes);
    client.finish_sending();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).expect("an end in order");
    let reply = String::from_utf8_lossy(&reply);
    let lines = reply.split_inclusive("\r\n");
    let own = ["date: ", "x-request-id: "];
    let is_own = |line: &&str| own.iter().any(|name| line.starts_with(name));
    lines.filter(|line| !is_own(line)).collect()
}

#[test]
fn every_case_is_answered_over_tls_as_without() {
    let authority = Authority::new("ours");
    let requests = authority.reader("").option("tlsPort", 0).load().unwrap();
    let service = serve(
        requests
            .map(|request| {
                format!(
                    "{} {} {:?}",
                    request.method(),
                    request.target(),
                    request.body()
                )
            })
            .make_reply()
            .write_stream(),
    );
    let secured = service.service_info()[1].port.unwrap();
    let (mut compared, mut refused) = (0, 0);
    for case in cases::Case::all().iter().filter(|case| !case.has_limits()) {
        let plain = exchanged(service.client(), &case.bytes);
        assert_eq!(
            exchanged(authority.client(secured), &case.bytes),
            plain,
            "{}",
            case.place
        );
        compared += 1;
        refused += usize::from(plain.contains("connection: close"));
    }
    assert!(
        compared > 100 && refused > 50,
        "{compared} cases, {refused} refused"
    );
}
