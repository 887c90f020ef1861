//! What can be wrong with a request, and with which status it is answered.

/// Declares the faults: the enum, its messages, and which status answers each, from one table.
macro_rules! faults {
    ($($status:literal $name:ident $({ $($field:ident: $type:ty),+ })?: $message:tt;)+) => {
        /// Why a request is refused. The connection closes after the answer.
        ///
        /// Texts out of the request are escaped and cut to [`SHOWN_BYTES`].
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub(crate) enum Reject {
            $(#[error($message)] $name $({ $($field: $type),+ })?,)+
        }

        impl Reject {
            /// The status of the answer (RFC 9110, section 15).
            pub(crate) fn status(&self) -> u16 {
                match self {
                    $(Reject::$name { .. } => $status,)+
                }
            }

            /// The name of the fault, for tests and tables.
            #[cfg(any(test, feature = "internals"))]
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Reject::$name { .. } => stringify!($name),)+
                }
            }
        }

        /// Status, name and message of every fault, in the order of the table.
        #[cfg(test)]
        const FAULTS: &[(u16, &str, &str)] = &[$(($status, stringify!($name), $message)),+];
    };
}

// The one table from fault to status.
faults! {
    400 EmptyLines { limit: usize }:
        "more than {limit} empty lines stand before the request line; send the request line first";
    400 RequestLine { line: Box<str> }:
        "the request line \"{line}\" is not of the form METHOD SP TARGET SP HTTP/1.1 CRLF; \
         percent-encode spaces and control characters in the target";
    400 Target { method: Box<str>, target: Box<str>, way_out: &'static str }:
        "the request target \"{target}\" does not suit the method {method}; {way_out}";
    400 LineBreak:
        "a CR or LF stands alone in the framing of the request; end each line with CRLF";
    400 HeaderName { line: Box<str> }:
        "the header line \"{line}\" does not begin with a field name and a colon; use token \
         characters, no white space before the colon, and no folded lines";
    400 HeaderValue { name: Box<str> }:
        "the value of the header \"{name}\" has a control character; remove or encode it";
    400 HostMissing:
        "an HTTP/1.1 request has no Host header; send one, which may be empty";
    400 HostRepeated:
        "the request has several Host headers; send one";
    400 Host { value: Box<str> }:
        "the host \"{value}\" is not of the form name[:port]; correct the Host header or the target";
    400 HostDiffers { host: Box<str>, authority: Box<str> }:
        "the Host header says \"{host}\" but the target \"{authority}\"; send the same host in both";
    400 ContentLength { value: Box<str> }:
        "Content-Length \"{value}\" is not one number of bytes; send digits only";
    400 ContentLengthRepeated:
        "the request has several Content-Length headers; send one";
    400 LengthAndCoding:
        "the request has both Content-Length and Transfer-Encoding; send one of them";
    400 TransferEncoding { value: Box<str> }:
        "Transfer-Encoding \"{value}\" does not end with one plain \"chunked\"; \
         send chunked alone, or a Content-Length";
    400 CodingInHttp10:
        "an HTTP/1.0 request has Transfer-Encoding; send a Content-Length or use HTTP/1.1";
    400 PlainHttp:
        "plain HTTP was sent to a port for HTTPS; use https:// and its port";
    400 ChunkSize { line: Box<str>, limit: usize }:
        "the chunk size in \"{line}\" is not one to {limit} hexadecimal digits";
    400 ChunkExtension { line: Box<str> }:
        "the chunk extension in \"{line}\" is not of the form ;name=value with the value on the \
         same line; leave extensions out";
    400 ChunkEnd:
        "the data of a chunk is not followed by CRLF; make the chunk size fit the data";
    400 RequestTimeout { value: Box<str> }:
        "x-request-timeout-ms \"{value}\" is not a whole number of milliseconds; send digits only";
    408 HeadTooSlow:
        "the head of the request was not whole in time; send it faster, or raise headerTimeout";
    408 BodyTooSlow:
        "the body of the request was not whole in time; send it faster, or raise bodyTimeout or \
         lower minBodyRate";
    413 BodyTooLarge { limit_bytes: usize }:
        "the body is larger than {limit_bytes} bytes; send less, or raise maxRequestBytes";
    413 ChunkExtensionsTooLarge { limit_bytes: usize }:
        "the chunk extensions are longer than {limit_bytes} bytes; leave them out";
    414 TargetTooLong { limit_bytes: usize }:
        "the request line is longer than the {limit_bytes} bytes of a whole head; \
         move parameters from the target into the body";
    417 Expectation { value: Box<str> }:
        "the expectation \"{value}\" is unknown; only 100-continue can be met";
    431 HeadTooLarge { limit_bytes: usize }:
        "the head of the request is longer than {limit_bytes} bytes; send fewer or shorter headers";
    431 TooManyHeaders { limit: usize }:
        "the request has more than {limit} header or trailer fields; send fewer";
    431 TrailersTooLarge { limit_bytes: usize }:
        "the trailers of the body are longer than {limit_bytes} bytes; leave them out";
    501 Connect:
        "CONNECT asks for a tunnel and this is no proxy; use another method";
    501 Coding { value: Box<str> }:
        "the transfer coding \"{value}\" is unknown; send chunked alone";
    505 Version { version: Box<str> }:
        "the protocol version \"{version}\" is not served; use HTTP/1.1 or HTTP/1.0";
}

/// How much of a request a message shows.
const SHOWN_BYTES: usize = 64;

/// Bytes of a request as a message may show them: printable, escaped, cut.
#[cold]
pub(super) fn shown(bytes: &[u8]) -> Box<str> {
    let mut text = bytes[..bytes.len().min(SHOWN_BYTES)]
        .escape_ascii()
        .to_string();
    if bytes.len() > SHOWN_BYTES {
        text.push_str("...");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::FAULTS;
    use crate::internals::{Event, Limits, replay};

    /// What clients read, for one request of each kind of answer.
    #[test]
    fn messages_name_the_value_and_the_way_out() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let long_line = format!("{}\r\n", "x".repeat(70));
        let requests = [
            "GET /a b HTTP/1.1\r\n".to_owned(),
            long_line,
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            post("Authorization : secret"),
            post("X: \u{1}"),
            post("Content-Length: +30"),
            post("Transfer-Encoding: chunked, chunked"),
            post("Transfer-Encoding: chunked") + "1;\"\u{7f}\r\n",
            post("Content-Length: 1000"),
            "GET /a-target-longer-than-a-whole-head-may-be-and-then-some-more-bytes-to-be-sure HTTP/1.1\r\n"
                .to_owned() + "Host: a\r\n\r\n",
            post("Expect: wonders"),
            post("A: 1\r\nB: 2\r\nC: 3"),
            post("Transfer-Encoding: br, chunked"),
            "GET / HTTP/3.0\r\n".to_owned(),
        ];
        let limits = Limits {
            max_head_bytes: 80,
            max_headers: 3,
            max_body_bytes: 100,
        };
        let mut table = String::new();
        for request in requests {
            match replay([request.as_bytes()], &limits).as_slice() {
                [
                    Event::Refused {
                        status, message, ..
                    },
                ] => table.push_str(&format!("{status} {message}\n")),
                other => panic!("{request:?} gives {other:?}"),
            }
        }
        expect![[r#"
            400 the request line "GET /a b HTTP/1.1" is not of the form METHOD SP TARGET SP HTTP/1.1 CRLF; percent-encode spaces and control characters in the target
            400 the request line "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..." is not of the form METHOD SP TARGET SP HTTP/1.1 CRLF; percent-encode spaces and control characters in the target
            400 the request target "*" does not suit the method GET; only OPTIONS may ask for *, send a path
            400 the header line "Authorization " does not begin with a field name and a colon; use token characters, no white space before the colon, and no folded lines
            400 the value of the header "X" has a control character; remove or encode it
            400 Content-Length "+30" is not one number of bytes; send digits only
            400 Transfer-Encoding "chunked, chunked" does not end with one plain "chunked"; send chunked alone, or a Content-Length
            400 the chunk extension in "1;\"\x7f" is not of the form ;name=value with the value on the same line; leave extensions out
            413 the body is larger than 100 bytes; send less, or raise maxRequestBytes
            414 the request line is longer than the 80 bytes of a whole head; move parameters from the target into the body
            417 the expectation "wonders" is unknown; only 100-continue can be met
            431 the request has more than 3 header or trailer fields; send fewer
            501 the transfer coding "br, chunked" is unknown; send chunked alone
            505 the protocol version "HTTP/3.0" is not served; use HTTP/1.1 or HTTP/1.0
        "#]].assert_eq(&table);
    }

    /// The table of `docs/http.md`, sorted by status.
    fn fault_table() -> String {
        let mut faults = FAULTS.to_vec();
        faults.sort_by_key(|fault| fault.0);
        let rows = faults.iter().map(|(status, name, message)| {
            let message = message.replace(['{', '}'], "*");
            format!("| {status} | `{name}` | {message} |\n")
        });
        "| Status | Fault | What the client reads |\n|---|---|---|\n".to_owned()
            + &rows.collect::<String>()
    }

    #[test]
    fn services_describe_each_status_of_the_table() {
        let described = crate::openapi::REFUSALS.map(|(status, _)| status);
        for (status, name, _) in FAULTS {
            assert!(described.contains(status), "{status} {name}");
        }
    }

    #[test]
    fn the_documentation_lists_the_faults_as_they_are() {
        const MARKS: [&str; 2] = ["<!-- faults -->\n", "<!-- end of faults -->"];
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md");
        let written = std::fs::read_to_string(&file).expect("docs/http.md");
        let (before, rest) = written.split_once(MARKS[0]).expect("the first mark");
        let (_, after) = rest.split_once(MARKS[1]).expect("the last mark");
        let text = [before, MARKS[0], &fault_table(), MARKS[1], after].concat();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &text).expect("docs/http.md can be written");
            return;
        }
        assert!(
            written == text,
            "run `UPDATE_DOCS=1 cargo test -p snapback --lib fault`"
        );
    }
}
