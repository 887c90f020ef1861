//! A blocking HTTP/1.1 client over one connection, without any cleverness.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::PATIENCE;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    /// Received bytes that belong to no reply so far.
    unread: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Secured>),
}

/// TLS over TCP.
type Secured = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// One reply, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A POST request with this body.
pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A GET request.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

impl Client {
    /// Connects over TCP.
    pub(crate) fn connect(address: impl ToSocketAddrs + fmt::Debug) -> Client {
        let stream = TcpStream::connect(&address);
        Client::over(stream.unwrap_or_else(|error| panic!("connect to {address:?}: {error}")))
    }

    /// A client of a connection that was made before.
    pub(crate) fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("a TCP socket");
        Client::new(Stream::Tcp(stream))
    }

    /// Connects to a Unix domain socket.
    pub(crate) fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path);
        Client::new(Stream::Unix(stream.unwrap_or_else(|error| {
            panic!("connect to {}: {error}", path.display())
        })))
    }

    /// A client of a connection that speaks TLS.
    pub(crate) fn secured(stream: Secured) -> Client {
        Client::new(Stream::Tls(Box::new(stream)))
    }

    /// The TLS of the connection.
    pub(crate) fn tls(&mut self) -> &mut Secured {
        match &mut self.stream {
            Stream::Tls(stream) => stream,
            _ => panic!("a plain connection"),
        }
    }

    fn new(stream: Stream) -> Client {
        let mut client = Client {
            stream,
            unread: Vec::new(),
        };
        client.set_patience(PATIENCE);
        client
    }

    /// How long every read and write may wait.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        let tcp = match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(&stream.sock),
            Stream::Unix(_) => None,
        };
        let set = match (&self.stream, tcp) {
            (_, Some(stream)) => stream
                .set_read_timeout(Some(patience))
                .and_then(|()| stream.set_write_timeout(Some(patience))),
            (Stream::Unix(stream), _) => stream
                .set_read_timeout(Some(patience))
                .and_then(|()| stream.set_write_timeout(Some(patience))),
            _ => Ok(()),
        };
        set.expect("a timeout that is not zero");
    }

    /// Sends all these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server reads");
    }

    /// Sends all these bytes, or as many as the other end takes.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Says that no more requests come, and keeps reading.
    pub(crate) fn finish_sending(&mut self) {
        let finished = match &mut self.stream {
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream
                    .flush()
                    .and_then(|()| stream.sock.shutdown(Shutdown::Write))
            }
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        finished.expect("an open connection");
    }

    /// Sends a POST and reads the reply.
    pub(crate) fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(post(target, body));
        self.answer()
    }

    /// Sends a GET and reads the reply.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(get(target));
        self.answer()
    }

    /// Reads the next reply.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("a reply")
    }

    /// Reads the next reply.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection ends before it, and whatever reading meets.
    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        let (status, headers) = self.head()?;
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if status >= 200 && !matches!(status, 204 | 304) {
            let length = answer.header("content-length").expect("a content-length");
            answer.body = self.take(length.parse().expect("digits"))?;
        }
        Ok(answer)
    }

    /// Reads the reply to a HEAD request, which has no body whatever its length says.
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        let (status, headers) = self.head().expect("a reply");
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(at) = self
                .unread
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.read_more()?;
        };
        let head = self.take(end)?;
        let head = String::from_utf8(head).expect("a head of ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        assert!(status_line.starts_with("HTTP/1.1 "), "{head}");
        let status = status_line[9..12].parse().expect("three digits");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a header line");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Ok((status, headers.collect()))
    }

    /// Reads so many bytes.
    fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < bytes {
            self.read_more()?;
        }
        let rest = self.unread.split_off(bytes);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    /// Waits until the first byte of the next reply is there.
    pub(crate) fn await_first_byte(&mut self) {
        if self.unread.is_empty() {
            self.read_more().expect("a byte of a reply");
        }
    }

    /// Whether the server ended the connection in order: no further byte, and no reset.
    pub(crate) fn is_at_end(&mut self) -> bool {
        match self.read_more() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.unread.is_empty(),
            Err(error) => panic!("the connection does not end in order: {error}"),
            Ok(()) => false,
        }
    }

    /// Whether nothing has come so far, not even the end.
    pub(crate) fn has_nothing(&mut self) -> bool {
        self.set_patience(Duration::from_millis(1));
        let read = self.read_more();
        self.set_patience(PATIENCE);
        let waits = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        self.unread.is_empty() && read.is_err_and(|error| waits.contains(&error.kind()))
    }

    /// Reads once.
    fn read_more(&mut self) -> io::Result<()> {
        let mut room = vec![0; 256 << 10];
        let bytes = self.stream.read(&mut room)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend_from_slice(&room[..bytes]);
        Ok(())
    }

    /// Closes so that the server sees a reset.
    pub(crate) fn abort(self) {
        rustix::net::sockopt::set_socket_linger(&self, Some(Duration::ZERO)).expect("a socket");
    }
}

impl Read for Client {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.read(room)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.sock.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(room),
            Stream::Unix(stream) => stream.read(room),
            Stream::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(stream) => stream.flush(),
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// The value of a header; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// Whether the server says that this is its last reply on the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}
