//! Who may ask the admin listener for what.

use std::fs;

use snapback::{AdminError, Error};

use crate::support::{reader_in, serve};
use crate::{ask, watched};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn with_a_token_probes_answer_bare_and_the_rest_asks_for_it() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, format!("{TOKEN}\n")).expect("it is writable");
    let place = file.path().display().to_string();
    let watched = watched(&[("adminTokenFile", &place)]);
    let admin = watched.admin();
    // A name that a cluster knows the machine by.
    let host = ("Host", "api.example.internal:4040");
    let bearer = format!("Bearer {TOKEN}");
    for probe in ["/livez", "/readyz?verbose", "/startupz?json"] {
        let bare = ask(admin, "GET", probe, &[host]);
        assert_eq!(bare.status, 200);
        assert!(!bare.text().contains("api"), "{}", bare.text());
    }
    let rest = [
        ("GET", "/"),
        ("GET", "/api/v1/queries"),
        ("GET", "/api/v1/queries/api"),
        ("GET", "/nothing"),
        ("POST", "/api/v1/queries/api/stop"),
        ("POST", "/api/v1/queries/api/drain"),
    ];
    for (method, target) in rest {
        let bare = ask(admin, method, target, &[host]);
        assert_eq!(
            (bare.status, bare.header("www-authenticate")),
            (401, Some("Bearer"))
        );
        for wrong in [
            "Bearer wrong",
            "Bearer 0123456789abcdef0123456789abcdeF",
            TOKEN,
        ] {
            let refused = ask(admin, method, target, &[host, ("Authorization", wrong)]);
            assert_eq!(refused.status, 401, "{target}");
        }
    }
    assert!(watched.service.is_active());
    let shown = [host, ("Authorization", bearer.as_str())];
    let verbose = ask(admin, "GET", "/readyz?verbose", &shown);
    assert!(verbose.text().contains("[+] api"), "{}", verbose.text());
    assert_eq!(ask(admin, "GET", "/api/v1/queries", &shown).status, 200);
    let stopped = ask(admin, "POST", "/api/v1/queries/api/stop", &shown);
    assert_eq!(stopped.status, 200);
    assert!(!watched.service.is_active());
}

#[test]
fn a_page_of_another_site_can_neither_read_nor_stop() {
    let watched = watched(&[]);
    let admin = watched.admin();
    // The site's own name, resolved to this machine.
    let rebound = [("Host", "evil.example:4040")];
    // A form that is sent from the site's page.
    let own_host = admin.to_string();
    let form = [
        ("Host", own_host.as_str()),
        ("Origin", "http://evil.example"),
    ];
    for headers in [&rebound[..], &form[..]] {
        for (method, target) in [
            ("GET", "/readyz"),
            ("GET", "/api/v1/queries"),
            ("POST", "/api/v1/queries/api/stop"),
        ] {
            assert_eq!(ask(admin, method, target, headers).status, 403, "{target}");
        }
    }
    assert!(watched.service.is_active());
    assert_eq!(
        ask(admin, "GET", "/", &[]).header("access-control-allow-origin"),
        None
    );
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let session = snapback::Session::new();
    let start = |address: &str, file: &str| {
        let reader = reader_in(&session, "api").option("adminAddress", address);
        let requests = reader.load().expect("good options");
        let writer = requests.map(|_| 1).make_reply().write_stream();
        writer.option("adminTokenFile", file).start()
    };
    for address in ["0.0.0.0:0", "[::]:0"] {
        let error = start(address, "").expect_err("it is refused");
        let text = error.to_string();
        let Error::Admin(admin) = error else {
            panic!("{text}");
        };
        assert!(matches!(*admin, AdminError::TokenMissing { .. }), "{text}");
        assert!(text.contains("adminTokenFile"), "{text}");
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, "hunter2").expect("it is writable");
    let error = start("127.0.0.1:0", &file.path().display().to_string());
    let text = error.expect_err("it is refused").to_string();
    assert!(
        text.contains("16 bytes") && !text.contains("hunter2"),
        "{text}"
    );
    assert_eq!(session.admin_address(), None);
    // Nothing of them is left.
    let reader = reader_in(&session, "api").option("adminAddress", "127.0.0.1:0");
    let writer = reader.load().expect("good options").map(|_| 1).make_reply();
    let _service = serve(writer.write_stream());
    assert!(session.admin_address().is_some());
}
