//! A keep-alive client that retries nothing, and knows what became of each of its requests.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{Load, Outcome, PATIENCE};

const REQUEST: &[u8] = b"GET /my_api HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// When the next request is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as the last one is answered.
    Busy,
    /// After a pause of random length.
    Pausing { longest: Duration },
}

#[derive(Debug)]
pub(super) struct Client<'l> {
    port: u16,
    pace: Pace,
    random: u64,
    load: &'l Load,
    outcome: Outcome,
    /// The request ids of all replies.
    ids: Vec<String>,
}

/// How a request ended.
enum Exchange {
    Answered {
        id: String,
        is_last: bool,
    },
    /// The end of the connection was there before the request was sent.
    NotSent,
    /// It came while the request was being sent.
    Crossed,
    Lost,
}

impl<'l> Client<'l> {
    pub(super) fn new(port: u16, pace: Pace, seed: u64, load: &'l Load) -> Client<'l> {
        Client {
            port,
            pace,
            random: seed,
            load,
            outcome: Outcome::default(),
            ids: Vec::new(),
        }
    }

    /// Sends until the load is over, or the server is gone that may go.
    pub(super) fn run(mut self) -> (Outcome, Vec<String>) {
        while !self.load.is_over.load(Ordering::Acquire) {
            // Read first: a server may end between a refused connection and this.
            let may_end = self.load.may_end.load(Ordering::Acquire);
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => self.use_up(stream),
                Err(_) if may_end || self.load.may_end.load(Ordering::Acquire) => break,
                Err(error) => {
                    eprintln!("refused: {error}");
                    self.outcome.refused += 1;
                }
            }
        }
        (self.outcome, self.ids)
    }

    /// Sends over one connection until it ends.
    fn use_up(&mut self, mut stream: TcpStream) {
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        set.expect("a TCP socket takes options");
        let mut requests = 0;
        while !self.load.is_over.load(Ordering::Acquire) {
            if requests > 0 {
                self.pause();
            }
            match exchange(&mut stream) {
                Exchange::Answered { id, is_last } => {
                    requests += 1;
                    self.load.answered.fetch_add(1, Ordering::Relaxed);
                    self.outcome.answered += 1;
                    self.ids.push(id);
                    if is_last {
                        self.outcome.told += 1;
                        return;
                    }
                }
                Exchange::NotSent => {
                    self.outcome.closed_silent += 1;
                    return;
                }
                Exchange::Crossed => {
                    self.outcome.crossed += 1;
                    return;
                }
                Exchange::Lost => {
                    self.outcome.lost += 1;
                    return;
                }
            }
        }
    }

    fn pause(&mut self) {
        let Pace::Pausing { longest } = self.pace else {
            return;
        };
        let until = Instant::now() + longest.mul_f64(self.random());
        while !self.load.is_over.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left.min(Duration::from_millis(20)));
        }
    }

    /// A number from 0 to 1 (splitmix64).
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Sends a request and reads its reply.
fn exchange(stream: &mut TcpStream) -> Exchange {
    if end_is_seen(stream) {
        return Exchange::NotSent;
    }
    if stream.write_all(REQUEST).is_err() || end_is_seen(stream) {
        return Exchange::Crossed;
    }
    match read_reply(stream) {
        Some((id, is_last)) => Exchange::Answered { id, is_last },
        None => Exchange::Lost,
    }
}

/// Whether the server has closed, and sent nothing before that.
fn end_is_seen(stream: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match recv(stream, &mut [0u8; 1], flags) {
        Ok((_, bytes)) => bytes == 0,
        Err(errno) => errno != Errno::AGAIN,
    }
}

/// The request id that a reply says, and whether it is the last one of the connection; nothing when
/// the connection ends before that.
fn read_reply(stream: &mut TcpStream) -> Option<(String, bool)> {
    let mut reply = Vec::new();
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return None,
            Ok(bytes) => reply.extend_from_slice(&room[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                eprintln!("lost: {error}");
                return None;
            }
        }
        let text = String::from_utf8_lossy(&reply);
        // The body is `{"id":"…"}`, and one request is under way at a time.
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Some(id) = body.strip_prefix("{\"id\":\"")
            && let Some(id) = id.strip_suffix("\"}")
        {
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            return Some((id.to_owned(), head.contains("connection: close")));
        }
    }
}
