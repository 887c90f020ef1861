//! The hello world of columns as a server to measure, in any mode:
//!
//! ```console
//! cargo run --release -p snapback-sql --example serve -- continuous 127.0.0.1:8888 0
//! ```
//!
//! The arguments are the mode (`continuous`, `distributed` or `server`), the address, and the core of
//! its partition; `window` behind them adds a window function, so that DataFusion runs the plan.

use std::error::Error;

use snapback::prelude::*;
use snapback_sql::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, address, core, ..] = &arguments[..] else {
        return Err("the arguments are: MODE HOST:PORT CORE [window]".into());
    };
    let session = Session::new();
    session.drain_on_signals()?;
    let reader = match mode.as_str() {
        "continuous" => session.read_stream().continuous_server(),
        "distributed" => session.read_stream().distributed_server(),
        "server" => session.read_stream().server(),
        other => return Err(format!("`{other}` is no mode").into()),
    };
    let (host, port) = address.rsplit_once(':').ok_or("an address is HOST:PORT")?;
    let requests = reader
        .address(host, port.parse()?, "my_api")
        .option("numPartitions", 1)
        .option("pinning", core)
        .option("pollMode", "blocking")
        .option("adminAddress", "none")
        .load()?
        .columns()
        .parse_request("foo STRING, bar INT")?;
    let window = arguments
        .get(3)
        .is_some_and(|argument| argument == "window");
    let replies = match window {
        false => requests.with_column("fooLength", character_length(col("foo")))?,
        true => requests.sql(
            "SELECT character_length(foo) * count(*) OVER () / count(*) OVER () AS fooLength \
             FROM requests",
        )?,
    };
    let query = replies
        .make_reply(col("fooLength"))?
        .write_stream()
        .trigger(Continuous::secs(1))
        .start()?;
    for service in query.service_info() {
        if let Some(port) = service.port {
            println!("listening on {host}:{port}");
        }
    }
    query.await_termination()?;
    Ok(())
}
