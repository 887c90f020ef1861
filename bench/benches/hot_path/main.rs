//! What the parts of a request cost by themselves, and the request as a whole.

mod chain;
mod codec;
mod epochs;
mod queues;
mod request;
mod service;
mod timers;

use std::borrow::Cow;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use snapback::prelude::*;

const HELLO: &[u8] = b"POST /my_api HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\
    Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"foo\":\"hello world\",\"bar\":42}";
const HELLO_BODY: &[u8] = b"{\"foo\":\"hello world\",\"bar\":42}";

#[derive(Deserialize, Row)]
struct Hello<'a> {
    #[serde(borrow)]
    foo: Cow<'a, str>,
    #[expect(dead_code, reason = "part of the schema")]
    bar: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

/// Short ones: none of these needs seconds to be told from another.
fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(
    name = benches;
    config = short();
    targets = request::request,
        codec::codec,
        chain::json,
        chain::chain,
        timers::timers,
        queues::queues,
        epochs::epochs
);
criterion_main!(benches);
