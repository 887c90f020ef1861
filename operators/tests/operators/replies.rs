//! `make_reply_with`: status, header fields, and what is refused.

use snapback::test::TestReply;
use snapback::{Pipeline, Reply, ReplyFault, ReplyHead};

fn reply_with(write: fn(&mut Reply<'_>)) -> TestReply {
    let pipeline = Pipeline::detached().make_reply_with(move |_, reply| write(reply));
    pipeline.test().post("")
}

/// The fault of a reply that is written so.
fn fault_of(write: impl Fn(&mut Reply<'_>)) -> Option<ReplyFault> {
    let (mut out, mut head) = (Vec::new(), ReplyHead::default());
    write(&mut Reply::new(&mut out, &mut head));
    head.fault().cloned()
}

#[test]
fn status_headers_and_content_type_are_the_pipelines() {
    let reply = reply_with(|reply| {
        reply
            .status(201)
            .header("Location", "/orders/7")
            .header("x-tag", " a\tb ");
        reply.header("x-tag", "ö").content_type("text/csv");
        reply.text("a,b");
    });
    reply.expect(201, "a,b");
    let expected = [
        ("Location", "/orders/7"),
        ("x-tag", "a\tb"),
        ("x-tag", "ö"),
        ("content-type", "text/csv"),
    ];
    assert_eq!(
        reply.headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_body_brings_its_content_type() {
    type Case<'a> = (fn(&mut Reply<'_>), Option<&'a str>, &'a str);
    let cases: [Case<'_>; 7] = [
        (
            |reply| reply.text("t"),
            Some("text/plain; charset=utf-8"),
            "t",
        ),
        (|reply| reply.json("t"), Some("application/json"), "\"t\""),
        (
            |reply| reply.bytes(b"t"),
            Some("application/octet-stream"),
            "t",
        ),
        (
            |reply| reply.value("t"),
            Some("text/plain; charset=utf-8"),
            "t",
        ),
        (|reply| reply.empty(), None, ""),
        (
            |reply| reply.content_type("image/png").bytes(b"p"),
            Some("image/png"),
            "p",
        ),
        (
            |reply| reply.content_type("text/x-nothing").empty(),
            Some("text/x-nothing"),
            "",
        ),
    ];
    for (write, content_type, body) in cases {
        let reply = reply_with(write);
        reply.expect(200, body);
        assert_eq!(reply.header("content-type"), content_type, "{body}");
    }
}

#[test]
fn a_reply_that_nobody_wrote_is_unanswered() {
    reply_with(|reply| {
        reply.status(201).header("x-a", "b");
    })
    .expect(204, "");
}

#[test]
fn a_reset_reply_is_open_again() {
    let reply = reply_with(|reply| {
        reply.status(500).header("x-a", "b").text("half");
        reply.reset();
        assert!(reply.is_open());
        reply.text("whole");
    });
    reply.expect(200, "whole");
    assert_eq!(reply.header("x-a"), None);
}

#[test]
fn statuses_outside_of_200_to_599_are_faults() {
    for status in [0, 99, 100, 101, 199, 600, 999, u16::MAX] {
        let fault = fault_of(|reply| reply.status(status).text("t"));
        assert_eq!(fault, Some(ReplyFault::Status(status)));
    }
    for status in [200, 204, 304, 418, 599] {
        assert_eq!(fault_of(|reply| reply.status(status).text("t")), None);
    }
    reply_with(|reply| reply.status(99).text("t"))
        .expect(500, "status 99 is not one of 200 to 599");
    // Also when it comes by way of an error, and also when a good one follows.
    assert_eq!(
        fault_of(|reply| reply.problem(99, "d")),
        Some(ReplyFault::Status(99))
    );
    let corrected = fault_of(|reply| reply.status(600).status(200).text("t"));
    assert_eq!(corrected, Some(ReplyFault::Status(600)));
}

#[test]
fn names_that_are_no_tokens_are_faults() {
    for name in [
        "",
        " ",
        "a b",
        "a:b",
        "a\r\nb",
        "a\0",
        "ö",
        "(",
        "x-a\r\nx-b: c\r\n",
        "a\u{7f}",
    ] {
        let fault = fault_of(|reply| reply.header(name, "v").text("t"));
        assert_eq!(fault, Some(ReplyFault::HeaderName(name.to_owned())));
    }
    assert_eq!(
        fault_of(|reply| reply.header("!#$%&'*+-.^_`|~09aZ", "v").text("t")),
        None
    );
}

#[test]
fn values_with_control_characters_are_faults() {
    for value in [
        "\r\nx-evil: 1",
        "a\nb",
        "a\rb",
        "\0",
        "a\u{1b}[0m",
        "\u{7f}",
        "b\n",
        "\r",
    ] {
        for name in ["x-a", "content-type"] {
            let fault = fault_of(|reply| reply.header(name, value).text("t"));
            assert_eq!(
                fault,
                Some(ReplyFault::HeaderValue(name.to_owned())),
                "{value:?}"
            );
        }
    }
    let reply = reply_with(|reply| reply.header("x-a", "b\r\nx-evil: 1").text("t"));
    assert_eq!((reply.status, reply.headers.len()), (500, 0));
}

#[test]
fn fields_that_frame_a_reply_are_the_servers_own() {
    for name in [
        "connection",
        "Content-Length",
        "DATE",
        "Keep-Alive",
        "trailer",
        "Transfer-Encoding",
        "upgrade",
    ] {
        let fault = fault_of(|reply| reply.header(name, "1").text("t"));
        assert_eq!(fault, Some(ReplyFault::ServersOwn(name.to_owned())));
    }
}

#[test]
fn a_fault_after_the_reply_is_ignored_with_the_rest() {
    let fault = fault_of(|reply| {
        reply.text("first");
        reply.status(99).header("a b", "\n").text("second");
    });
    assert_eq!(fault, None);
}
