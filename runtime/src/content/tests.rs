//! Bodies that were encoded, well and badly.

use std::io::Write;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const MIB: usize = 1 << 20;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn bare_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn br(data: &[u8]) -> Vec<u8> {
    br_with_window(data, 22)
}

fn br_with_window(data: &[u8], window_bits: u32) -> Vec<u8> {
    let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 5, window_bits);
    encoder.write_all(data).unwrap();
    encoder.into_inner()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

type Encode = fn(&[u8]) -> Vec<u8>;

const ENCODERS: [(&str, Encode); 5] = [
    ("gzip", gzip),
    ("deflate", zlib),
    ("deflate", bare_deflate),
    ("br", br),
    ("zstd", zstd),
];

/// Decodes with a budget so small that it takes as many turns as it can.
fn decode_within(encoding: &str, body: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Fault> {
    let lines = std::iter::once(encoding.as_bytes());
    let codings = codings_of(lines, &ContentCoding::ALL)?;
    let mut decoding = Decoding::new(codings, limit_bytes);
    let mut turns = 0;
    while !decoding.run(body, &mut 1)? {
        turns += 1;
        assert!(turns < 1 << 20, "it comes to no end");
    }
    Ok(decoding.body().to_vec())
}

fn decode(encoding: &str, body: &[u8]) -> Result<Vec<u8>, Fault> {
    decode_within(encoding, body, 64 * MIB)
}

/// Text that compresses, and does not end at a round number.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 32);
    let mut number = 1_u64;
    while text.len() < bytes {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(7);
        write!(text, "{{\"row\":{}}}", number >> 40).unwrap();
    }
    text.truncate(bytes);
    text
}

#[test]
fn every_coding_gives_back_what_was_encoded() {
    for bytes in [1, 7, 1000, 70_001, 3 * MIB + 5] {
        let data = text(bytes);
        for (encoding, encode) in ENCODERS {
            let body = encode(&data);
            let decoded = decode(encoding, &body);
            assert!(decoded == Ok(data.clone()), "{encoding} of {bytes} bytes");
        }
    }
}

#[test]
fn what_is_encoded_may_be_empty() {
    for (encoding, encode) in ENCODERS {
        assert_eq!(decode(encoding, &encode(b"")), Ok(Vec::new()), "{encoding}");
        assert_eq!(decode(encoding, b""), Ok(Vec::new()), "{encoding}");
    }
}

#[test]
fn codings_are_removed_in_reverse_order() {
    let data = text(100_000);
    let body = zstd(&br(&gzip(&data)));
    assert_eq!(decode("gzip, br, zstd", &body), Ok(data.clone()));
    assert_eq!(decode("GZip,,identity , BR,zstd,", &body), Ok(data.clone()));
    assert_eq!(decode("x-gzip", &gzip(&data)), Ok(data.clone()));
    assert_eq!(
        decode("br, gzip, zstd", &body),
        Err(Fault::Malformed {
            coding: ContentCoding::Gzip
        })
    );
    assert_eq!(
        decode("gzip, gzip, gzip, gzip", b"x"),
        Err(Fault::TooManyCodings)
    );
}

#[test]
fn several_lines_are_one_list() {
    let lines = [b"gzip".as_slice(), b"br , zstd"];
    let codings = codings_of(lines.into_iter(), &ContentCoding::ALL).unwrap();
    let names: Vec<_> = codings.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["gzip", "br", "zstd"]);
}

#[test]
fn a_coding_that_is_not_accepted_is_named() {
    for name in ["compress", "aes128gcm", "gzip;q=1", "zstd"] {
        let lines = std::iter::once(name.as_bytes());
        let fault = codings_of(lines, &[ContentCoding::Gzip]).unwrap_err();
        assert_eq!(
            fault,
            Fault::Unknown {
                coding: name.into()
            }
        );
        assert_eq!(fault.status(), 415);
    }
    let long = [b'a'; 1000];
    let fault = codings_of(std::iter::once(long.as_slice()), &[]).unwrap_err();
    assert!(fault.to_string().len() < 200, "{fault}");
    assert_eq!(names_of(&[]), "identity");
    assert_eq!(names_of(&ContentCoding::ALL), "gzip, deflate, br, zstd");
}

