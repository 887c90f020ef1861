//! The hostile clients: one thread that keeps thousands of connections in bad shape.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// How a client is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Hostility {
    /// 5,000 connections send a head, a byte every two seconds.
    Slowloris,
    /// 1,000 connections send half of a body, and wait.
    HalfBodies,
    /// 1,000 connections ask for 1 MiB and read 1 KiB a second.
    SlowReaders,
    /// 200 connections a second ask once, and are reset.
    Churn,
    /// 100 connections a second send random bytes.
    Garbage,
    /// 20 bodies a second are gzip of 64 MiB of zeros.
    GzipBombs,
}

/// What the swarm did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SwarmReport {
    /// Connections that were opened.
    pub opened: u64,
    /// Those that could not be.
    pub refused: u64,
    /// Connections that the server closed.
    pub closed_by_server: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Cores' worth of CPU time that the swarm used.
    pub busy: f64,
}

impl Hostility {
    /// How many clients there are at a time, and how often each takes a step.
    fn scale(self) -> (usize, Duration) {
        match self {
            Hostility::Slowloris => (5000, Duration::from_secs(2)),
            Hostility::HalfBodies => (1000, Duration::from_secs(5)),
            Hostility::SlowReaders => (1000, Duration::from_secs(1)),
            Hostility::Churn => (20, Duration::from_millis(100)),
            Hostility::Garbage => (10, Duration::from_millis(100)),
            Hostility::GzipBombs => (10, Duration::from_millis(500)),
        }
    }
}

/// One hostile client.
struct Client {
    hostility: Hostility,
    stream: Option<TcpStream>,
    /// What it still sends, and how much of it was sent.
    script: Vec<u8>,
    sent: usize,
}

/// The swarm, which acts when its clients' steps are due.
pub(super) struct Swarm {
    address: SocketAddrV4,
    path: String,
    clients: Vec<Client>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    random: u64,
    bomb: Vec<u8>,
    report: SwarmReport,
}

impl Swarm {
    pub(super) fn new(
        address: SocketAddrV4,
        path: &str,
        kinds: &[Hostility],
        bomb: Vec<u8>,
    ) -> Self {
        let start = Instant::now();
        let (mut clients, mut due) = (Vec::new(), BinaryHeap::new());
        for &hostility in kinds {
            let (count, every) = hostility.scale();
            for index in 0..count {
                // Spread over their interval, but for the first second, in which all connect.
                let delay = every.min(Duration::from_secs(1)) * index as u32 / count as u32;
                due.push(Reverse((start + delay, clients.len())));
                clients.push(Client {
                    hostility,
                    stream: None,
                    script: Vec::new(),
                    sent: 0,
                });
            }
        }
        Swarm {
            address,
            path: path.to_owned(),
            clients,
            due,
            random: 0x9e37_79b9_7f4a_7c15,
            bomb,
            report: SwarmReport::default(),
        }
    }

    /// Acts until `stop` is set.
    pub(super) fn run(mut self, stop: &AtomicBool) -> SwarmReport {
        let (start, cpu_ns) = (Instant::now(), thread_cpu_ns());
        while !stop.load(Ordering::Relaxed) {
            let Some(&Reverse((at, index))) = self.due.peek() else {
                break;
            };
            let now = Instant::now();
            if at > now {
                // Not longer, so that the end is seen soon.
                std::thread::park_timeout((at - now).min(Duration::from_millis(20)));
                continue;
            }
            self.due.pop();
            let (_, every) = self.clients[index].hostility.scale();
            if self.step(index).is_err() && self.clients[index].stream.take().is_some() {
                self.report.closed_by_server += 1;
            }
            self.due.push(Reverse((at + every, index)));
        }
        self.report.busy = (thread_cpu_ns() - cpu_ns) as f64 / start.elapsed().as_nanos() as f64;
        self.report
    }

    /// What a client does when it is its turn.
    fn step(&mut self, index: usize) -> io::Result<()> {
        if self.clients[index].stream.is_none() {
            self.open(index)?;
        }
        let client = &mut self.clients[index];
        let Some(stream) = &mut client.stream else {
            return Ok(());
        };
        let share = match client.hostility {
            Hostility::Slowloris => 1,
            _ => usize::MAX,
        };
        let rest = &client.script[client.sent..];
        if !rest.is_empty() {
            match stream.write(&rest[..rest.len().min(share)]) {
                Ok(bytes) => {
                    client.sent += bytes;
                    self.report.sent_bytes += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_brief = matches!(
            client.hostility,
            Hostility::Churn | Hostility::Garbage | Hostility::GzipBombs
        );
        if is_brief && client.sent == client.script.len() {
            // With unread replies in it, and without a linger, this is a reset.
            let _ = set_socket_linger(&*stream, Some(Duration::ZERO));
            client.stream = None;
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        // Many source addresses, for one has 28,000 ports.
        let source = Ipv4Addr::new(127, 0, 1, 1 + (index % 200) as u8);
        let script = self.script(self.clients[index].hostility);
        let client = &mut self.clients[index];
        (client.script, client.sent) = (script, 0);
        match connect_from(source, self.address) {
            Ok(stream) => {
                self.report.opened += 1;
                client.stream = Some(stream);
            }
            Err(_) => self.report.refused += 1,
        }
        Ok(())
    }

    fn script(&mut self, hostility: Hostility) -> Vec<u8> {
        let head = |rest: &str| {
            let path = &self.path;
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{rest}")
        };
        match hostility {
            Hostility::Slowloris => head(&"X-Slow: 1\r\n".repeat(500)).into_bytes(),
            Hostility::HalfBodies => {
                head(&format!("Content-Length: 8192\r\n\r\n{}", "x".repeat(4096))).into_bytes()
            }
            Hostility::SlowReaders => {
                format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", self.path).into_bytes()
            }
            Hostility::Churn => {
                let body = crate::HELLO_BODY;
                head(&format!("Content-Length: {}\r\n\r\n{body}", body.len())).into_bytes()
            }
            Hostility::Garbage => (0..512)
                .flat_map(|_| {
                    // xorshift64
                    self.random ^= self.random << 13;
                    self.random ^= self.random >> 7;
                    self.random ^= self.random << 17;
                    self.random.to_le_bytes()
                })
                .collect(),
            Hostility::GzipBombs => {
                let mut request = head(&format!(
                    "Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                    self.bomb.len()
                ))
                .into_bytes();
                request.extend_from_slice(&self.bomb);
                request
            }
        }
    }
}

fn connect_from(source: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
