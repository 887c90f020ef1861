//! `parse_request` where the rows are no longer requests.
extern crate snapback_operators as snapback;

use serde::Deserialize;
use snapback::{Pipeline, Row};

#[derive(Deserialize, Row)]
struct Hello {
    foo: String,
}

fn main() {
    Pipeline::detached().map(|request| request.body().len()).parse_request::<Hello>();
}