/// The limit counts decoded bytes: exactly so many are served, and not one more.
#[test]
fn the_limit_holds_to_the_byte() {
    for limit_bytes in [0, 1, 1000, 32 << 10, 200_000] {
        for (encoding, encode) in ENCODERS {
            let fits = text(limit_bytes);
            let decoded = decode_within(encoding, &encode(&fits), limit_bytes);
            assert!(decoded == Ok(fits), "{encoding}, {limit_bytes} bytes");
            let decoded = decode_within(encoding, &encode(&text(limit_bytes + 1)), limit_bytes);
            assert_eq!(
                decoded,
                Err(Fault::TooLarge { limit_bytes }),
                "{encoding}, one byte more than {limit_bytes}"
            );
        }
    }
    assert_eq!(Fault::TooLarge { limit_bytes: 1 }.status(), 413);
}

/// A bomb costs what the largest body costs, as long as it is.
#[test]
fn the_memory_of_a_bomb_is_bounded() {
    let member = gzip(&vec![0; 10 * MIB]);
    let bomb = member.repeat(1024);
    let limit_bytes = 3 * MIB;
    for (encoding, body) in [("gzip", &bomb), ("gzip,gzip", &gzip(&bomb))] {
        let codings = codings_of(std::iter::once(encoding.as_bytes()), &ContentCoding::ALL);
        let mut decoding = Decoding::new(codings.unwrap(), limit_bytes);
        let fault = loop {
            match decoding.run(body, &mut 1) {
                Ok(is_whole) => assert!(!is_whole, "10 GiB"),
                Err(fault) => break fault,
            }
            assert!(decoding.buffer_bytes() <= 2 * (limit_bytes + 1));
        };
        assert_eq!(fault, Fault::TooLarge { limit_bytes });
    }
}

/// What is between two codings may not be larger than the limit either.
#[test]
fn a_bomb_in_a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 32 * MIB];
    let once = gzip(&zeros);
    let twice = gzip(&once);
    assert!(twice.len() < 1000, "{} bytes", twice.len());
    let limit_bytes = 8 * MIB;
    for (encoding, body) in [("gzip", &once), ("gzip, gzip", &twice)] {
        let decoded = decode_within(encoding, body, limit_bytes);
        assert_eq!(decoded, Err(Fault::TooLarge { limit_bytes }));
    }
    let decoded = decode_within("gzip, gzip", &twice, 1000);
    assert_eq!(decoded, Err(Fault::TooLarge { limit_bytes: 1000 }));
}

#[test]
fn every_cut_of_a_body_is_refused() {
    let data = text(300);
    for (encoding, encode) in ENCODERS {
        let body = encode(&data);
        for end in 1..body.len() {
            let fault = decode(encoding, &body[..end]).expect_err("a part is not the whole");
            assert_eq!(fault.status(), 400, "{encoding} cut at {end}: {fault}");
        }
    }
}

#[test]
fn nothing_may_stand_behind_the_end() {
    for (encoding, encode) in ENCODERS {
        let mut body = encode(b"hello");
        body.extend_from_slice(b"garbage behind it");
        let fault = decode(encoding, &body).expect_err("garbage is no part of a body");
        assert_eq!(fault.status(), 400, "{encoding}: {fault}");
    }
}

#[test]
fn damage_is_found_where_the_format_has_a_checksum() {
    let data = text(5000);
    for (encoding, encode) in [("gzip", gzip as Encode), ("deflate", zlib)] {
        let mut body = encode(&data);
        let last = body.len() - 5;
        body[last] ^= 1;
        let fault = decode(encoding, &body).expect_err("the checksum differs");
        assert_eq!(fault.status(), 400, "{encoding}: {fault}");
    }
    let mut body = zstd(&data);
    *body.last_mut().unwrap() ^= 1;
    assert_eq!(
        decode("zstd", &body),
        Err(Fault::Malformed {
            coding: ContentCoding::Zstd
        })
    );
}

