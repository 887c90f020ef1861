//! `write_stream` before there is a reply.
extern crate snapback_operators as snapback;

use snapback::{Chain, Origin, Pipeline};

struct Server;

impl Origin for Server {
    type Writer = ();

    fn write_stream(self, _chain: Box<dyn Chain>) {}
}

fn main() {
    Pipeline::from_origin(Server).filter(|request| request.method() == "POST").write_stream();
}
