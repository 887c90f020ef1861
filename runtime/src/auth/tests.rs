use super::*;

const TOKEN: &str = "correct-horse-battery-staple";

/// Keys from a variable, as `authKeysEnv` names it.
fn keys(text: &str) -> Result<Keys, AuthKeysError> {
    let mut keys = Keys::default();
    keys.add(text, "KEYS", Rest::InMemory)?;
    keys.sealed()
}

fn auth(text: &str) -> Auth {
    Auth {
        keys: ArcSwap::from_pointee(keys(text).unwrap()),
        api_key_header: Some("x-api-key".into()),
        realm: realm("my \"api\"\\\n"),
        _watch: None,
    }
}

fn sha256(token: &str) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(token);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn identify(auth: &Auth, headers: &[(&str, &str)]) -> Result<String, Denial> {
    let fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| httparse::Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let keys = auth.keys();
    auth.identify(&keys, Headers::new(&fields))
        .map(str::to_owned)
}

#[test]
fn a_token_is_known_by_its_hash() {
    let text = format!(
        "# who may send\n\nbilling:sha256:{}\n  shop:token:another-token-123+/=  # new\r\n",
        sha256(TOKEN)
    );
    let auth = auth(&text);
    let bearer = format!("Bearer {TOKEN}");
    let upper = format!("BEARER   {TOKEN} ");
    for (headers, name) in [
        ([("Authorization", &*bearer)], "billing"),
        ([("authorization", &*upper)], "billing"),
        ([("X-API-Key", TOKEN)], "billing"),
        ([("authorization", "bearer another-token-123+/=")], "shop"),
    ] {
        assert_eq!(
            identify(&auth, &headers),
            Ok(name.to_owned()),
            "{headers:?}"
        );
    }
}

#[test]
fn everything_else_is_denied() {
    let auth = auth(&format!("billing:token:{TOKEN}"));
    let bearer = format!("Bearer {TOKEN}");
    let long = format!("Bearer {TOKEN}{}", "x".repeat(20_000));
    let hash = format!("Bearer {}", sha256(TOKEN));
    for (headers, denial) in [
        (&[][..], Denial::Missing),
        (&[("authorization", "Basic dXNlcjpwYXNz")], Denial::Missing),
        (&[("authorization", TOKEN)], Denial::Missing),
        (&[("authorization", "")], Denial::Missing),
        (&[("authorization", "Bearer")], Denial::Unknown),
        (&[("authorization", "Bearer ")], Denial::Unknown),
        (&[("authorization", "Bearer correct")], Denial::Unknown),
        (&[("authorization", &long)], Denial::Unknown),
        (&[("authorization", &hash)], Denial::Unknown),
        (&[("x-api-key", &bearer)], Denial::Unknown),
        (&[("x-api-key", "")], Denial::Unknown),
        (
            &[("authorization", &bearer), ("x-api-key", TOKEN)],
            Denial::Several,
        ),
        (
            &[("authorization", &bearer), ("authorization", &bearer)],
            Denial::Several,
        ),
    ] {
        assert_eq!(identify(&auth, headers), Err(denial), "{headers:?}");
    }
    let both = [
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("x-api-key", TOKEN),
    ];
    assert_eq!(identify(&auth, &both), Ok("billing".to_owned()));
}

#[test]
fn challenges_are_those_of_rfc_6750() {
    let auth = auth(&format!("billing:token:{TOKEN}"));
    let challenge = |denial| {
        let (mut body, mut head) = (Vec::new(), snapback_operators::ReplyHead::default());
        auth.challenge(denial, &mut Reply::new(&mut body, &mut head), &[]);
        let lines = String::from_utf8(head.header_lines().to_vec()).unwrap();
        (head.status(), lines)
    };
    assert_eq!(
        challenge(Denial::Missing),
        (
            401,
            "www-authenticate: Bearer realm=\"my api\"\r\n".to_owned()
        )
    );
    let (status, lines) = challenge(Denial::Unknown);
    assert_eq!(status, 401);
    assert!(lines.contains("Bearer realm=\"my api\", error=\"invalid_token\""));
    let (status, lines) = challenge(Denial::Several);
    assert_eq!(status, 400);
    assert!(lines.contains("error=\"invalid_request\""));
}

