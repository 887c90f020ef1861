//! Keys over sockets: who is served, who is not, and how keys are exchanged.

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use snapback::{BatchOptions, Error, ServerReader};
use support::{Answer, Client, Service, eventually, reader, serve};

const BILLING: &str = "billing-token-0123456789";
const SHOP: &str = "shop-token-0123456789";

/// Answers with the offset of the request and the name of its sender.
fn who(reader: ServerReader) -> Service {
    let requests = reader.load().expect("the options are good");
    let names = requests.map(|request| {
        let name = request.identity().unwrap_or("nobody");
        format!("{} {name}", request.id().offset())
    });
    serve(names.make_reply().write_stream())
}

/// A service whose keys are in this file.
fn with_file(path: &Path) -> ServerReader {
    reader("api").option("authKeysFile", path.display())
}

fn key_line(name: &str, token: &str) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(token);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}:sha256:{digits}\n")
}

fn request(headers: &str, body: &str) -> String {
    let bytes = body.len();
    format!("POST /api HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {bytes}\r\n\r\n{body}")
}

fn ask(client: &mut Client, headers: &str) -> Answer {
    client.send(request(headers, "{}"));
    client.answer()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn a_request_needs_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(
        &file,
        key_line("billing", BILLING) + &key_line("shop", SHOP),
    )
    .unwrap();
    let service = who(with_file(&file));
    let mut client = service.client();
    let mut table = String::new();
    for headers in [
        bearer(BILLING),
        format!("authorization: bEARER  {SHOP}\r\n"),
        format!("X-Api-Key: {SHOP}\r\n"),
        String::new(),
        bearer("wrong-token-0123456789"),
        "Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n".to_owned(),
        bearer(BILLING) + &bearer(BILLING),
        bearer(BILLING) + &format!("x-api-key: {BILLING}\r\n"),
        bearer(SHOP),
    ] {
        let answer = ask(&mut client, &headers);
        let challenge = answer.header("www-authenticate").unwrap_or("-");
        let text = if answer.status == 200 {
            answer.text()
        } else {
            ""
        };
        table += &format!("{} {challenge} {text}\n", answer.status);
    }
    // Who is not served takes no offset, and its connection goes on.
    expect_test::expect![[r#"
        200 - 0 billing
        200 - 1 shop
        200 - 2 shop
        401 Bearer realm="api" 
        401 Bearer realm="api", error="invalid_token" 
        401 Bearer realm="api" 
        400 Bearer realm="api", error="invalid_request" 
        400 Bearer realm="api", error="invalid_request" 
        200 - 3 shop
    "#]]
    .assert_eq(&table);
}

#[test]
fn a_denial_stands_in_its_place_among_pipelined_requests() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, key_line("billing", BILLING)).unwrap();
    let service = who(with_file(&file));
    let mut client = service.client();
    let requests = [
        request(&bearer(BILLING), "1"),
        // Its body would be malformed; it is not looked at.
        request(
            "Content-Encoding: gzip\r\nX-Request-Id: mine\r\n",
            "not gzip",
        ),
        request(&bearer(BILLING), "2"),
    ];
    client.send(requests.concat());
    assert_eq!(client.answer().text(), "0 billing");
    let denied = client.answer();
    assert_eq!(
        (denied.status, denied.header("x-request-id")),
        (401, Some("mine"))
    );
    assert_eq!(denied.json()["correlationId"], "mine");
    assert_eq!(client.answer().text(), "1 billing");
}

