//! Whose request it is, under which id it is found, and to which trace it belongs.

use std::collections::HashSet;

use snapback_operators::{
    BatchOptions, CorrelationId, Headers, KeptHead, Peer, Pipeline, Request, Run,
};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What `look` finds in a request with these headers.
fn with_headers<T>(run: &Run, headers: &[(&str, &str)], look: impl FnOnce(&Request<'_>) -> T) -> T {
    let fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| httparse::Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let request = Request::new(run.request_id(3, 7), "GET", "/", &Peer::Unix);
    look(&request.with_headers(Headers::new(&fields)))
}

#[test]
fn a_usable_id_of_the_client_is_taken() {
    let run = Run::new("api", "run");
    let id = |value: &str| {
        with_headers(&run, &[("X-Request-ID", value)], |request| {
            request.correlation_id().to_string()
        })
    };
    let longest = "x".repeat(128);
    for taken in ["7", "a-b_c.d:e/f=", "{\"quoted\"}", &longest] {
        assert_eq!(id(taken), taken);
    }
    let too_long = "x".repeat(129);
    for refused in ["", "two words", "tab\t", "grüße", "nul\0", &too_long] {
        assert_eq!(id(refused), "run-3-7", "{refused:?}");
    }
    let twice = [("x-request-id", "a"), ("X-Request-Id", "b")];
    with_headers(&run, &twice, |request| {
        assert_eq!(request.correlation_id(), CorrelationId::Made(request.id()));
    });
}

#[test]
fn the_header_of_the_id_is_the_querys_choice() {
    let headers = [("x-request-id", "a"), ("X-Amzn-Trace-Id", "b")];
    let id = |run: Run| {
        with_headers(&run, &headers, |request| {
            request.correlation_id().to_string()
        })
    };
    let run = || Run::new("api", "run");
    assert_eq!(id(run()), "a");
    assert_eq!(
        id(run().with_request_id_header(Some("x-amzn-trace-id".into()))),
        "b"
    );
    assert_eq!(id(run().with_request_id_header(None)), "run-3-7");
}

#[test]
fn a_trace_is_taken_only_when_it_is_well_formed() {
    let run = Run::new("api", "run");
    let taken = |value: &str| {
        with_headers(&run, &[("traceparent", value)], |request| {
            let trace = request.trace();
            let parent = trace.parent_id()?;
            Some((trace.trace_id().to_string(), parent.to_string()))
        })
    };
    let expected = Some((TRACE_ID.to_owned(), "00f067aa0ba902b7".to_owned()));
    let of_later_version = PARENT.replacen("00", "cc", 1);
    for value in [
        PARENT,
        &PARENT.replace("-01", "-ff"),
        &of_later_version,
        &format!("{of_later_version}-what-the-future-brings"),
    ] {
        assert_eq!(taken(value), expected, "{value}");
    }
    for value in [
        "",
        "00",
        &PARENT[..54],
        &format!("{PARENT}-"),
        &format!("{PARENT}0"),
        &format!("{of_later_version}0"),
        &format!("{of_later_version}."),
        &PARENT.replacen("00", "ff", 1),
        &PARENT.replacen("00", "0x", 1),
        &PARENT.replace("4bf9", "4BF9"),
        &PARENT.replace("4bf9", "4bg9"),
        &PARENT.replace('-', "_"),
        &PARENT.replace("-01", "-0x"),
        &PARENT.replace(TRACE_ID, &"0".repeat(32)),
        &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
        &format!(" {PARENT}"),
        &format!("{}é", &PARENT[..53]),
    ] {
        assert_eq!(taken(value), None, "{value:?}");
    }
    let twice = [("traceparent", PARENT), ("Traceparent", PARENT)];
    with_headers(&run, &twice, |request| {
        assert_eq!(request.trace().parent_id(), None);
    });
    let off = Run::new("api", "run").with_trace_context(false);
    with_headers(&off, &[("traceparent", PARENT)], |request| {
        assert_eq!(request.trace().parent_id(), None);
    });
}

#[test]
fn a_taken_trace_goes_on_with_this_request_as_the_parent() {
    let run = Run::new("api", "run");
    let headers = [
        ("traceparent", &*PARENT.replace("-01", "-ff")),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    with_headers(&run, &headers, |request| {
        let trace = request.trace();
        assert!(trace.is_sampled());
        assert_eq!(trace.tracestate().collect::<Vec<_>>(), ["a=1", "b=2"]);
        // Flags that are not known are not passed on.
        let expected = format!("00-{TRACE_ID}-{}-03", trace.span_id());
        assert_eq!(trace.traceparent().to_string(), expected);
        assert_ne!(Some(trace.span_id()), trace.parent_id());
    });
}

#[test]
fn made_traces_are_their_requests_own() {
    let runs = [Run::new("api", "one"), Run::new("api", "two")];
    let mut seen = HashSet::new();
    for run in &runs {
        for (partition, offset) in [(0, 0), (0, 1), (1, 0), (1, 1), (0, u64::MAX)] {
            let id = run.request_id(partition, offset);
            let trace = Request::new(id, "GET", "/", &Peer::Unix).trace();
            assert!(seen.insert(trace.trace_id().to_string()));
            assert!(seen.insert(trace.span_id().to_string()));
            let again = Request::new(id, "GET", "/", &Peer::Unix).trace();
            assert_eq!(trace.trace_id(), again.trace_id());
            assert!(!trace.is_sampled());
            let value = trace.traceparent().to_string();
            with_headers(run, &[("traceparent", &value)], |request| {
                assert_eq!(request.trace().trace_id(), trace.trace_id());
                assert_eq!(request.trace().parent_id(), Some(trace.span_id()));
            });
        }
    }
    let run = &runs[0];
    with_headers(run, &[("tracestate", "a=1")], |request| {
        assert_eq!(request.trace().tracestate().count(), 0);
    });
}

#[test]
fn a_deferred_request_keeps_what_is_known_of_it() {
    let run = Run::new("api", "run");
    let mut head = KeptHead::default();
    let headers = [("x-request-id", "mine"), ("traceparent", PARENT)];
    for identity in [Some("billing"), None, Some("")] {
        let before = with_headers(&run, &headers, |request| {
            let request = request.with_identity(identity);
            head.fill(&request);
            request.trace().span_id()
        });
        head.with_request(&run, |request| {
            assert_eq!(request.identity(), identity);
            assert_eq!(request.correlation_id(), CorrelationId::Taken("mine"));
            assert_eq!(request.trace().span_id(), before);
            assert_eq!(request.headers().len(), 2);
        });
    }
}

#[test]
fn a_test_may_be_anyone() {
    let mut service = Pipeline::detached()
        .map(|request| request.body().len())
        .batch(BatchOptions::default(), |lengths, out| {
            out.extend_from_slice(lengths)
        })
        .map_with(|bytes, request| {
            let name = request.identity().unwrap_or("nobody");
            format!("{name} sent {bytes}")
        })
        .make_reply()
        .test();
    service.post("abc").expect(200, "nobody sent 3");
    service.identify(Some("billing"));
    service.post("abc").expect(200, "billing sent 3");
    service.identify(None);
    service.post("").expect(200, "nobody sent 0");
}

#[test]
fn neither_a_request_nor_its_head_shows_a_secret() {
    let run = Run::new("api", "run");
    let headers = [("authorization", "Bearer s3cret"), ("x-api-key", "s3cret")];
    with_headers(&run, &headers, |request| {
        let mut head = KeptHead::default();
        head.fill(request);
        for text in [format!("{request:?}"), format!("{head:?}")] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    });
}
