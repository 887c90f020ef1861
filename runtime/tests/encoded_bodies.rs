//! Encoded bodies over sockets.

mod support;

use std::io::{Seek, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use snapback::ServerReader;
use support::{Answer, Client, Service, eventually, get, reader, serve};

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

fn br(data: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(data).unwrap();
    encoder.into_inner()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

/// What a program of Debian makes of the data; `None` if it is not installed.
fn encoded_by(program: &str, arguments: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    file.rewind().unwrap();
    let output = Command::new(program).args(arguments).stdin(file).output();
    let output = output.ok()?;
    assert!(output.status.success(), "{program} {arguments:?}");
    Some(output.stdout)
}

#[test]
fn what_other_programs_encode_is_decoded() {
    let service = sums(reader("api"));
    let mut client = service.client();
    let large = data(3 * MIB + 17);
    let mut offset = 0;
    for (program, encoding, levels) in [
        ("gzip", "gzip", &["-1", "-6", "-9"][..]),
        (
            "zstd",
            "zstd",
            &["-1", "-3", "-12", "-19", "--fast=5", "--no-check"],
        ),
    ] {
        for level in levels {
            let Some(body) = encoded_by(program, &["-c", level], &large) else {
                eprintln!("skipped: what_other_programs_encode_is_decoded: {program} is missing");
                break;
            };
            let answer = send(&mut client, encoding, &body);
            assert_eq!(answer.text(), expected(offset, &large), "{program} {level}");
            offset += 1;
        }
    }
}

/// Answers with the offset of the request, the length of its body and a sum over it.
fn sums(reader: ServerReader) -> Service {
    let requests = reader.load().expect("the options are good");
    let sums = requests.map(|request| {
        let body = request.body();
        format!("{} {} {}", request.id().offset(), body.len(), sum(body))
    });
    serve(sums.make_reply().write_stream())
}

fn sum(data: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    data.iter().fold(7, add)
}

fn expected(offset: u64, data: &[u8]) -> String {
    format!("{offset} {} {}", data.len(), sum(data))
}

fn data(bytes: usize) -> Vec<u8> {
    let line = b"{\"foo\":\"hello world\",\"bar\":42}\n";
    let mut data: Vec<_> = line.iter().copied().cycle().take(bytes).collect();
    for at in (0..data.len()).step_by(97) {
        data[at] = (at / 97 * 131) as u8;
    }
    data
}

fn head(encoding: &str) -> String {
    format!("POST /api HTTP/1.1\r\nHost: a\r\nContent-Encoding: {encoding}\r\n")
}

fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{}Content-Length: {}\r\n\r\n", head(encoding), body.len());
    [head.as_bytes(), body].concat()
}

/// The same in chunks.
fn chunked(encoding: &str, body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut request = format!("{}Transfer-Encoding: chunked\r\n\r\n", head(encoding)).into_bytes();
    for chunk in body.chunks(chunk_bytes) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

fn send(client: &mut Client, encoding: &str, body: &[u8]) -> Answer {
    client.send(encoded(encoding, body));
    client.answer()
}

#[test]
fn bodies_in_all_codings_arrive_in_order() {
    let service = sums(reader("api"));
    let mut client = service.client();
    let (small, large) = (data(300), data(3 * MIB + 17));
    let mut sent = Vec::new();
    let mut replies = Vec::new();
    for data in [&small, &large] {
        for (encoding, body) in [
            ("gzip", gzip(data)),
            ("X-GZip", gzip(data)),
            ("deflate", zlib(data)),
            ("br", br(data)),
            ("zstd", zstd(data)),
            ("gzip, identity, zstd", zstd(&gzip(data))),
            ("identity", data.clone()),
        ] {
            for request in [encoded(encoding, &body), chunked(encoding, &body, 1000)] {
                replies.push(expected(replies.len() as u64, data));
                sent.push(request);
                // A plain one behind each, whose bytes are there before the body is decoded.
                replies.push(expected(replies.len() as u64, b""));
                sent.push(get("/api"));
            }
        }
    }
    // The server reads while it is written to, and answers are small.
    client.send(sent.concat());
    for expected in replies {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, &*expected));
    }
}

