//! The key of the row is not the key of the table.
extern crate snapback_operators as snapback;

use snapback::{Pipeline, Table};

fn main() {
    let cities = Table::from_iter([("98052".to_owned(), "Redmond")]);
    Pipeline::detached()
        .map(|request| request.body().len())
        .lookup(&cities, |zip| zip, |_, city| city.copied())
        .make_reply();
}
