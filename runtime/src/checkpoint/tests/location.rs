use expect_test::{Expect, expect};

use crate::checkpoint::Location;

fn check(location: &str, expect: Expect) {
    let shown = match Location::parse(location) {
        Ok(location) => location.path().display().to_string(),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&shown);
}

#[test]
fn a_location_is_a_path_or_a_file_url() {
    check("/var/lib/my_api", expect!["/var/lib/my_api"]);
    check("file:///var/lib/my_api", expect!["/var/lib/my_api"]);
    check("file:/var/lib/my_api/", expect!["/var/lib/my_api/"]);
    check("FILE:///var/lib/my_api", expect!["/var/lib/my_api"]);
    check("file:///var/lib/my%20api", expect!["/var/lib/my%20api"]);
    check("/var/lib/a:b", expect!["/var/lib/a:b"]);
    check(
        "file://server/share",
        expect![
            "checkpointLocation `file://server/share` names a host where its path should begin; give a path or `file:///path`"
        ],
    );
    check(
        "file:relative",
        expect![
            "checkpointLocation `file:relative` has no absolute path after `file:`; give a path or `file:///path`"
        ],
    );
    check(
        "s3://bucket/key",
        expect![
            "checkpointLocation `s3://bucket/key`: there is no store for `s3:`, only local disk; give a path or `file:///path`"
        ],
    );
    check(
        "hdfs:/key",
        expect![
            "checkpointLocation `hdfs:/key`: there is no store for `hdfs:`, only local disk; give a path or `file:///path`"
        ],
    );
    check(
        "abfss://box@account.dfs.core.windows.net/key",
        expect![
            "checkpointLocation `abfss://box@account.dfs.core.windows.net/key`: there is no store for `abfss:`, only local disk; give a path or `file:///path`"
        ],
    );
    check(
        "",
        expect!["checkpointLocation `` is no path; give a path or `file:///path`"],
    );
    check(
        "a\0b",
        expect![[
            r#"checkpointLocation `a\0b` contains a zero byte; give a path or `file:///path`"#
        ]],
    );
}

#[test]
fn a_relative_path_begins_at_the_working_directory() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(Location::parse("a/b").unwrap().path(), here.join("a/b"));
    assert_eq!(Location::parse("a:b").unwrap().path(), here.join("a:b"));
}
