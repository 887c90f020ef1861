//! `test` before there is a reply.
extern crate snapback_operators as snapback;

use snapback::Pipeline;

fn main() {
    Pipeline::detached().map(|request| request.body().len()).test();
}
