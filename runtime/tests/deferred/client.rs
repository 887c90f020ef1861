//! A client over a real socket that sees each reply for itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use snapback::StreamingQuery;

/// A reply that never comes fails its test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    socket: TcpStream,
    received: Vec<u8>,
    parsed: usize,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The status line and the header fields, in small letters.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(query: &StreamingQuery) -> Client {
        let port = query.service_info()[0].port.expect("a TCP port");
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.set_nodelay(true).expect("no delay");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        socket.set_write_timeout(Some(PATIENCE)).expect("a limit");
        Client {
            socket,
            received: Vec::new(),
            parsed: 0,
        }
    }

    /// Sends bytes as they are, in one write.
    pub(crate) fn send(&mut self, requests: &str) {
        self.socket
            .write_all(requests.as_bytes())
            .expect("requests are sent");
    }

    /// The next reply.
    pub(crate) fn reply(&mut self) -> Reply {
        self.read_reply(true)
    }

    /// The next reply; one to HEAD announces a body that does not come.
    pub(crate) fn read_reply(&mut self, has_body: bool) -> Reply {
        loop {
            if let Some(reply) = self.parse(has_body) {
                return reply;
            }
            assert!(self.receive(), "the server hung up before a reply");
        }
    }

    /// Asserts that the server sends no more, and closes.
    pub(crate) fn expect_end(&mut self) {
        while self.receive() {}
        let rest = &self.received[self.parsed..];
        assert!(rest.is_empty(), "more came: {}", rest.escape_ascii());
    }

    /// Sends no more, but still reads.
    pub(crate) fn finish(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("a half-close");
    }

    /// Resets the connection, as a client does that is gone.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))
            .expect("the option exists");
    }

    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.socket.read(&mut buffer) {
            Ok(bytes) => {
                self.received.extend_from_slice(&buffer[..bytes]);
                bytes > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("nothing came within {PATIENCE:?}")
            }
            Err(error) => panic!("the connection failed: {error}"),
        }
    }

    fn parse(&mut self, has_body: bool) -> Option<Reply> {
        let bytes = &self.received[self.parsed..];
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = str::from_utf8(&bytes[..head_end])
            .expect("a head in ASCII")
            .to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let end = head_end + length.filter(|_| has_body).unwrap_or(0);
        let body = bytes.get(head_end..end)?;
        let reply = Reply {
            status: status.expect("a status"),
            head,
            body: String::from_utf8_lossy(body).into_owned(),
        };
        self.parsed += end;
        if self.parsed == self.received.len() {
            self.received.clear();
            self.parsed = 0;
        }
        Some(reply)
    }
}

impl Reply {
    /// Asserts status and body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, body: &str) {
        assert_eq!((self.status, &*self.body), (status, body), "{}", self.head);
    }
}

pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}