#[test]
fn members_and_frames_follow_one_another() {
    let data = text(1000);
    let both = [data.as_slice(), &data].concat();
    let named = GzBuilder::new()
        .filename("a.json")
        .comment("b")
        .extra([1, 2]);
    let mut encoder = named.write(Vec::new(), Compression::fast());
    encoder.write_all(&data).unwrap();
    let body = [encoder.finish().unwrap(), gzip(&data)].concat();
    assert_eq!(decode("gzip", &body), Ok(both.clone()));

    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let body = [
        skippable.clone(),
        zstd(&data),
        skippable.clone(),
        zstd(&data),
    ]
    .concat();
    assert_eq!(decode("zstd", &body), Ok(both));
    assert_eq!(
        decode("zstd", &skippable[..10]),
        Err(Fault::Truncated {
            coding: ContentCoding::Zstd
        })
    );
}

/// A frame or a stream that asks for more memory than it is worth is refused before it is decoded.
#[test]
fn large_windows_are_refused() {
    // Magic number, no single segment, a window of 2^30 bytes, an empty last raw block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0];
    let fault = decode("zstd", &frame).unwrap_err();
    assert!(matches!(fault, Fault::Window { window_bytes, .. } if window_bytes == 1 << 30));
    assert_eq!(fault.status(), 415);
    // The largest one that is served, 8 MiB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1, 0, 0];
    assert_eq!(decode("zstd", &frame), Ok(Vec::new()));

    let fault = decode("br", &br_with_window(&text(100), 24)).unwrap_err();
    assert!(matches!(fault, Fault::Window { window_bytes, .. } if window_bytes == 1 << 24));
}

/// A step is small: what a turn may wait for is one budget, and the granularity of the coding.
#[test]
fn a_step_decodes_a_bounded_share() {
    let data = vec![0; 8 * MIB];
    for (encoding, encode) in ENCODERS {
        let body = encode(&data);
        let codings = codings_of(std::iter::once(encoding.as_bytes()), &ContentCoding::ALL);
        let mut decoding = Decoding::new(codings.unwrap(), data.len());
        let mut before = 0;
        let mut longest = 0;
        while !decoding.run(&body, &mut 1).unwrap() {
            longest = longest.max(decoding.body().len() - before);
            before = decoding.body().len();
        }
        // A zstd frame gives its window at its end, which is a copy.
        let bound = if encoding == "zstd" {
            data.len()
        } else {
            32 << 10
        };
        assert!(longest <= bound, "{encoding}: {longest} bytes in a step");
        assert_eq!(decoding.body().len(), data.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_data_survives_any_chain(
        data in proptest::collection::vec(any::<u8>(), 0..4000),
        chain in proptest::collection::vec(0..ENCODERS.len(), 1..=MAX_CODINGS),
    ) {
        let mut body = data.clone();
        let mut names = Vec::new();
        for index in chain {
            let (name, encode) = ENCODERS[index];
            body = encode(&body);
            names.push(name);
        }
        prop_assert_eq!(decode(&names.join(","), &body), Ok(data));
    }

    /// Any bytes come to an end, and within the limit.
    #[test]
    fn any_bytes_are_decoded_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        index in 0..ENCODERS.len(),
    ) {
        let (name, encode) = ENCODERS[index];
        let mut body = encode(&bytes);
        for (at, flip) in flips {
            let at = at.index(body.len());
            body[at] ^= flip;
        }
        for body in [&body, &bytes] {
            if let Ok(decoded) = decode_within(name, body, 3000) {
                prop_assert!(decoded.len() <= 3000);
            }
        }
    }
}
