//! The hello world of Spark Serving's documentation: the length of a text.
//!
//! ```text
//! cargo run --release --example hello_world
//! curl -d '{"foo":"hello","bar":1}' localhost:8888/my_api
//! ```

use serde::{Deserialize, Serialize};
use snapback::prelude::*;

#[derive(Deserialize, Row)]
struct Hello {
    foo: String,
    #[expect(
        dead_code,
        reason = "part of the schema: a request without it is refused"
    )]
    bar: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

fn main() -> snapback::Result<()> {
    snapback_examples::log_to_stderr();
    let session = Session::new();
    session.drain_on_signals()?;

    let query = session
        .read_stream()
        .continuous_server()
        .address("localhost", 8888, "my_api")
        .load()?
        .parse_request::<Hello>()
        .map(|row| FooLength {
            foo_length: row.foo.chars().count(),
        })
        .make_reply()
        .write_stream()
        .reply_to("my_api")
        .query_name("my_query")
        .trigger(Continuous::secs(1))
        .start()?;

    snapback_examples::say_where(&query, r#"-d '{"foo":"hello","bar":1}'"#);
    query.await_termination()
}
