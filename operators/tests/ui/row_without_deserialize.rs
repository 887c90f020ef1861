//! The row type lacks `#[derive(Deserialize)]`.
extern crate snapback_operators as snapback;

use snapback::{Pipeline, Row};

#[derive(Row)]
struct Hello {
    foo: String,
}

fn main() {
    Pipeline::detached().parse_request::<Hello>().map(|row| row.foo);
}
