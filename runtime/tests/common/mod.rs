//! A blocking HTTP client, and the start of a query on a free port.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use snapback::prelude::*;
use snapback::{Requests, Server};
use snapback_operators::Start;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of `service` at a free port of the loopback address.
pub fn read(
    session: &Session,
    service: &str,
    partitions: usize,
) -> Pipeline<Server, Requests, Start> {
    session
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, service)
        .option("numPartitions", partitions)
        .option("pinning", "off")
        .option("shutdownTimeout", "100ms")
        .load()
        .expect("the options are valid")
}

pub fn port(query: &StreamingQuery) -> u16 {
    query.service_info()[0].port.expect("it listens at a port")
}

/// A connection that stays open.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout is accepted");
        stream.set_nodelay(true).expect("no delay is accepted");
        Client {
            stream,
            received: Vec::new(),
        }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it takes what is sent");
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> Reply {
        self.send(&post(path, body));
        self.reply()
    }

    pub fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        self.reply()
    }

    /// The next reply.
    pub fn reply(&mut self) -> Reply {
        self.try_reply(true).expect("it answers")
    }

    /// The next reply; `has_body` is false for the reply to a HEAD request.
    pub fn try_reply(&mut self, has_body: bool) -> io::Result<Reply> {
        let head_end = loop {
            let end = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.read_some()?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_end]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status line");
        let status = status.parse().expect("a status");
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut reply = Reply {
            status,
            headers,
            body: Vec::new(),
        };
        let length = reply
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let length: usize = if has_body { length.unwrap_or(0) } else { 0 };
        while self.received.len() < head_end + length {
            self.read_some()?;
        }
        reply.body = self.received[head_end..head_end + length].to_vec();
        self.received.drain(..head_end + length);
        Ok(reply)
    }

    /// Whether the server closes the connection, after everything that it sent was read.
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && matches!(self.stream.read(&mut [0; 1]), Ok(0))
    }

    fn read_some(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.received.extend_from_slice(&buffer[..bytes]);
                Ok(())
            }
        }
    }
}

pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The median time of `times` calls after the first three, as Spark Serving's suites take it.
pub fn median(times: usize, mut call: impl FnMut(usize)) -> Duration {
    let mut taken: Vec<_> = (0..times + 3)
        .map(|index| {
            let start = Instant::now();
            call(index);
            start.elapsed()
        })
        .skip(3)
        .collect();
    taken.sort_unstable();
    taken[taken.len() / 2]
}

/// Tries until it holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}
