//! Without `#[serde(borrow)]` serde always allocates for a `Cow`.
extern crate snapback_operators as snapback;

use std::borrow::Cow;

use serde::Deserialize;
use snapback::{Pipeline, Row};

#[derive(Deserialize, Row)]
struct Note<'a> {
    text: Cow<'a, str>,
}

fn main() {
    Pipeline::detached().parse_request::<Note>().map(|row| row.text.len());
}
