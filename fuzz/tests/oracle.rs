//! The verdicts of hyper and of the codec on the same bytes. Where they differ, a row of
//! `src/oracle/table.rs` says why ours is right.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use snapback_fuzz::oracle::table::{ROWS, Row, explain};
use snapback_fuzz::oracle::{difference, run};

#[path = "../../runtime/tests/wire/mod.rs"]
mod wire;

use wire::{Case, NEIGHBOUR};

/// The row that explains how the verdicts differ; an error says how, if no row does.
fn row(bytes: &[u8]) -> Result<Option<&'static Row>, String> {
    let Some(difference) = difference(bytes) else {
        return Ok(None);
    };
    let row = explain(&difference);
    row.map(Some).ok_or_else(|| difference.to_string())
}

#[test]
fn every_wire_case_has_the_same_verdict_or_a_row() {
    let (mut failures, mut same) = (Vec::new(), 0);
    for case in Case::all() {
        for bytes in [case.bytes.clone(), [NEIGHBOUR, &case.bytes].concat()] {
            match row(&bytes) {
                Ok(None) => same += 1,
                Ok(Some(_)) => {}
                Err(difference) => failures.push(format!("{}: {difference}", case.place)),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(same >= 700, "only {same} verdicts are the same");
}

/// A row that nothing needs would let a new difference through.
#[test]
fn every_row_is_needed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/oracle");
    let corpus = fs::read_dir(corpus)
        .expect("a corpus")
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("a readable file"));
    let used: Vec<_> = Case::all()
        .into_iter()
        .map(|case| case.bytes)
        .chain(corpus)
        .filter_map(|bytes| row(&bytes).expect("a row"))
        .collect();
    let is_used = |row: &Row| used.iter().any(|used| std::ptr::eq(*used, row));
    let unused: Vec<_> = ROWS.iter().filter(|row| !is_used(row)).collect();
    assert!(unused.is_empty(), "nothing needs {unused:#?}");
}

/// What is done to the bytes of a case.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = select(b"\r\n\0\t :;,\"=+-0123456789afxAZ/?#*[]%\x0b\x7f\x80\xff".as_slice());
    let text = select(TEXTS);
    prop_oneof![
        (any::<Index>(), byte).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<Index>(), text).prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<Index>(), 1..20usize).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<Index>(), 1..60usize).prop_map(|(at, len)| Change::Repeat(at, len)),
    ]
}

/// What means something to one reader or the other.
const TEXTS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\r\n ",
    "0\r\n\r\n",
    "1\r\nx\r\n",
    "\r\nHost: a",
    "\r\nHost: b:80",
    "\r\nContent-Length: 5",
    "\r\nContent-Length: 0",
    "\r\nTransfer-Encoding: chunked",
    "\r\nTransfer-Encoding: gzip",
    "\r\nConnection: close",
    "\r\nConnection: keep-alive",
    "\r\nConnection: upgrade\r\nUpgrade: h2c",
    "\r\nExpect: 100-continue",
    ", chunked",
    ", close",
    "http://a",
    "https://a:443/",
    "HTTP/1.0",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
];

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = bytes.len();
        match *change {
            _ if len == 0 => {}
            Change::Replace(at, byte) => bytes[at.index(len)] = byte,
            Change::Insert(at, text) => {
                let at = at.index(len);
                bytes.splice(at..at, text.bytes());
            }
            Change::Remove(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Change::Repeat(at, count) => {
                let at = at.index(len);
                let piece = bytes[at..len.min(at + count)].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Cases that are not long, so that changes hit what matters.
fn short_cases() -> Vec<Vec<u8>> {
    let cases = Case::all().into_iter().map(|case| case.bytes);
    cases.filter(|bytes| bytes.len() < 1000).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cases that were changed here and there, one behind the other.
    #[test]
    fn changed_cases_have_the_same_verdict_or_a_row(
        picked in vec((select(short_cases()), vec(change(), 0..4)), 1..3),
    ) {
        let bytes: Vec<u8> = picked
            .into_iter()
            .flat_map(|(bytes, changes)| changed(bytes, &changes))
            .collect();
        run(&bytes);
    }
}