/// Who has no key is told so before the body has come, and is not asked for it.
#[test]
fn a_body_is_not_awaited_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, key_line("billing", BILLING)).unwrap();
    let service = who(with_file(&file));
    for framing in [
        "Content-Length: 1000000\r\n\r\n",
        "Content-Length: 1000000\r\n\r\nthe first bytes",
        "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\n",
    ] {
        let mut client = service.client();
        client.send(request(&bearer(BILLING), "first"));
        assert_eq!(client.answer().status, 200);
        client.send(format!(
            "POST /api HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n{framing}"
        ));
        let answer = client.answer();
        assert_eq!((answer.status, answer.closes()), (401, true), "{framing:?}");
        assert_eq!(answer.header("x-request-id"), Some("mine"));
        assert!(client.is_at_end(), "{framing:?}");
    }
    // Who has one is asked, and served.
    let mut client = service.client();
    let head = format!("POST /api HTTP/1.1\r\nHost: a\r\n{}", bearer(BILLING));
    client.send(format!(
        "{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 100);
    client.send("{}");
    assert_eq!(client.answer().status, 200);
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n"));
    client.send("{}\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn the_name_goes_with_a_deferred_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, key_line("billing", BILLING)).unwrap();
    let requests = with_file(&file).load().unwrap();
    let lengths = requests.map(|request| request.body().len());
    let later = lengths.batch(BatchOptions::default(), |rows, out| {
        out.extend_from_slice(rows)
    });
    let names = later.map_with(|bytes, request| {
        format!(
            "{bytes} bytes of {}",
            request.identity().unwrap_or("nobody")
        )
    });
    let service = serve(names.make_reply().write_stream());
    let mut client = service.client();
    assert_eq!(
        ask(&mut client, &bearer(BILLING)).text(),
        "2 bytes of billing"
    );
    assert_eq!(ask(&mut client, "").status, 401);
}

#[test]
fn the_header_of_a_key_may_have_another_name_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, key_line("billing", BILLING)).unwrap();
    let ours = who(with_file(&file).option("apiKeyHeader", "X-Ours"));
    let mut client = ours.client();
    assert_eq!(
        ask(&mut client, &format!("x-ours: {BILLING}\r\n")).status,
        200
    );
    assert_eq!(
        ask(&mut client, &format!("x-api-key: {BILLING}\r\n")).status,
        401
    );
    let none = who(with_file(&file).option("apiKeyHeader", "none"));
    let mut client = none.client();
    assert_eq!(
        ask(&mut client, &format!("x-api-key: {BILLING}\r\n")).status,
        401
    );
    assert_eq!(ask(&mut client, &bearer(BILLING)).status, 200);
}

/// Keys are exchanged while requests are served: who stays on the list never notices.
#[test]
fn keys_are_exchanged_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let stays = key_line("billing", BILLING);
    fs::write(
        &file,
        stays.clone() + &key_line("old", "old-token-0123456789"),
    )
    .unwrap();
    let service = who(with_file(&file));
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let (service, ends) = (&service, &ends);
        let load = scope.spawn(move || {
            let mut client = service.client();
            let mut answered = 0;
            while !ends.load(Ordering::Relaxed) {
                assert_eq!(ask(&mut client, &bearer(BILLING)).status, 200);
                answered += 1;
            }
            answered
        });
        let mut client = service.client();
        assert_eq!(
            ask(&mut client, &bearer("old-token-0123456789")).status,
            200
        );
        fs::write(&file, stays + &key_line("new", "new-token-0123456789")).unwrap();
        eventually("the new key is known", || {
            (ask(&mut client, &bearer("new-token-0123456789")).status == 200).then_some(())
        });
        assert_eq!(
            ask(&mut client, &bearer("old-token-0123456789")).status,
            401
        );
        ends.store(true, Ordering::Relaxed);
        assert!(load.join().unwrap() > 0);
    });
}

#[test]
fn a_service_does_not_start_without_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let start = |reader: ServerReader| {
        let requests = reader.load().unwrap();
        let error = requests.map(|_| "").make_reply().write_stream().start();
        error.expect_err("it has no keys").to_string()
    };
    assert!(start(with_file(&file)).contains("authKeysFile"));
    fs::write(
        &file,
        format!("{}\nshop:token:{SHOP}\n", key_line("a", BILLING)),
    )
    .unwrap();
    let error = start(with_file(&file));
    assert!(error.contains("line 3") && !error.contains(SHOP), "{error}");
    fs::write(&file, "# nobody yet\n").unwrap();
    assert!(start(with_file(&file)).contains("no key"));
    let unset = reader("api").option("authKeysEnv", "SNAPBACK_TEST_UNSET_VARIABLE");
    assert!(start(unset).contains("SNAPBACK_TEST_UNSET_VARIABLE"));
}

#[test]
fn a_variable_may_have_tokens() {
    const TEST: &str = "a_variable_may_have_tokens";
    if !support::is_child_for(TEST) {
        let keys = format!("{},shop:token:{SHOP}", key_line("billing", BILLING).trim());
        let output = support::child_for(TEST)
            .env("SNAPBACK_TEST_KEYS", keys)
            .output();
        let output = output.expect("the test binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    let service = who(reader("api").option("authKeysEnv", "SNAPBACK_TEST_KEYS"));
    let mut client = service.client();
    assert_eq!(ask(&mut client, &bearer(BILLING)).text(), "0 billing");
    assert_eq!(ask(&mut client, &bearer(SHOP)).text(), "1 shop");
    assert_eq!(ask(&mut client, "").status, 401);
}

#[test]
fn errors_are_values_that_can_be_matched() {
    let missing = with_file(Path::new("no-such-file-of-keys"));
    let error = missing.load().unwrap().map(|_| "").make_reply();
    let error = error.write_stream().start().unwrap_err();
    assert!(matches!(error, Error::AuthKeys(_)), "{error}");
}
