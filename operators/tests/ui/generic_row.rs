//! Rows with parameters of a kind that they cannot have.
extern crate snapback_operators as snapback;

use snapback::Row;

#[derive(Row)]
struct Typed<T> {
    value: T,
}

#[derive(Row)]
struct Sized<const N: usize> {
    value: [u8; N],
}

#[derive(Row)]
enum Twice<'a, 'b> {
    One(&'a [u8]),
    Other(&'b [u8]),
}

fn main() {}
