//! A row type that borrows lacks `#[derive(Deserialize)]`.
extern crate snapback_operators as snapback;

use std::borrow::Cow;

use snapback::{Pipeline, Row};

#[derive(Row)]
struct Note<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

fn main() {
    Pipeline::detached().parse_request::<Note>().map(|row| row.text.len());
}
