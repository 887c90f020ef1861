//! What is seen of files that are read again while a query serves.

use std::fs;

use crate::metrics::{Samples, of_api, scrape_until};
use crate::support::eventually;
use crate::watched;

/// The reloads of a kind: those that succeeded and failed, and whether the last was good.
fn reloads(samples: &Samples, kind: &str) -> [f64; 3] {
    let of = |name, labels: &str| of_api(samples, name, &format!(",kind=\"{kind}\"{labels}"));
    [
        of("snapback_reloads_total", ",result=\"success\""),
        of("snapback_reloads_total", ",result=\"failure\""),
        of("snapback_last_reload_successful", ""),
    ]
}

#[test]
fn files_that_cannot_be_used_are_seen_and_the_query_stays_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let keys = format!("one:sha256:{}\n", "1".repeat(64));
    fs::write(path("cert"), certificate).unwrap();
    fs::write(path("key"), &key).unwrap();
    fs::write(path("keys"), &keys).unwrap();
    let watched = watched(&[
        ("tlsCertFile", &path("cert")),
        ("tlsKeyFile", &path("key")),
        ("authKeysFile", &path("keys")),
    ]);
    let until = |what: &str, kind: &str, expected: [f64; 3]| {
        scrape_until(watched.admin(), what, |samples| {
            reloads(samples, kind) == expected
        })
    };
    let at_first = until("nothing yet", "keys", [0.0, 0.0, 1.0]);
    assert_eq!(reloads(&at_first, "certificates"), [0.0, 0.0, 1.0]);

    for (file, kind, good) in [("key", "certificates", &key), ("keys", "keys", &keys)] {
        fs::write(path(file), "spoilt").unwrap();
        let samples = until("a failure", kind, [0.0, 1.0, 0.0]);
        assert_eq!(of_api(&samples, "snapback_query_ready", ""), 1.0);
        assert_eq!(watched.get("/readyz").status, 200);
        let query = watched.get("/api/v1/queries/api").json();
        let failed = query["failedReloads"].as_array().unwrap();
        assert_eq!(
            (failed.len(), &failed[0]["kind"]),
            (1, &kind.into()),
            "{query}"
        );
        assert!(
            failed[0]["error"].as_str().unwrap().contains(&path(file)),
            "{query}"
        );
        let status = watched.service.status();
        assert!(status.not_ready.is_empty());
        assert_eq!(status.failed_reloads[0].kind.name(), kind);

        fs::write(path(file), good).unwrap();
        until("a success", kind, [1.0, 1.0, 1.0]);
        eventually("the status", || {
            watched
                .service
                .status()
                .failed_reloads
                .is_empty()
                .then_some(())
        });
        let query = watched.get("/api/v1/queries/api").json();
        assert_eq!(query["failedReloads"], serde_json::json!([]));
    }
}

/// One that somebody asked for counts as one that the query does by itself.
#[test]
fn a_reload_by_hand_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("cert"), made.cert.pem()).unwrap();
    fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let watched = watched(&[("tlsCertFile", &path("cert")), ("tlsKeyFile", &path("key"))]);
    watched.service.reload_tls().unwrap();
    scrape_until(watched.admin(), "a success", |samples| {
        reloads(samples, "certificates") == [1.0, 0.0, 1.0]
    });
}
