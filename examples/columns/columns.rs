//! One definition, used both ways: over a file of rides, or as a service.
//!
//! ```text
//! cargo run --release --example columns -- rides.json
//! cargo run --release --example columns
//! curl -d '{"zone":"city","km":4.2,"passengers":2}' localhost:8888/fares
//! ```

use snapback::prelude::*;
use snapback_example_columns::{RIDE, with_fare};
use snapback_sql::prelude::*;
use snapback_sql::{context, ddl};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        Some(file) => show_file(&file),
        None => serve(),
    }
}

fn show_file(file: &str) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let schema = ddl::parse(RIDE)?;
    runtime.block_on(async {
        let options = JsonReadOptions::default().schema(&schema);
        let rides = context().read_json(file, options).await?;
        with_fare(rides)?.show().await
    })?;
    Ok(())
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    snapback_examples::log_to_stderr();
    let session = Session::new();
    session.drain_on_signals()?;

    let query = session
        .read_stream()
        .continuous_server()
        .address("localhost", 8888, "fares")
        .load()?
        .columns()
        .parse_request(RIDE)?
        .transform(with_fare)?
        .make_reply(col("fare"))?
        .write_stream()
        .trigger(Continuous::secs(1))
        .start()?;

    let ride = r#"-d '{"zone":"city","km":4.2,"passengers":2}'"#;
    snapback_examples::say_where(&query, ride);
    Ok(query.await_termination()?)
}
