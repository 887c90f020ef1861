use std::path::PathBuf;

use expect_test::expect;

use super::*;

const BEGIN: &str =
    "<!-- The table is generated: `UPDATE_DOCS=1 cargo test -p snapback metrics`. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

#[test]
fn the_documentation_lists_the_metrics_as_they_are() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let written = std::fs::read_to_string(&file).expect("docs/operations.md");
    let (before, rest) = written.split_once(BEGIN).expect("the begin of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let text = format!("{before}{BEGIN}{}{END}{after}", family_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &text).expect("it is writable");
        return;
    }
    assert_eq!(
        written, text,
        "run `UPDATE_DOCS=1 cargo test -p snapback metrics`"
    );
}

#[test]
fn each_family_is_named_as_its_kind_and_unit_ask_for() {
    let mut names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
    for family in FAMILIES {
        let is_counter = family.kind == Kind::Counter;
        assert_eq!(
            family.name.ends_with("_total"),
            is_counter,
            "{}",
            family.name
        );
        assert!(!family.help.is_empty() && !family.help.contains(['\n', '|']));
        if ["seconds", "bytes"].contains(&family.unit) {
            let base = family.name.trim_end_matches("_total");
            assert!(base.ends_with(family.unit), "{}", family.name);
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FAMILIES.len());
}

/// One family of each kind, with a label that needs escapes.
fn shown(format: Format) -> String {
    let mut out = Exposition::new(format);
    out.family(&SENT_BYTES)
        .value(&[("query", "a \"b\" \\ c\nd")], 7u64);
    out.family(&LAG_SECONDS).value(&[("query", "q")], 0.25);
    out.family(&PROCESS_THREADS).value(&[], 3.0);
    let histogram = Histogram {
        at_most: vec![(0.000_005, 1), (0.0001, 2), (1.0, 4)],
        count: 5,
        sum: 12.5,
    };
    out.family(&EPOCH_DURATION)
        .histogram(&[("query", "q")], &histogram);
    out.finish()
}

#[test]
fn text_for_prometheus() {
    expect![[r##"
        # HELP snapback_sent_bytes_total Bytes of HTTP that the kernel took as replies; with TLS, before encryption.
        # TYPE snapback_sent_bytes_total counter
        snapback_sent_bytes_total{query="a \"b\" \\ c\nd"} 7
        # HELP snapback_checkpoint_lag_seconds For how long there has been something that no committed epoch says; 0 without a checkpoint.
        # TYPE snapback_checkpoint_lag_seconds gauge
        snapback_checkpoint_lag_seconds{query="q"} 0.25
        # HELP process_threads Threads of the process.
        # TYPE process_threads gauge
        process_threads 3
        # HELP snapback_epoch_duration_seconds Time to commit an epoch to the checkpoint; its count is that of committed epochs.
        # TYPE snapback_epoch_duration_seconds histogram
        snapback_epoch_duration_seconds_bucket{query="q",le="5e-06"} 1
        snapback_epoch_duration_seconds_bucket{query="q",le="0.0001"} 2
        snapback_epoch_duration_seconds_bucket{query="q",le="1.0"} 4
        snapback_epoch_duration_seconds_bucket{query="q",le="+Inf"} 5
        snapback_epoch_duration_seconds_sum{query="q"} 12.5
        snapback_epoch_duration_seconds_count{query="q"} 5
    "##]]
    .assert_eq(&shown(Format::Prometheus));
}

#[test]
fn text_for_openmetrics() {
    expect![[r##"
        # HELP snapback_sent_bytes Bytes of HTTP that the kernel took as replies; with TLS, before encryption.
        # TYPE snapback_sent_bytes counter
        # UNIT snapback_sent_bytes bytes
        snapback_sent_bytes_total{query="a \"b\" \\ c\nd"} 7
        # HELP snapback_checkpoint_lag_seconds For how long there has been something that no committed epoch says; 0 without a checkpoint.
        # TYPE snapback_checkpoint_lag_seconds gauge
        # UNIT snapback_checkpoint_lag_seconds seconds
        snapback_checkpoint_lag_seconds{query="q"} 0.25
        # HELP process_threads Threads of the process.
        # TYPE process_threads gauge
        # UNIT process_threads threads
        process_threads 3
        # HELP snapback_epoch_duration_seconds Time to commit an epoch to the checkpoint; its count is that of committed epochs.
        # TYPE snapback_epoch_duration_seconds histogram
        # UNIT snapback_epoch_duration_seconds seconds
        snapback_epoch_duration_seconds_bucket{query="q",le="5e-06"} 1
        snapback_epoch_duration_seconds_bucket{query="q",le="0.0001"} 2
        snapback_epoch_duration_seconds_bucket{query="q",le="1.0"} 4
        snapback_epoch_duration_seconds_bucket{query="q",le="+Inf"} 5
        snapback_epoch_duration_seconds_sum{query="q"} 12.5
        snapback_epoch_duration_seconds_count{query="q"} 5
        # EOF
    "##]]
    .assert_eq(&shown(Format::OpenMetrics));
}
