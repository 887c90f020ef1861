//! A closure that captures what cannot be cloned for each partition.
extern crate snapback_operators as snapback;

use std::sync::atomic::AtomicU64;

use snapback::Pipeline;

fn main() {
    let seen = AtomicU64::new(0);
    Pipeline::detached()
        .map(move |_| {
            *seen.as_ptr()
        })
        .make_reply();
}
