//! A closure that borrows from the function that builds the pipeline.
extern crate snapback_operators as snapback;

use snapback::Pipeline;

fn main() {
    let prefix = "hello, ".to_owned();
    Pipeline::detached().map(|request| format!("{prefix}{}", request.path())).make_reply();
}
