//! A closure that captures what only one thread may have.
extern crate snapback_operators as snapback;

use std::rc::Rc;

use snapback::Pipeline;

fn main() {
    let prefix = Rc::new("hello, ".to_owned());
    Pipeline::detached()
        .map(move |request| format!("{prefix}{}", request.path()))
        .make_reply();
}
