use std::path::PathBuf;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// Sets one option of the defaults and shows the value that it got, or the error.
fn check(key: &str, value: &str, expect: Expect) {
    let mut options = Options::default();
    let shown = match options.set(key, value) {
        Ok(()) => {
            let spec = OPTIONS
                .iter()
                .find(|spec| spec.key.eq_ignore_ascii_case(key))
                .unwrap();
            assert_eq!(options.check(), Ok(()));
            (spec.show)(&options)
        }
        Err(error) => {
            assert_eq!(
                options,
                Options::default(),
                "a refused option changes nothing"
            );
            error.to_string()
        }
    };
    expect.assert_eq(&shown);
}

#[test]
fn values_parse_in_the_forms_that_spark_users_write() {
    check("host", " ::1 ", expect!["::1"]);
    check("port", "0", expect!["0"]);
    check("numPartitions", "2", expect!["2"]);
    check("numpartitions", "3", expect!["3"]);
    check("NUMPARTITIONS", "4", expect!["4"]);
    check("pollMode", "Spin", expect!["spin"]);
    check("portMode", "perpartition", expect!["perPartition"]);
    check("spinDuration", "50us", expect!["50us"]);
    check("spinDuration", "50 µs", expect!["50us"]);
    check("spinDuration", "0", expect!["0s"]);
    check("shutdownTimeout", "1500", expect!["1500ms"]);
    check("shutdownTimeout", "10ms", expect!["10ms"]);
    check("shutdownTimeout", "1s", expect!["1s"]);
    check("shutdownTimeout", "1 second", expect!["1s"]);
    check("shutdownTimeout", "2 minutes", expect!["2min"]);
    check("shutdownTimeout", "120 seconds", expect!["2min"]);
    check("shutdownTimeout", "1H", expect!["1h"]);
    check("maxRequestBytes", "8MiB", expect!["8 MiB"]);
    check("maxRequestBytes", "8m", expect!["8 MiB"]);
    check("maxRequestBytes", "64 kb", expect!["64 KiB"]);
    check("maxRequestBytes", "1000", expect!["1000"]);
    check("maxRequestBytes", "1GB", expect!["1 GiB"]);
    check("pinning", "AUTO", expect!["auto"]);
    check("pinning", "off", expect!["off"]);
    check("listenFds", "AUTO", expect!["auto"]);
    check("listenFds", "off", expect!["off"]);
    check("listenFds", " web-1 ", expect!["web-1"]);
    check("pinning", "0,2, 4-7", expect!["0,2,4,5,6,7"]);
    check("path", "/v1/my_api", expect!["/v1/my_api"]);
    check("tlsMinVersion", "1.3", expect!["1.3"]);
    check("tlsPort", "8443", expect!["8443"]);
    check("tlsPort", "", expect![""]);
    check("proxyProtocol", "ON", expect!["on"]);
    check("proxyProtocol", "false", expect!["off"]);
    check(
        "trustedProxies",
        "10.0.0.0/8, 192.0.2.1/32 ,unix,fd00::/8",
        expect!["10.0.0.0/8,192.0.2.1,fd00::/8,unix"],
    );
    check(
        "checkpointLocation",
        "file:///tmp/c",
        expect!["file:///tmp/c"],
    );
    check("adminAddress", "None", expect!["none"]);
    check("adminAddress", " localhost:0 ", expect!["localhost:0"]);
    check("adminAddress", "[::1]:4041", expect!["[::1]:4041"]);
}

#[test]
fn a_bad_value_is_told_what_is_allowed() {
    check(
        "listenFds",
        "a:b",
        expect![
            "option `listenFds` cannot be `a:b`: it must be `auto`, `off` or a name of up to 255 ASCII characters without `:`"
        ],
    );
    check(
        "numPartitions",
        "0",
        expect!["option `numPartitions` cannot be `0`: it must be a whole number from 1 to 1024"],
    );
    check(
        "port",
        "65536",
        expect!["option `port` cannot be `65536`: it must be a whole number from 0 to 65535"],
    );
    check(
        "PORT",
        "http",
        expect!["option `port` cannot be `http`: it must be a whole number from 0 to 65535"],
    );
    check(
        "host",
        "",
        expect!["option `host` cannot be ``: it must be a text that is not empty"],
    );
    check(
        "pollMode",
        "busy",
        expect![
            "option `pollMode` cannot be `busy`: it must be `blocking` or `adaptive` or `spin`"
        ],
    );
    check(
        "spinDuration",
        "50 parsecs",
        expect![
            "option `spinDuration` cannot be `50 parsecs`: it must be a duration such as `50us`, `10ms`, `1s` or `2 minutes`; a plain number is milliseconds"
        ],
    );
    check(
        "maxHeadBytes",
        "100",
        expect![
            "option `maxHeadBytes` cannot be `100`: it must be a size from 512 to 16 MiB, such as `64 KiB`, `8m` or `1048576`"
        ],
    );
    check(
        "pinning",
        "7-4",
        expect![
            "option `pinning` cannot be `7-4`: it must be `auto`, `off` or a list of cores below 1024 such as `0,2,4-7`"
        ],
    );
    check(
        "tlsPort",
        "65536",
        expect!["option `tlsPort` cannot be `65536`: it must be a whole number from 0 to 65535"],
    );
    check(
        "proxyProtocol",
        "v2",
        expect!["option `proxyProtocol` cannot be `v2`: it must be `on` or `off`"],
    );
    check(
        "trustedProxies",
        "10.0.0.1/8",
        expect![
            "option `trustedProxies` cannot be `10.0.0.1/8`: it must be a list of addresses, networks without host bits and `unix`, such as `10.1.2.3, 192.168.0.0/16, fd00::/8, unix`"
        ],
    );
    check(
        "path",
        "a b?c",
        expect![
            "option `path` cannot be `a b?c`: it must be a path such as `my_api` or `/v1/my_api`: visible ASCII without `?` and `#`, other characters percent-encoded"
        ],
    );
    for text in ["", "s", "-1s", "1.5s", "99999999999d", "1 s s", "١s"] {
        assert!(
            Options::default().set("shutdownDelay", text).is_err(),
            "{text}"
        );
    }
    for text in [
        "",
        "4040",
        ":4040",
        "::1:4040",
        "[]:1",
        "a b:1",
        "localhost:65536",
    ] {
        assert!(
            Options::default().set("adminAddress", text).is_err(),
            "{text}"
        );
    }
    for text in ["1-", "-1", "1,,2", "1024", "0-99999999999", "a"] {
        assert!(Options::default().set("pinning", text).is_err(), "{text}");
    }
}

