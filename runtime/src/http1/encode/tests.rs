//! Heads as clients read them.

use expect_test::{Expect, expect};

use super::*;

const NOW: u64 = 784_111_777;

fn check(make: impl Fn(&mut Reply<'_>), persistence: Persistence, expect: Expect) {
    let mut encoder = HeadEncoder::new(NOW);
    // The second head comes from the template and must be no other one.
    for _ in 0..2 {
        let (mut body, mut head) = (Vec::new(), ReplyHead::default());
        make(&mut Reply::new(&mut body, &mut head));
        let bytes = encoder.encode(&head, body.len(), persistence).to_vec();
        expect.assert_eq(&show(&bytes));
        assert_eq!(encoder.expected_len(), bytes.len());
    }
}

fn show(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    text.replace("\r\n", "\n")
}

#[test]
fn heads() {
    check(
        |reply| reply.json(&[1, 2]),
        Persistence::KeepAlive,
        expect![[r#"
                HTTP/1.1 200 OK
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-type: application/json
                content-length: 5

            "#]],
    );
    check(
        |reply| reply.text("hello world"),
        Persistence::Close,
        expect![[r#"
                HTTP/1.1 200 OK
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-type: text/plain; charset=utf-8
                connection: close
                content-length: 11

            "#]],
    );
    check(
        |reply| {
            reply
                .status(201)
                .header("Location", "/orders/7")
                .bytes(b"x")
        },
        Persistence::KeepAlive10,
        expect![[r#"
                HTTP/1.1 201 Created
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-type: application/octet-stream
                connection: keep-alive
                content-length: 1
                Location: /orders/7

            "#]],
    );
    check(
        |reply| reply.content_type("application/xml").text("<a/>"),
        Persistence::KeepAlive,
        expect![[r#"
                HTTP/1.1 200 OK
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-length: 4
                content-type: application/xml

            "#]],
    );
    check(
        |reply| reply.status(299).empty(),
        Persistence::KeepAlive,
        expect![[r#"
                HTTP/1.1 299 
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-length: 0

            "#]],
    );
    check(
        |reply| reply.problem(404, "no service at /x"),
        Persistence::KeepAlive,
        expect![[r#"
                HTTP/1.1 404 Not Found
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-type: application/problem+json
                content-length: 83

            "#]],
    );
}

#[test]
fn heads_of_replies_without_body() {
    check(
        |reply| reply.status(204).empty(),
        Persistence::KeepAlive,
        expect![[r#"
                HTTP/1.1 204 No Content
                date: Sun, 06 Nov 1994 08:49:37 GMT

            "#]],
    );
    check(
        |reply| reply.status(304).header("etag", "\"7\"").text("ignored"),
        Persistence::Close,
        expect![[r#"
                HTTP/1.1 304 Not Modified
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-type: text/plain; charset=utf-8
                connection: close
                etag: "7"

            "#]],
    );
    check(
        |reply| reply.status(205).text("ignored"),
        Persistence::KeepAlive,
        expect![[r#"
                HTTP/1.1 205 Reset Content
                date: Sun, 06 Nov 1994 08:49:37 GMT
                content-type: text/plain; charset=utf-8
                content-length: 0

            "#]],
    );
    assert_eq!(
        [200, 204, 205, 304, 404].map(has_no_body),
        [false, true, true, true, false]
    );
}

#[test]
fn ids_count_up_down_and_across_digits() {
    let run = Run::new("api", "run-7").with_request_id_header(Some("x-id".into()));
    let mut encoder = HeadEncoder::new(NOW);
    encoder.tell_ids(&run, 3);
    let echo = Echo {
        id_line: b"x-id: mine\r\n".to_vec(),
        trace_line: b"traceresponse: t\r\n".to_vec(),
    };
    let trace_alone = Echo {
        id_line: Vec::new(),
        ..echo.clone()
    };
    let offsets = [0, 1, 2, 8, 9, 10, 11, 99, 100, 101, 7, 8, u64::MAX, 0, 0, 1];
    for (index, offset) in offsets.into_iter().enumerate() {
        let mut lines = |offset, echo| {
            let (mut body, mut head) = (Vec::new(), ReplyHead::default());
            Reply::new(&mut body, &mut head).text("");
            // The template changes at some of them.
            let persistence = [Persistence::KeepAlive, Persistence::Close][index / 3 % 2];
            show(encoder.encode_with(&head, 0, persistence, offset, echo))
        };
        let own = format!("x-id: run-7-3-{offset}\n");
        let plain = lines(Some(offset), None);
        assert!(plain.contains(&own), "{own}: {plain}");
        let traced = lines(Some(offset), Some(&trace_alone));
        assert!(
            traced.contains(&own) && traced.contains("traceresponse: t\n"),
            "{traced}"
        );
        let taken = lines(Some(offset), Some(&echo));
        assert!(
            taken.contains("x-id: mine\n") && !taken.contains("run-7"),
            "{taken}"
        );
        assert!(!lines(None, None).contains("x-id"));
    }
}

/// Each reply must look as if the encoder had never written another one.
#[test]
fn a_template_leaves_nothing_behind() {
    let replies: [fn(&mut Reply<'_>); 6] = [
        |reply| reply.text("a"),
        |reply| reply.text("a longer body, with more digits in its length"),
        |reply| reply.header("x-a", "1").text("a"),
        |reply| reply.status(204).empty(),
        |reply| reply.json("a"),
        |reply| reply.status(500).text(""),
    ];
    let run = Run::new("api", "run-7").with_request_id_header(Some("x-id".into()));
    let echo = Echo {
        id_line: Vec::new(),
        trace_line: b"traceresponse: t\r\n".to_vec(),
    };
    let encoder = |now| {
        let mut encoder = HeadEncoder::new(now);
        encoder.tell_ids(&run, 3);
        encoder
    };
    let (mut old, mut next) = (encoder(0), 0);
    for first in replies {
        for second in replies {
            let steps = [
                (NOW, first, None),
                (NOW, first, None),
                (NOW, second, Some(&echo)),
                (NOW, second, None),
                (NOW + 1, second, None),
                (NOW + 1, second, Some(&echo)),
            ];
            for (now, make, echo) in steps {
                let (mut body, mut head) = (Vec::new(), ReplyHead::default());
                make(&mut Reply::new(&mut body, &mut head));
                old.set_now(now);
                let encode = |encoder: &mut HeadEncoder| {
                    let persistence = Persistence::KeepAlive;
                    show(encoder.encode_with(&head, body.len(), persistence, Some(next), echo))
                };
                assert_eq!(encode(&mut old), encode(&mut encoder(now)));
                next += 1;
            }
        }
    }
}

#[test]
fn dates_stay_in_their_range() {
    let date = |seconds| String::from_utf8_lossy(&format_date(seconds)).into_owned();
    assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn a_refusal_is_a_whole_reply() {
    let mut out = b"earlier reply".to_vec();
    HeadEncoder::new(NOW).encode_reject(&Reject::LengthAndCoding, &mut out);
    expect![[r#"
            earlier replyHTTP/1.1 400 Bad Request
            date: Sun, 06 Nov 1994 08:49:37 GMT
            content-type: application/problem+json
            connection: close
            content-length: 144

            {"detail":"the request has both Content-Length and Transfer-Encoding; send one of them","status":400,"title":"Bad Request","type":"about:blank"}"#]]
        .assert_eq(&show(&out));
}
