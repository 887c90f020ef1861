//! The row type lacks `#[derive(Row)]`.
extern crate snapback_operators as snapback;

use serde::Deserialize;
use snapback::Pipeline;

#[derive(Deserialize)]
struct Hello {
    foo: String,
}

fn main() {
    Pipeline::detached().parse_request::<Hello>().map(|row| row.foo);
}
