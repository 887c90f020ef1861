//! `map` gives rows that own what they hold; `map_row` gives rows that borrow.
extern crate snapback_operators as snapback;

use snapback::Pipeline;

fn main() {
    Pipeline::detached().map(|request| request.path()).make_reply();
}
