//! What the examples share; each example is a file beside this one.

use std::io::IsTerminal;

use snapback::StreamingQuery;

/// Shows the log of the library, on standard error.
pub fn log_to_stderr() {
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .init();
}

/// Prints where a query listens, and a command that tries it.
pub fn say_where(query: &StreamingQuery, curl_arguments: &str) {
    for service in query.service_info() {
        println!("{} listens at {service}", query.name());
    }
    if let Some(service) = query.service_info().first() {
        println!("try: curl {curl_arguments} {service}");
    }
}
