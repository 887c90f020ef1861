//! The admin listener: probes, API and who may ask, over real sockets.

mod access;
mod api;
mod health;
mod listener;
mod metrics;
mod reloads;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;

use serde_json::Value;
use snapback::Session;
use support::{Answer, Client, Service, reader_in, serve};

/// A session whose admin listener is at a port of the system's choice, and a query `api` in it that
/// answers with the length of the body.
struct Watched {
    session: Session,
    service: Service,
}

fn watched(options: &[(&str, &str)]) -> Watched {
    let session = Session::new();
    let service = echo_in(&session, "api", options);
    Watched { session, service }
}

fn echo_in(session: &Session, path: &str, options: &[(&str, &str)]) -> Service {
    let reader = reader_in(session, path).option("adminAddress", "127.0.0.1:0");
    let mut writer = reader
        .load()
        .expect("the options are good")
        .map(|request| request.body().len())
        .make_reply()
        .write_stream();
    for (key, value) in options {
        writer = writer.option(key, value);
    }
    serve(writer)
}

impl Watched {
    fn admin(&self) -> SocketAddr {
        self.session.admin_address().expect("it is open")
    }

    fn get(&self, target: &str) -> Answer {
        ask(self.admin(), "GET", target, &[])
    }

    fn post(&self, target: &str) -> Answer {
        ask(self.admin(), "POST", target, &[])
    }
}

/// One request over a connection of its own, as every request to the admin listener is.
fn ask(admin: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let has_host = headers.iter().any(|(name, _)| *name == "Host");
    if !has_host {
        head += &format!("Host: {admin}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut client = Client::connect(admin);
    client.send(format!("{head}\r\n"));
    let answer = match method {
        "HEAD" => client.answer_to_head(),
        _ => client.answer(),
    };
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).expect("JSON")
}
