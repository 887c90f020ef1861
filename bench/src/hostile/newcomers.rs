//! Honest clients that have no connection yet: each connects, asks once and goes.
//!
//! Those that hold a connection do not see a server that accepts nobody any more.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Percentiles, recorded};
use crate::{HELLO_BODY, HELLO_PATH, HELLO_REPLY};

/// What newcomers saw.
#[derive(Clone, Debug, Serialize)]
pub struct Newcomers {
    /// How many there were.
    pub count: u64,
    /// Those who got no reply, or another one than they should.
    pub failed: u64,
    /// What the first of those saw.
    pub first_failure: Option<String>,
    /// From when each was to connect until its reply was there and its connection closed.
    pub latency: Percentiles,
    /// Every latency as (ns, how often).
    pub histogram_ns: Vec<(u64, u64)>,
}

/// How long each part of an exchange may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends `rate_per_s` newcomers each second, one after the other, for `warmup` and `duration`; those
/// of the warm-up are only counted when they fail.
pub(super) fn run(
    server: SocketAddr,
    rate_per_s: f64,
    warmup: Duration,
    duration: Duration,
) -> Newcomers {
    let start = Instant::now();
    let mut latency_ns = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 3)
        .expect("the bounds are constants, and valid");
    let (mut count, mut failed, mut first_failure) = (0, 0, None);
    for index in 0_u32.. {
        let due = Duration::from_secs_f64(f64::from(index) / rate_per_s);
        if due >= warmup + duration {
            break;
        }
        while let Some(left) = due.checked_sub(start.elapsed()).filter(|l| !l.is_zero()) {
            std::thread::park_timeout(left);
        }
        let result = exchange(server);
        count += 1;
        if due >= warmup {
            let latency = start.elapsed().saturating_sub(due);
            latency_ns.saturating_record(latency.as_nanos() as u64);
        }
        if let Err(error) = result {
            failed += 1;
            first_failure.get_or_insert_with(|| error.to_string());
        }
    }
    Newcomers {
        count,
        failed,
        first_failure,
        latency: Percentiles::of(&latency_ns),
        histogram_ns: recorded(&latency_ns),
    }
}

fn exchange(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = HELLO_BODY.len();
    let request = format!(
        "POST {HELLO_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{HELLO_BODY}"
    );
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    stream.take(64 << 10).read_to_end(&mut reply)?;
    if reply.starts_with(b"HTTP/1.1 200 ") && reply.ends_with(HELLO_REPLY.as_bytes()) {
        return Ok(());
    }
    let line = reply.split(|&byte| byte == b'\r').next().unwrap_or(&[]);
    Err(io::Error::other(format!(
        "replied {:?}",
        String::from_utf8_lossy(line)
    )))
}
