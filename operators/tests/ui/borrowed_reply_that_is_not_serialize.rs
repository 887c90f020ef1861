//! A borrowed row before `make_reply` lacks `#[derive(Serialize)]`.
extern crate snapback_operators as snapback;

use snapback::{Pipeline, Row};

#[derive(Row)]
struct Tail<'a>(&'a [u8]);

fn main() {
    Pipeline::detached().map_row::<Tail, _>(|request| Tail(request.body())).make_reply();
}