#[test]
fn a_bad_line_is_named_and_not_shown() {
    let hash = sha256(TOKEN);
    let other = sha256("other");
    for (text, line, fault) in [
        ("s3cret".to_owned(), 1, LineFault::Form),
        (format!("a:sha256:{hash}\n\nb:s3cret"), 3, LineFault::Form),
        (format!("a:md5:{hash}"), 1, LineFault::Form),
        (format!(":sha256:{hash}"), 1, LineFault::Name),
        (
            format!("{}:sha256:{hash}", "n".repeat(65)),
            1,
            LineFault::Name,
        ),
        (format!("bö:sha256:{hash}"), 1, LineFault::Name),
        (format!("a:sha256:{}", &hash[1..]), 1, LineFault::Hash),
        (format!("a:sha256:+{}", &hash[1..]), 1, LineFault::Hash),
        (format!("a:sha256:{hash}0"), 1, LineFault::Hash),
        ("a:token:s3cret".to_owned(), 1, LineFault::Token),
        (
            "a:token:s3cret-s3cret-s3cret-\"".to_owned(),
            1,
            LineFault::Token,
        ),
        (
            format!("a:sha256:{other}\nb:sha256:{hash} c:token:{TOKEN}"),
            2,
            LineFault::Repeated,
        ),
    ] {
        let error = keys(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        for secret in ["s3cret", TOKEN, &hash[2..]] {
            assert!(!shown.contains(secret), "{shown}");
        }
        match error {
            AuthKeysError::Line {
                line: found_line,
                fault: found,
                ..
            } => assert_eq!((found_line, found), (line, fault), "{text}"),
            other => panic!("{other}"),
        }
    }
    assert!(matches!(keys("# nobody\n"), Err(AuthKeysError::NoKeys)));
}

/// A name may have an old key and a new one, while they are exchanged.
#[test]
fn one_name_may_have_several_keys() {
    let text = format!("a:token:{TOKEN}, a:token:{TOKEN}-2, a:token:{TOKEN}");
    let auth = auth(&text);
    assert_eq!(auth.keys().len(), 2);
    for token in [TOKEN.to_owned(), format!("{TOKEN}-2")] {
        assert_eq!(
            identify(&auth, &[("x-api-key", &token)]),
            Ok("a".to_owned())
        );
    }
}

#[test]
fn a_file_has_no_tokens() {
    let text = format!("a:token:{TOKEN}");
    let error = Keys::default().with_file(Path::new("keys"), &text);
    assert!(matches!(
        error,
        Err(AuthKeysError::Line {
            fault: LineFault::TokenInFile,
            ..
        })
    ));
}

#[test]
fn nothing_shows_a_secret() {
    let auth = auth(&format!("billing:token:{TOKEN}"));
    let shown = format!("{auth:?} {:?}", auth.keys());
    assert!(
        !shown.contains(TOKEN) && !shown.contains("billing"),
        "{shown}"
    );
    // Nor a hash, as text or as a list of bytes.
    assert!(
        !shown.contains(&sha256(TOKEN)[..8]) && shown.len() < 200,
        "{shown}"
    );
}

/// All of many keys are found, whatever their order.
#[test]
fn many_keys_are_looked_up() {
    let entry = |index| format!("key-{index}:token:token-number-{index:08}");
    let text: Vec<_> = (0..1000).map(entry).collect();
    let auth = auth(&text.join(" "));
    for index in 0..1000 {
        let token = format!("token-number-{index:08}");
        let found = identify(&auth, &[("x-api-key", &token)]);
        assert_eq!(found, Ok(format!("key-{index}")));
    }
    let unknown = identify(&auth, &[("x-api-key", "token-number-00001000")]);
    assert_eq!(unknown, Err(Denial::Unknown));
}