#[test]
fn an_unknown_key_is_told_the_nearest_one() {
    check(
        "numPartition",
        "2",
        expect![
            "unknown option `numPartition` (did you mean `numPartitions`?); the options are host, port, path, name, numPartitions, pinning, pollMode, spinDuration, portMode, tlsCertFile, tlsKeyFile, tlsClientCaFile, tlsMinVersion, tlsPort, tlsHost, proxyProtocol, trustedProxies, maxPortAttempts, listenFds, handoffSocket, maxRequestBytes, maxHeadBytes, acceptEncodings, authKeysFile, authKeysEnv, apiKeyHeader, requestIdHeader, traceContext, openApi, maxPipelined, maxReplyBufferBytes, maxRequestsPerConnection, headerTimeout, bodyTimeout, minBodyRate, keepAliveTimeout, writeTimeout, lingerTimeout, maxQueueDelay, maxConnections, maxInFlight, unansweredReply, maxAttempts, requestTimeout, shutdownDelay, shutdownTimeout, checkpointLocation, minEpochsToRetain, recentProgress, maxCheckpointLag, teeOverflow, teeBufferBytes, adminAddress, adminTokenFile"
        ],
    );
    let nearest = |key: &str| match Options::default().set(key, "1") {
        Err(OptionError::UnknownKey { nearest, .. }) => nearest,
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(nearest("chekpointlocation"), Some("checkpointLocation"));
    assert_eq!(nearest("prot"), Some("port"));
    assert_eq!(nearest("deployLoadBalancer"), None);
    assert_eq!(nearest(""), None);
}

#[test]
fn a_field_out_of_range_is_found_before_the_start() {
    let options = Options {
        num_partitions: 0,
        ..Options::default()
    };
    assert!(matches!(
        options.check(),
        Err(OptionError::BadValue { key: "numPartitions", value, .. }) if value == "0"
    ));
    let options = Options {
        shutdown_delay: Duration::MAX,
        ..Options::default()
    };
    assert!(matches!(
        options.check(),
        Err(OptionError::BadValue {
            key: "shutdownDelay",
            ..
        })
    ));
    let options = Options {
        pinning: Pinning::Cores(Vec::new()),
        ..Options::default()
    };
    assert!(matches!(
        options.check(),
        Err(OptionError::BadValue { key: "pinning", .. })
    ));
}

#[test]
fn defaults_are_allowed_values_and_name_falls_back_to_the_path() {
    let mut options = Options::default();
    assert_eq!(options.check(), Ok(()));
    options.set("path", "/my_api/").unwrap();
    assert_eq!(options.service_name(), "my_api");
    options.set("name", "greeter").unwrap();
    assert_eq!(options.service_name(), "greeter");
    options.set("name", "").unwrap();
    assert_eq!(options.service_name(), "my_api");
}

proptest! {
    #[test]
    fn what_is_shown_parses_to_the_same_value(bytes in 0..=1_usize << 40, nanoseconds: u64) {
        let mut options = Options {
            max_request_bytes: bytes,
            shutdown_delay: Duration::from_nanos(nanoseconds),
            ..Options::default()
        };
        let before = options.clone();
        for spec in OPTIONS {
            let text = (spec.show)(&before);
            prop_assert_eq!(options.set(spec.key, text), Ok(()));
        }
        prop_assert_eq!(options, before);
    }
}

const INTRODUCTION: &str = "\
# Options

A pipeline gives options as text, `option(\"numPartitions\", 2)`, or assigns the fields of `Options`.
Keys are matched without regard to case. A query has one set of options: the reader and the writer
both accept every key, and the one given later wins; the table says where each usually stands.

- A *duration* is a whole number and a unit: `50us`, `10ms`, `1s`, `2 minutes`. A plain number is
  milliseconds.
- A *size* is a whole number and a unit: `64 KiB`, `8m`, `1g`, all powers of two. A plain number is
  bytes.

This file is generated. After a change of the options, run
`UPDATE_DOCS=1 cargo test -p snapback options`.

";

#[test]
fn the_documentation_lists_the_options_as_they_are() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/options.md");
    let text = format!("{INTRODUCTION}{}", option_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        written, text,
        "run `UPDATE_DOCS=1 cargo test -p snapback options`"
    );
}
