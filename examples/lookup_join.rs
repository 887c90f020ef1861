//! A join with a static table, which can be replaced while the service runs.
//!
//! ```text
//! cargo run --release --example lookup_join
//! curl -d '{"zip":"98052"}' localhost:8888/cities
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use snapback::prelude::*;

#[derive(Deserialize, Row)]
struct Address<'a> {
    #[serde(borrow)]
    zip: Cow<'a, str>,
}

#[derive(Clone, Serialize)]
struct City {
    name: &'static str,
    state: &'static str,
}

fn main() -> snapback::Result<()> {
    snapback_examples::log_to_stderr();
    let session = Session::new();
    session.drain_on_signals()?;

    let cities: Table<String, City> = HashMap::from([
        (
            "98052".to_owned(),
            City {
                name: "Redmond",
                state: "WA",
            },
        ),
        (
            "10001".to_owned(),
            City {
                name: "New York",
                state: "NY",
            },
        ),
    ])
    .into_iter()
    .collect();

    let query = session
        .read_stream()
        .continuous_server()
        .address("localhost", 8888, "cities")
        .load()?
        .parse_request::<Address>()
        .lookup(
            &cities,
            |row| &*row.zip,
            |row, city| {
                city.cloned()
                    .ok_or_else(|| (404, format!("no city has the zip code {}", row.zip)))
            },
        )
        .try_map(|city| city)
        .make_reply()
        .write_stream()
        .trigger(Continuous::secs(1))
        .start()?;

    // From any thread: requests see either the old or the new table.
    cities.reload([
        (
            "98052".to_owned(),
            City {
                name: "Redmond",
                state: "Washington",
            },
        ),
        (
            "10001".to_owned(),
            City {
                name: "New York",
                state: "New York",
            },
        ),
    ]);

    snapback_examples::say_where(&query, r#"-d '{"zip":"98052"}'"#);
    query.await_termination()
}
