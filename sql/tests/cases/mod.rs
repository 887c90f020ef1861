//! Golden cases: files of schemas, queries, requests and their replies.
//!
//! ```text
//! case a name
//! schema foo STRING, bar INT          Spark's DDL
//! check partial                       full when not said
//! table t SELECT …                    a table beside the requests, any number of them
//! query SELECT … FROM requests
//! column r                            the reply, where the query has several columns
//! batch no: why                       the case is not run as a batch
//! > {"foo":"x","bar":1}               a request
//! 200 json {"r":1}                    its reply: json, text, bytes or none
//! 400 a part of the problem document's detail
//! ```

use std::fs;
use std::path::Path;

use snapback_sql::ParsingCheck;

#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) check: ParsingCheck,
    pub(crate) tables: Vec<(String, String)>,
    pub(crate) query: String,
    pub(crate) column: Option<String>,
    pub(crate) batch: bool,
    pub(crate) exchanges: Vec<Exchange>,
}

#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) body: String,
    pub(crate) status: u16,
    pub(crate) expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Content type and body.
    Reply(Option<&'static str>, String),
    /// A part of the detail.
    Problem(String),
}

/// All cases of the folder, each named with its file.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(&folder).expect("a folder of golden cases");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    files.sort();
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(path: &Path) -> Vec<Case> {
    let file = path.file_name().unwrap_or_default().display().to_string();
    let text = fs::read_to_string(path).expect("a readable file");
    let mut cases = Vec::new();
    let mut body = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word.is_empty() || word == "#" {
            continue;
        }
        if word == "case" {
            cases.push(Case {
                name: format!("{file}: {rest}"),
                batch: true,
                ..Case::default()
            });
            continue;
        }
        let case = cases
            .last_mut()
            .unwrap_or_else(|| panic!("{place}: no case"));
        if word == ">" {
            assert!(body.replace(rest.to_owned()).is_none(), "{place}: no reply");
        } else if let Ok(status) = word.parse() {
            let body = body.take().unwrap_or_else(|| panic!("{place}: no request"));
            case.exchanges.push(Exchange {
                body,
                status,
                expected: expected(status, rest, &place),
            });
        } else {
            case.set(word, rest, &place);
        }
    }
    assert!(body.is_none(), "{file}: the last request has no reply");
    cases
}

impl Case {
    fn set(&mut self, word: &str, rest: &str, place: &str) {
        let value = rest.to_owned();
        match word {
            "schema" => self.schema = value,
            "check" => self.check = rest.parse().expect("a check"),
            "query" => self.query = value,
            "column" => self.column = Some(value),
            "batch" => self.batch = false,
            "table" => {
                let (name, query) = rest.split_once(' ').expect("a name and a query");
                self.tables.push((name.to_owned(), query.to_owned()));
            }
            _ => panic!("{place}: `{word}` is not a word of golden cases"),
        }
    }
}

fn expected(status: u16, rest: &str, place: &str) -> Expected {
    let (kind, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let content_type = match (status, kind) {
        (400.., _) => return Expected::Problem(rest.to_owned()),
        (_, "json") => Some("application/json"),
        (_, "text") => Some("text/plain; charset=utf-8"),
        (_, "bytes") => Some("application/octet-stream"),
        (_, "none" | "") => None,
        _ => panic!("{place}: `{kind}` is no kind of reply"),
    };
    Expected::Reply(content_type, body.to_owned())
}
