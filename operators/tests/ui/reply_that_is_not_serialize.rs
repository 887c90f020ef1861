//! The row before `make_reply` lacks `#[derive(Serialize)]`.
extern crate snapback_operators as snapback;

use snapback::Pipeline;

struct FooLength {
    foo_length: usize,
}

fn main() {
    Pipeline::detached()
        .map(|request| FooLength { foo_length: request.body().len() })
        .make_reply();
}
