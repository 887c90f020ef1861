//! An answer from the middle of the pipeline: requests without a value are refused before the
//! work begins. The first reply wins, so what the end of the pipeline says of them is not sent.
//!
//! ```text
//! cargo run --release --example mid_pipeline_reply
//! curl -i -d '{"value":3}' localhost:8888/squares
//! curl -i -d '{"value":null}' localhost:8888/squares
//! ```

use serde::{Deserialize, Serialize};
use snapback::prelude::*;

#[derive(Deserialize, Row)]
struct Measurement {
    value: Option<f64>,
}

#[derive(Serialize)]
struct Square {
    square: f64,
}

fn main() -> snapback::Result<()> {
    snapback_examples::log_to_stderr();
    let session = Session::new();
    session.drain_on_signals()?;

    let query = session
        .read_stream()
        .continuous_server()
        .address("localhost", 8888, "squares")
        .load()?
        .parse_request::<Measurement>()
        .send_reply(|row| {
            row.value
                .is_none()
                .then(|| Refusal::new(400, "`value` is null: send a number"))
        })
        .filter(|row| row.value.is_some())
        .map(|row| Square {
            square: row.value.unwrap_or_default().powi(2),
        })
        .make_reply()
        .write_stream()
        .trigger(Continuous::secs(1))
        .start()?;

    snapback_examples::say_where(&query, r#"-i -d '{"value":null}'"#);
    query.await_termination()
}
