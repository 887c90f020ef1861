use std::io::{Read, Write};
use std::net::TcpStream;

use snapback_operators::{Context, Mode, Panicked, Turn};

use super::*;
use crate::reader::Server;
use crate::writer::StreamWriter;

/// A chain that panics where no edge catches it, as a fault of this crate would, when the body
/// says so.
#[derive(Clone)]
struct Bomb;

impl Chain for Bomb {
    fn call(&mut self, cx: &mut Context<'_, '_>) -> Result<(), Panicked> {
        assert_ne!(cx.request().body(), b"boom");
        let id = cx.request().id().to_string();
        cx.reply().text(&id);
        Ok(())
    }

    fn defers(&self) -> bool {
        false
    }

    fn settle(&mut self, _turn: &mut dyn Turn) -> Result<(), Panicked> {
        Ok(())
    }

    fn refresh(&mut self) {}

    fn instance(&self) -> Box<dyn Chain> {
        Box::new(Bomb)
    }
}

/// The reply to a body, or nothing when the connection was closed.
fn post(port: u16, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n",
        body.len()
    );
    write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
    let mut reply = String::new();
    stream
        .read_to_string(&mut reply)
        .map_or_else(|_| String::new(), |_| reply)
}

#[test]
fn a_partition_that_panics_starts_anew_with_its_listener_and_its_offsets() {
    let mut options = Options::default();
    for (key, value) in [("host", "127.0.0.1"), ("port", "0"), ("numPartitions", "1")] {
        options.set(key, value).unwrap();
    }
    options.set("shutdownTimeout", "100ms").unwrap();
    options.set("adminAddress", "none").unwrap();
    let server = Server {
        session: Session::new(),
        options,
        mode: Mode::Continuous,
    };
    let query = StreamWriter::new(server, Box::new(Bomb))
        .query_name("bomb")
        .start()
        .unwrap();
    let port = query.service_info()[0].port.unwrap();

    for round in 0..3 {
        let reply = post(port, "fine");
        assert!(
            reply.ends_with(&format!("-0-{}", 2 * round)),
            "round {round}: {reply}"
        );
        assert_eq!(post(port, "boom"), "", "the connection is lost");
    }
    assert!(query.is_active());
    query.stop().unwrap();
    assert_eq!(query.status().restarts, 3);
}
