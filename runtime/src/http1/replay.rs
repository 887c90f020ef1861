//! Replays what a client sends, in any split, and tells what the codec made of it.
//!
//! The cases lie in `tests/wire/*.wire`:
//!
//! ```text
//! # a comment
//! == name of the case
//! ! max_body_bytes=10         limits other than the usual ones
//! > POST / HTTP/1.1\r\n       what is sent; lines are joined, nothing is added
//! >*3 Host: a\r\n             the same three times
//! < POST / HTTP/1.1 keep-alive {Host: a; Content-Length: 2} "{}"
//! < 400 LineBreak             a refusal, with the name of the fault
//! < continue                  the client waits for a 100
//! < more                      the last bytes are not a whole request
//! ```
//!
//! Escapes are those of Rust's byte strings: `\r \n \t \\ \" \x00`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Decoded, Decoder, EMPTY_TABLE, HeaderTable, Limits, Reject, Step};

/// What a connection would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Request {
        line: String,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    },
    Reject(Reject),
    Continue,
    More,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Request {
                line,
                headers,
                body,
            } => {
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
                    .collect();
                write!(
                    f,
                    "{line} {{{}}} \"{}\"",
                    headers.join("; "),
                    body.escape_ascii()
                )
            }
            Event::Reject(reject) => {
                let debug = format!("{reject:?}");
                let name = debug.split(' ').next().unwrap_or_default();
                write!(f, "{} {name}", reject.status())
            }
            Event::Continue => f.write_str("continue"),
            Event::More => f.write_str("more"),
        }
    }
}

impl Event {
    fn request(request: &Decoded<'_, '_>) -> Self {
        assert_eq!(request.is_head, request.method == "HEAD");
        Event::Request {
            line: format!(
                "{} {} HTTP/1.{} {}",
                request.method,
                request.target,
                request.http_minor,
                if request.keep_alive {
                    "keep-alive"
                } else {
                    "close"
                },
            ),
            headers: request
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
            body: request.body.to_vec(),
        }
    }
}

/// Feeds `parts` one after the other to a connection.
pub(crate) fn replay<'p>(parts: impl IntoIterator<Item = &'p [u8]>, limits: &Limits) -> Vec<Event> {
    let mut connection = Connection::default();
    for part in parts {
        if !connection.receive(part, limits) {
            return connection.events;
        }
    }
    if !connection.inbox.is_empty() {
        connection.events.push(Event::More);
    }
    connection.events
}

/// A connection reduced to its inbox.
#[derive(Default)]
struct Connection {
    decoder: Decoder,
    inbox: Vec<u8>,
    events: Vec<Event>,
}

impl Connection {
    /// Takes bytes; `false` when the connection has to close.
    fn receive(&mut self, bytes: &[u8], limits: &Limits) -> bool {
        self.inbox.extend_from_slice(bytes);
        loop {
            let mut table: HeaderTable<'_> = EMPTY_TABLE;
            match self.decoder.decode(&self.inbox, &mut table, limits) {
                Ok(Step::Request(request)) => {
                    assert!(request.consumed > 0 && request.consumed <= self.inbox.len());
                    let consumed = request.consumed;
                    self.events.push(Event::request(&request));
                    self.inbox.drain(..consumed);
                }
                Ok(Step::NeedMore {
                    send_continue,
                    needed_bytes,
                }) => {
                    assert!(needed_bytes > self.inbox.len());
                    self.events.extend(send_continue.then_some(Event::Continue));
                    return true;
                }
                Ok(Step::Dechunk) => match self.decoder.dechunk(&mut self.inbox, limits) {
                    Ok(len) => self.inbox.truncate(len),
                    Err(reject) => return self.refuse(reject),
                },
                Err(reject) => return self.refuse(reject),
            }
        }
    }

    fn refuse(&mut self, reject: Reject) -> bool {
        self.events.push(Event::Reject(reject));
        false
    }
}

/// A 100 is sent only to a client that made the server wait, which depends on the split.
fn without_continue(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| *event != Event::Continue);
    events
}

