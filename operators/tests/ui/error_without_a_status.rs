//! An error that does not say which reply it becomes.
extern crate snapback_operators as snapback;

use snapback::Pipeline;

fn main() {
    Pipeline::detached()
        .map(|_| "7".to_owned())
        .try_map(|text| text.parse::<i64>())
        .make_reply();
}