#[test]
fn a_body_may_arrive_byte_by_byte() {
    let service = sums(reader("api"));
    let mut client = service.client();
    let small = data(64);
    for request in [
        encoded("gzip", &gzip(&small)),
        chunked("zstd", &zstd(&small), 7),
    ] {
        for byte in request {
            client.send([byte]);
        }
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn what_cannot_be_decoded_is_told_and_the_connection_goes_on() {
    let service = sums(reader("api").option("maxRequestBytes", "1 MiB"));
    let mut client = service.client();
    let small = data(300);
    let mut cut = gzip(&small);
    cut.truncate(cut.len() - 1);
    let garbage = [gzip(&small), b"garbage".to_vec()].concat();
    let largest = data(MIB);
    let larger = data(MIB + 1);
    for (encoding, body, status) in [
        ("compress", small.clone(), 415),
        ("gzip;q=1.0", gzip(&small), 415),
        ("gzip,gzip,gzip,gzip", gzip(&small), 415),
        ("gzip", cut, 400),
        ("gzip", garbage, 400),
        ("gzip", small.clone(), 400),
        ("br", small.clone(), 400),
        ("zstd", small.clone(), 400),
        ("gzip", gzip(&larger), 413),
        ("zstd", zstd(&larger), 413),
        ("br", br(&larger), 413),
    ] {
        let answer = send(&mut client, encoding, &body);
        assert_eq!(answer.status, status, "{encoding}: {}", answer.text());
        let names = (status == 415).then_some("gzip, deflate, br, zstd");
        assert_eq!(answer.header("accept-encoding"), names, "{encoding}");
        assert_eq!(answer.json()["status"], status, "{encoding}");
        assert!(!answer.closes());
    }
    // Exactly as many bytes are served, and nobody before has taken an offset.
    for (offset, (encoding, body)) in (0..).zip([
        ("gzip", gzip(&largest)),
        ("zstd", zstd(&largest)),
        ("br", br(&largest)),
    ]) {
        let answer = send(&mut client, encoding, &body);
        assert_eq!(answer.text(), expected(offset, &largest), "{encoding}");
    }
}

#[test]
fn the_accepted_codings_are_an_option() {
    let service = sums(reader("api").option("acceptEncodings", "zstd,gzip"));
    let mut client = service.client();
    let small = data(300);
    assert_eq!(send(&mut client, "gzip", &gzip(&small)).status, 200);
    let refused = send(&mut client, "br", &br(&small));
    assert_eq!(
        (refused.status, refused.header("accept-encoding")),
        (415, Some("zstd, gzip"))
    );

    let none = sums(reader("api").option("acceptEncodings", "identity"));
    let mut client = none.client();
    let refused = send(&mut client, "gzip", &gzip(&small));
    assert_eq!(
        (refused.status, refused.header("accept-encoding")),
        (415, Some("identity"))
    );
    assert_eq!(
        send(&mut client, "identity", &small).text(),
        expected(0, &small)
    );
}

#[test]
fn an_empty_body_has_nothing_that_was_encoded() {
    let service = sums(reader("api"));
    let mut client = service.client();
    for (offset, encoding) in (0..).zip(["gzip", "br", "what-nobody-knows"]) {
        let answer = send(&mut client, encoding, b"");
        assert_eq!(answer.text(), expected(offset, b""), "{encoding}");
    }
}

/// Members of zeros, one behind the other: ten thousand times what was sent.
fn bomb(bytes: usize) -> Vec<u8> {
    let member = gzip(&vec![0; 10 * MIB]);
    member.repeat(bytes / (10 * MIB))
}

#[test]
fn bombs_are_stopped_at_the_limit() {
    let service = sums(reader("api").option("maxRequestBytes", "16 MiB"));
    let mut client = service.client();
    for bytes in [10 * MIB, 1000 * MIB, 10_000 * MIB] {
        let bomb = bomb(bytes);
        let twice = gzip(&bomb);
        let status = if bytes > 16 * MIB { 413 } else { 200 };
        assert_eq!(
            send(&mut client, "gzip", &bomb).status,
            status,
            "{bytes} bytes"
        );
        assert_eq!(send(&mut client, "gzip, gzip", &twice).status, status);
    }
}

/// While a large body is decoded, requests of other connections are answered.
#[test]
fn a_large_body_holds_nobody_up() {
    let service = sums(reader("api").option("maxRequestBytes", "64 MiB"));
    let (mut large, mut small) = (service.client(), service.client());
    small.get("/api");
    let body = encoded("gzip", &gzip(&vec![0; 64 * MIB]));
    let offset = |answer: Answer| {
        let text = answer
            .text()
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        text.parse::<u64>().expect("an offset")
    };
    // The large one is sent first. Its offset is handed out when it comes to the pipeline.
    eventually("a small request passes a large one", || {
        large.send(&body);
        let passing = offset(small.get("/api"));
        (passing < offset(large.answer())).then_some(())
    });
}

#[test]
fn a_request_that_is_tried_again_has_its_body_decoded() {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    let requests = reader("api").load().unwrap();
    let lengths = requests.map(|request| {
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        assert!(
            attempt > 0 || request.body().len() != 100_000,
            "the first attempt fails"
        );
        request.body().len()
    });
    let service = serve(lengths.make_reply().write_stream());
    let answer = send(&mut service.client(), "gzip", &gzip(&data(100_000)));
    assert_eq!((answer.status, answer.text()), (200, "100000"));
    assert_eq!(ATTEMPTS.load(Ordering::Relaxed), 2);
}

/// A client that goes away in the middle of it leaves nothing behind.
#[test]
fn a_client_may_leave_while_its_body_is_decoded() {
    let service = sums(reader("api").option("maxRequestBytes", "64 MiB"));
    let body = encoded("gzip", &gzip(&vec![0; 64 * MIB]));
    for _ in 0..4 {
        let mut client = service.client();
        client.send(&body);
        client.abort();
    }
    let mut client = service.client();
    client.send(encoded("gzip", &gzip(b"hello")));
    client.finish_sending();
    assert!(client.answer().text().contains(" 5 "));
    assert!(client.is_at_end());
}
