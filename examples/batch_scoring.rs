//! A model that scores the rows that arrived together in one call: one row when the server is idle,
//! more under load, and nobody waits for others.
//!
//! ```text
//! cargo run --release --example batch_scoring
//! curl -d '{"features":[1.0,2.0,3.0]}' localhost:8888/score
//! ```

use serde::{Deserialize, Serialize};
use snapback::prelude::*;

#[derive(Deserialize, Row)]
struct Input {
    features: [f64; 3],
}

#[derive(Serialize)]
struct Score {
    score: f64,
    /// How many rows were scored together.
    batch: usize,
}

/// Stands for a model whose call costs much and whose further rows cost little.
fn model(inputs: &[Input], scores: &mut Vec<Score>) {
    const WEIGHTS: [f64; 3] = [0.5, -0.25, 2.0];
    scores.extend(inputs.iter().map(|input| {
        let weighted = input
            .features
            .iter()
            .zip(WEIGHTS)
            .map(|(feature, weight)| feature * weight);
        Score {
            score: weighted.sum(),
            batch: inputs.len(),
        }
    }));
}

fn main() -> snapback::Result<()> {
    snapback_examples::log_to_stderr();
    let session = Session::new();
    session.drain_on_signals()?;

    let query = session
        .read_stream()
        .continuous_server()
        .address("localhost", 8888, "score")
        .load()?
        .parse_request::<Input>()
        .batch(BatchOptions::default().max_batch_size(64), model)
        .make_reply()
        .write_stream()
        .trigger(Continuous::secs(1))
        .start()?;

    snapback_examples::say_where(&query, r#"-d '{"features":[1.0,2.0,3.0]}'"#);
    query.await_termination()
}
