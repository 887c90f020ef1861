//! `&str` cannot hold a JSON string that has an escape in it.
extern crate snapback_operators as snapback;

use serde::Deserialize;
use snapback::{Pipeline, Row};

#[derive(Deserialize, Row)]
struct Note<'a> {
    text: &'a str,
}

fn main() {
    Pipeline::detached().parse_request::<Note>().map(|row| row.text.len());
}
