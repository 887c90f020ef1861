//! `send_reply` with something that is no reply.
extern crate snapback_operators as snapback;

use snapback::Pipeline;

fn main() {
    Pipeline::detached().send_reply(|_| Some(7)).map(|_| ()).make_reply();
}