/// Replays `bytes` whole, split at every byte, and byte by byte; all must tell the same.
pub(crate) fn replay_all_splits(bytes: &[u8], limits: &Limits) -> Vec<Event> {
    let whole = replay([bytes], limits);
    let expected = without_continue(whole.clone());
    // A large case would take minutes at every byte; a prime step still meets every line.
    let step = if bytes.len() > 4096 { 97 } else { 1 };
    for at in (0..=bytes.len()).step_by(step) {
        let (first, rest) = bytes.split_at(at);
        let split = without_continue(replay([first, rest], limits));
        assert_eq!(split, expected, "split behind \"{}\"", first.escape_ascii());
    }
    let single = without_continue(replay(bytes.chunks(1), limits));
    assert_eq!(single, expected, "byte by byte");
    whole
}

struct Case {
    place: String,
    limits: Limits,
    bytes: Vec<u8>,
    expected: Vec<String>,
}

impl Case {
    fn read_all(path: &Path) -> Vec<Case> {
        let text = fs::read_to_string(path).expect("a readable file");
        let file = path.file_name().expect("a file").to_string_lossy();
        let mut cases: Vec<Case> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{file}:{}", number + 1);
            if let Some(name) = line.strip_prefix("== ") {
                cases.push(Case {
                    place: format!("{place}: {name}"),
                    limits: Limits::default(),
                    bytes: Vec::new(),
                    expected: Vec::new(),
                });
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let case = cases
                .last_mut()
                .unwrap_or_else(|| panic!("{place}: no case yet"));
            match line.as_bytes() {
                [b'!', b' ', ..] => case.limit(&line[2..], &place),
                [b'>', b' ', ..] => case.bytes.extend(unescape(&line[2..], &place)),
                [b'>', b'*', ..] => {
                    let (times, bytes) = line[2..].split_once(' ').expect("a count and bytes");
                    let times = times
                        .parse()
                        .unwrap_or_else(|_| panic!("{place}: no count"));
                    case.bytes.extend(unescape(bytes, &place).repeat(times));
                }
                [b'<', b' ', ..] => case.expected.push(line[2..].to_owned()),
                _ => panic!("{place}: a line begins with one of == ! > >* < #"),
            }
        }
        cases
    }

    fn limit(&mut self, text: &str, place: &str) {
        for pair in text.split_whitespace() {
            let (key, value) = pair.split_once('=').expect("key=value");
            let value = value.parse().expect("a number");
            match key {
                "max_head_bytes" => self.limits.max_head_bytes = value,
                "max_headers" => self.limits.max_headers = value,
                "max_body_bytes" => self.limits.max_body_bytes = value,
                _ => panic!("{place}: {key} is no limit"),
            }
        }
    }
}

fn unescape(text: &str, place: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [escape, tail @ ..] = rest else {
            panic!("{place}: ends with a backslash")
        };
        rest = tail;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' | b'"' => *escape,
            b'x' => {
                let (digits, tail) = rest.split_at(2);
                rest = tail;
                let digits = std::str::from_utf8(digits).expect("hexadecimal digits");
                u8::from_str_radix(digits, 16).expect("hexadecimal digits")
            }
            _ => panic!("{place}: unknown escape \\{}", char::from(*escape)),
        });
    }
    bytes
}

fn wire_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder of wire cases")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wire")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_wire_case_in_every_split() {
    let cases: Vec<_> = wire_files()
        .iter()
        .flat_map(|path| Case::read_all(path))
        .collect();
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let Ok(events) = std::panic::catch_unwind(|| replay_all_splits(&case.bytes, &case.limits))
        else {
            failures.push(format!(
                "{}\n  differs between splits or panics\n",
                case.place
            ));
            continue;
        };
        let got: Vec<_> = events.iter().map(Event::to_string).collect();
        if got != case.expected {
            let lines = |list: &[String]| list.join("\n    ");
            let (expected, got) = (lines(&case.expected), lines(&got));
            let place = &case.place;
            failures.push(format!(
                "{place}\n  expected\n    {expected}\n  got\n    {got}\n"
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Byte by byte each request that expects a 100 makes the server wait exactly once.
#[test]
fn a_client_that_waits_is_told_once() {
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let both = [request.as_slice(), chunked, request].concat();
    let events = replay(both.chunks(1), &Limits::default());
    let shown: Vec<_> = events
        .iter()
        .map(|event| matches!(event, Event::Continue))
        .collect();
    assert_eq!(shown, [true, false, true, false, true, false]);
    // Whoever sends the body at once does not wait.
    let events = replay([both.as_slice()], &Limits::default());
    assert!(
        events.len() == 3 && !events.contains(&Event::Continue),
        "{events:?}"
    );
}
