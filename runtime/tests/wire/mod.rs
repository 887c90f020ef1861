//! Reads the cases of what may come over the wire, which lie beside this file as `*.wire`:
//!
//! ```text
//! # a comment
//! == name of the case
//! ! max_body_bytes=10         limits other than the usual ones
//! > POST / HTTP/1.1\r\n       what is sent; lines are joined, nothing is added
//! >*3 Host: a\r\n             the same three times
//! < POST / HTTP/1.1 keep-alive {Host: a; Content-Length: 2} "{}"
//! <*3 GET / HTTP/1.1 keep-alive {Host: a} ""
//! < 400 LineBreak             a refusal, with the name of the fault
//! < continue                  the client waits for a 100
//! < more                      the last bytes are not a whole request
//! ```
//!
//! Escapes are those of Rust's byte strings: `\r \n \t \\ \" \x00`.

// Each test binary compiles this file and uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// A request that is well, before or behind a case.
pub(crate) const NEIGHBOUR: &[u8] = b"GET /neighbour HTTP/1.1\r\nHost: a\r\n\r\n";

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// File, line and name, for messages.
    pub(crate) place: String,
    /// Limits other than the usual ones.
    pub(crate) max_head_bytes: Option<usize>,
    pub(crate) max_headers: Option<usize>,
    pub(crate) max_body_bytes: Option<usize>,
    /// What the client sends.
    pub(crate) bytes: Vec<u8>,
    /// What the server does, one line each.
    pub(crate) expected: Vec<String>,
}

impl Case {
    /// All cases of all files.
    ///
    /// # Panics
    ///
    /// If a file is not of the form above, or expects nothing.
    pub(crate) fn all() -> Vec<Case> {
        let cases: Vec<_> = files().iter().flat_map(|path| read_file(path)).collect();
        for case in &cases {
            assert!(!case.expected.is_empty(), "{}: expects nothing", case.place);
        }
        cases
    }

    /// Whether the case has limits of its own.
    pub(crate) fn has_limits(&self) -> bool {
        let limits = [self.max_head_bytes, self.max_headers, self.max_body_bytes];
        limits.iter().any(Option::is_some)
    }

    fn new(place: String) -> Case {
        Case {
            place,
            max_head_bytes: None,
            max_headers: None,
            max_body_bytes: None,
            bytes: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Takes a line that belongs to the case.
    fn take(&mut self, line: &str, place: &str) {
        match line.split_at_checked(2) {
            Some(("! ", limits)) => self.take_limits(limits, place),
            Some(("> ", bytes)) => self.bytes.extend(unescape(bytes, place)),
            Some((">*", rest)) => {
                let (times, bytes) = counted(rest, place);
                self.bytes.extend(unescape(bytes, place).repeat(times));
            }
            Some(("< ", event)) => self.expected.push(event.to_owned()),
            Some(("<*", rest)) => {
                let (times, event) = counted(rest, place);
                let events = std::iter::repeat_n(event.to_owned(), times);
                self.expected.extend(events);
            }
            _ => panic!("{place}: a line begins with one of == ! > >* < <* #"),
        }
    }

    fn take_limits(&mut self, text: &str, place: &str) {
        for pair in text.split_whitespace() {
            let (key, value) = pair.split_once('=').expect("key=value");
            let limit = match key {
                "max_head_bytes" => &mut self.max_head_bytes,
                "max_headers" => &mut self.max_headers,
                "max_body_bytes" => &mut self.max_body_bytes,
                _ => panic!("{place}: {key} is no limit"),
            };
            *limit = Some(value.parse().expect("a number"));
        }
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/wire");
    let is_wire = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "wire");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder of wire cases")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(is_wire)
        .collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> Vec<Case> {
    let text = fs::read_to_string(path).expect("a readable file");
    let file = path.file_name().expect("a file").to_string_lossy();
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case::new(format!("{place}: {name}")));
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = cases.last_mut();
            case.unwrap_or_else(|| panic!("{place}: no case yet"))
                .take(line, &place);
        }
    }
    cases
}

fn counted<'l>(line: &'l str, place: &str) -> (usize, &'l str) {
    let (times, rest) = line.split_once(' ').expect("a count and what is repeated");
    let times = times.parse();
    (times.unwrap_or_else(|_| panic!("{place}: no count")), rest)
}

/// The bytes that an escaped text stands for.
pub(crate) fn unescape(text: &str, place: &str) -> Vec<u8> {
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
