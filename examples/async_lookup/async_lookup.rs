//! A look-up in a database, SQLite here: requests wait for it side by side, and nobody else waits.
//!
//! ```text
//! cargo run --release --example async_lookup
//! curl -d '{"zip":"98052"}' localhost:8888/cities
//! ```

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};
use snapback::prelude::*;
use tokio_rusqlite::Connection;

#[derive(Deserialize, Row)]
struct Address {
    zip: String,
}

#[derive(Serialize)]
struct City {
    name: String,
}

const CITIES: &str = "CREATE TABLE cities (zip TEXT PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO cities VALUES ('98052', 'Redmond'), ('10001', 'New York');";

async fn find(cities: Connection, zip: String) -> Result<City, Refusal> {
    let query = "SELECT name FROM cities WHERE zip = ?1";
    let key = zip.clone();
    let found = cities
        .call(move |cities| {
            cities
                .query_row(query, [key], |row| row.get("name"))
                .optional()
        })
        .await;
    match found {
        Ok(Some(name)) => Ok(City { name }),
        Ok(None) => Err(Refusal::new(404, format!("no city has the zip code {zip}"))),
        Err(error) => Err(Refusal::new(
            502,
            format!("the database cannot be asked: {error}"),
        )),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    snapback_examples::log_to_stderr();
    let session = Session::new();
    session.drain_on_signals()?;

    let database = rusqlite::Connection::open_in_memory()?;
    database.execute_batch(CITIES)?;
    let cities = Connection::from(database);

    let query = session
        .read_stream()
        .continuous_server()
        .address("localhost", 8888, "cities")
        .load()?
        .parse_request::<Address>()
        .map_async(move |row| find(cities.clone(), row.zip))
        .try_map(|city| city)
        .make_reply()
        .write_stream()
        .option("requestTimeout", "2s")
        .trigger(Continuous::secs(1))
        .start()?;

    snapback_examples::say_where(&query, r#"-d '{"zip":"98052"}'"#);
    Ok(query.await_termination()?)
}
