use expect_test::{Expect, expect};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::checkpoint::layout::*;

/// The bytes are a promise to checkpoints that are on disks already.
#[test]
fn the_bytes_are_those_of_version_one() {
    let check = |bytes: &[u8], expect: Expect| {
        expect.assert_eq(std::str::from_utf8(bytes).unwrap());
    };
    let offsets = Offsets {
        epoch: 7,
        run_id: RUN.to_owned(),
        previous: Some(6),
        partitions: marks(&[(0, 1240, 1234), (1, 1180, 1180), (10, u64::MAX, 0)]),
    };
    let (bytes, checksum) = encode_offsets(&offsets);
    check(
        &bytes,
        expect![[r#"
        v1
        {"epoch":7,"runId":"0190d6a4-8f0e-7c3a-b2d1-5e6f708192a3","previous":6,"next":{"0":1240,"1":1180,"10":18446744073709551615},"checksum":"f566bf34"}
        {"0":1234,"1":1180,"10":0}"#]],
    );
    assert_eq!(parse_offsets(&bytes), Ok((offsets, checksum)));
    let commit = Commit {
        epoch: 7,
        offsets: checksum,
    };
    let bytes = encode_commit(&commit);
    check(
        &bytes,
        expect![[r#"
        v1
        {"epoch":7,"offsets":"f566bf34","checksum":"0a63b3c2"}"#]],
    );
    assert_eq!(parse_commit(&bytes), Ok(commit));
    let identity = Identity {
        query_id: Uuid::from_u128(0x5d0c_38a1_74a5_4d3b_9c1e_0f2a_4b6c_8d9e),
        service: "my \"api\"\nünd".to_owned(),
    };
    let bytes = encode_identity(&identity);
    check(
        &bytes,
        expect![[
            r#"{"id":"5d0c38a1-74a5-4d3b-9c1e-0f2a4b6c8d9e","service":"my \"api\"\nünd","version":"v1","checksum":"e77f8d19"}"#
        ]],
    );
    assert_eq!(parse_identity(&bytes), Ok(identity));
}

#[test]
fn what_is_not_whole_is_refused_with_the_reason() {
    fn check<T: std::fmt::Debug>(parsed: Result<T, Flaw>, expect: Expect) {
        expect.assert_eq(&format!("{:?}", parsed.unwrap_err()));
    }
    check(parse_offsets(b""), expect![[r#"Damaged("is empty")"#]]);
    check(
        parse_offsets(b"v1"),
        expect![[r#"Damaged("ends before its second line")"#]],
    );
    check(
        parse_offsets(b"v1\n{}"),
        expect![[r#"Damaged("ends before its third line")"#]],
    );
    check(
        parse_offsets(b"v1\n{}\n{\"0\":1}"),
        expect![[r#"Damaged("has no checksum at the end of its metadata")"#]],
    );
    check(parse_offsets(b"v2\n"), expect![[r#"Newer("v2")"#]]);
    check(parse_commit(b"v12\nwhatever"), expect![[r#"Newer("v12")"#]]);
    check(
        parse_commit(b"v0\n{}"),
        expect![[r#"Damaged("has no version line `v1`")"#]],
    );
    check(
        parse_commit(b"v01\n{}"),
        expect![[r#"Damaged("has no version line `v1`")"#]],
    );
    check(
        parse_commit(b"hello\n{}"),
        expect![[r#"Damaged("has no version line `v1`")"#]],
    );
    check(
        parse_commit(b"v1\n{\"checksum\":\"0000000A\"}"),
        expect![[r#"Damaged("has no checksum at the end of its metadata")"#]],
    );
    check(
        parse_commit(b"v1\n{\"checksum\":\"00000000\"}"),
        expect![[r#"Damaged("carries the checksum 00000000, but its bytes give a0786b44")"#]],
    );
    check(
        parse_identity(b"{\"id\":\"5d0c38a1-74a5-4d3b-9c1e-0f2a4b6c8d9e\"}"),
        expect![[r#"Damaged("has no version; it may be one of Spark's own")"#]],
    );
    check(
        parse_identity(b"{\"version\":\"v2\"}"),
        expect![[r#"Newer("v2")"#]],
    );
    check(
        parse_identity(b"{\"version\":\"v1\"}"),
        expect![[r#"Damaged("has no checksum at the end of its metadata")"#]],
    );
    check(
        parse_identity(b"\xff\xfe"),
        expect![[
            r#"Damaged("is not the JSON that it should be: expected value at line 1 column 1")"#
        ]],
    );
}

/// The CRC32C of "123456789" in RFC 3720's own terms, so that the checksum is the documented one.
#[test]
fn the_checksum_is_crc32c() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    let bytes = encode_commit(&Commit {
        epoch: 1,
        offsets: encode_offsets(&Offsets {
            epoch: 1,
            run_id: RUN.to_owned(),
            previous: None,
            partitions: Partitions::new(),
        })
        .1,
    });
    let text = String::from_utf8(bytes).unwrap();
    let digits = &text[text.len() - 10..text.len() - 2];
    let zeroed = text.replace(digits, "00000000");
    assert_eq!(format!("{:08x}", crc32c::crc32c(zeroed.as_bytes())), digits);
}

proptest! {
    #[test]
    fn any_offsets_come_back(
        epoch: u64,
        previous: Option<u64>,
        run_id in ".{0,40}",
        partitions in prop::collection::btree_map(any::<u32>(), (any::<u64>(), any::<u64>()), 0..8),
    ) {
        let ordered = |(a, b): (u64, u64)| Marks { next: a.max(b), settled: a.min(b) };
        let partitions = partitions.into_iter().map(|(p, pair)| (p, ordered(pair))).collect();
        let offsets = Offsets { epoch, run_id, previous, partitions };
        let (bytes, checksum) = encode_offsets(&offsets);
        prop_assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 2);
        prop_assert_eq!(parse_offsets(&bytes), Ok((offsets, checksum)));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, versioned: bool) {
        let bytes = if versioned { [&b"v1\n"[..], &bytes].concat() } else { bytes };
        prop_assert!(parse_offsets(&bytes).is_err());
        prop_assert!(parse_commit(&bytes).is_err());
        prop_assert!(parse_identity(&bytes).is_err());
    }
}
