//! What a pipeline sees of a request.

use snapback::{Headers, Peer, Pipeline, Request, Run};

fn with_target<T>(target: &str, look: impl FnOnce(&Request<'_>) -> T) -> T {
    let run = Run::new("my_api", "0192");
    look(&Request::new(
        run.request_id(3, 7),
        "GET",
        target,
        &Peer::Unix,
    ))
}

#[test]
fn a_target_is_a_path_and_a_query() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a/b", "/a/b", ""),
        ("/a?", "/a", ""),
        ("/a?b", "/a", "b"),
        ("/a?b?c=/d", "/a", "b?c=/d"),
        ("/%3F?x", "/%3F", "x"),
        ("?x", "", "x"),
        ("*", "*", ""),
    ] {
        let parts = with_target(target, |request| {
            (
                request.path().to_owned(),
                request.raw_query().to_owned(),
                request.target().to_owned(),
            )
        });
        assert_eq!(
            parts,
            (path.to_owned(), query.to_owned(), target.to_owned())
        );
    }
}

#[test]
fn query_parameters_are_decoded() {
    for (query, name, value) in [
        ("a=1&b=2", "b", Some("2")),
        ("a=1&a=2", "a", Some("1")),
        ("a=red%20wine", "a", Some("red wine")),
        ("a=red+wine", "a", Some("red wine")),
        ("a=1%2B1%3D2%26", "a", Some("1+1=2&")),
        ("%C3%B6=%c3%B6", "ö", Some("ö")),
        ("a=%zz%", "a", Some("%zz%")),
        ("a=%FF", "a", Some("\u{fffd}")),
        ("a", "a", Some("")),
        ("a=", "a", Some("")),
        ("a=b=c", "a", Some("b=c")),
        ("=x", "", Some("x")),
        ("&&a=1&", "a", Some("1")),
        ("A=1", "a", None),
        ("a[]=1", "a[]", Some("1")),
        ("", "", None),
    ] {
        let found = with_target(&format!("/p?{query}"), |request| {
            request.query(name).map(|value| value.into_owned())
        });
        assert_eq!(found.as_deref(), value, "{name:?} in {query:?}");
    }
    let all = with_target("/?a=1&b=&a=2", |request| {
        request
            .query_pairs()
            .map(|(name, value)| format!("{name}:{value}"))
            .collect::<Vec<_>>()
    });
    assert_eq!(all, ["a:1", "b:", "a:2"]);
}

#[test]
fn a_value_without_escapes_is_borrowed() {
    let borrowed = with_target("/?color=red", |request| {
        matches!(
            request.query("color"),
            Some(std::borrow::Cow::Borrowed("red"))
        )
    });
    assert!(borrowed);
}

#[test]
fn query_headers_and_path_do_not_shadow_each_other() {
    let mut service = Pipeline::detached()
        .map_with(|_, request| {
            let get = |name| request.headers().get_str(name).unwrap_or("-");
            let query = request.query("color").unwrap_or("-".into());
            format!(
                "{} {query} {} {:?}",
                get("color"),
                request.path(),
                request.content_type()
            )
        })
        .make_reply()
        .test();
    let headers = [("Color", "green"), ("Content-Type", "text/x")];
    service
        .send(
            "POST",
            "/color?color=red&content-type=q",
            &headers,
            r#"{"color":"blue"}"#,
        )
        .expect(200, "green red /color Some(\"text/x\")");
    service
        .get("/color?other=color")
        .expect(200, "- - /color None");
}

#[test]
fn headers_compare_without_case_and_keep_their_order() {
    let fields = [
        ("Accept", "a"),
        ("x-id", "\u{f6}"),
        ("ACCEPT", "b"),
        ("x-empty", ""),
    ];
    let mut fields = fields.map(|(name, value)| httparse::Header {
        name,
        value: value.as_bytes(),
    });
    fields[1].value = b"\xff";
    let headers = Headers::new(&fields);
    assert_eq!(headers.get("accept"), Some(&b"a"[..]));
    assert_eq!(headers.get_str("aCCept"), Some("a"));
    assert_eq!(headers.get_all("accept").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(
        (headers.get_str("x-id"), headers.get("X-Id")),
        (None, Some(&b"\xff"[..]))
    );
    assert_eq!(
        (headers.get_str("x-empty"), headers.get("accep")),
        (Some(""), None)
    );
    assert_eq!((headers.len(), headers.is_empty()), (4, false));
    let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Accept", "x-id", "ACCEPT", "x-empty"]);
    assert!(Headers::new(&[]).is_empty());
    // Values may be secrets.
    assert_eq!(
        format!("{headers:?}"),
        r#"["Accept", "x-id", "ACCEPT", "x-empty"]"#
    );
}

#[test]
fn a_request_knows_who_sent_it_and_what_it_is_called() {
    with_target("/", |request| {
        assert_eq!(request.id().to_string(), "0192-3-7");
        assert_eq!(
            (request.id().service(), request.id().run()),
            ("my_api", "0192")
        );
        assert_eq!((request.id().partition(), request.id().offset()), (3, 7));
        assert_eq!(
            (request.peer(), request.peer().to_string()),
            (Peer::Unix, "unix".to_owned())
        );
        assert_eq!((request.body(), request.content_type()), (&b""[..], None));
    });
    let mut service = Pipeline::detached()
        .map_with(|_, request| request.id().to_string())
        .make_reply()
        .test();
    service.post("").expect(200, "test-0-0");
    service.post("").expect(200, "test-0-1");
}
