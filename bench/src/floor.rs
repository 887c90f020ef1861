//! The floor: a raw epoll server, one thread, written by hand for one workload.
//!
//! It does what any server of that workload must (read, parse the head and the JSON, encode the
//! reply, write) and nothing else: no time-outs, no limits on memory, no routes, no observation.
//! What a real server costs above it is the price of being one.
//!
//! It polls edge-triggered. Level-triggered, as the median of 15 ratios (quartiles; A/A beside it),
//! took 1.023 × its CPU time at 64 connections (1.005–1.054; A/A 1.008, 0.992–1.028) and 1.017 ×
//! with pipelining (1.004–1.035; A/A 0.997, 0.987–1.014); alone its p50 was 0.997 × (0.982–1.011; A/A
//! 1.002). A run of seven before it had p50 alone at 0.976 × (0.962–0.991; A/A 1.009), in favour of
//! level. Others used the server's core meanwhile, so this leans to edge and does not settle it.

mod connection;
mod hello;

use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use clap::Args;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::address::Address;
use crate::poller::{PollMode, Poller};
use crate::process::{pin, raise_file_limit};
use connection::{Connection, Served};
use hello::Hello;

/// How to run the floor.
#[derive(Args, Clone, Debug)]
pub struct FloorArguments {
    /// HOST:PORT, where port 0 picks a free one, or unix:/path.
    #[arg(long, default_value = "127.0.0.1:8889")]
    listen: Address,
    /// The core to run on; anywhere by default.
    #[arg(long)]
    core: Option<usize>,
    /// What to do while no request is there.
    #[arg(long, value_enum, default_value = "blocking")]
    poll_mode: PollMode,
}

/// Runs the floor until a signal ends the process.
///
/// # Errors
/// The address cannot be bound, or the core is not there.
pub fn main(arguments: &FloorArguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(core) = arguments.core {
        pin(core)?;
    }
    raise_file_limit();
    let floor = Floor::bind(&arguments.listen, arguments.poll_mode)
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", floor.address())?;
    stdout.flush()?;
    match floor.run()? {}
}

/// The token of the listener; those of connections are file descriptors, which are smaller.
const LISTENER: u64 = u64::MAX;

/// Room for what one read takes: sixteen pipelined requests several times over.
const READ_BYTES: usize = 64 * 1024;

/// The server: bound by [`Floor::bind`], served by [`Floor::run`].
#[derive(Debug)]
pub struct Floor {
    listener: OwnedFd,
    address: Address,
    mode: PollMode,
}

impl Floor {
    /// Binds the listener.
    ///
    /// # Errors
    /// The address is in use, or may not be bound.
    pub fn bind(address: &Address, mode: PollMode) -> io::Result<Floor> {
        let (listener, address) = address.listen()?;
        Ok(Floor {
            listener,
            address,
            mode,
        })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves for ever, on the calling thread.
    ///
    /// # Errors
    /// The poller is broken, or the process has no file descriptor left.
    pub fn run(self) -> io::Result<Infallible> {
        let mut poller = Poller::new(self.mode)?;
        poller.add_listener(&self.listener, LISTENER)?;
        // By file descriptor.
        let mut connections: Vec<Option<Connection>> = Vec::new();
        let mut hello = Hello::new();
        let mut input = vec![0; READ_BYTES].into_boxed_slice();
        let mut output = Vec::with_capacity(READ_BYTES);
        loop {
            let count = poller.wait(None)?;
            if count == 0 {
                continue;
            }
            hello.refresh_date();
            for index in 0..count {
                let ready = poller.ready(index);
                if ready.token == LISTENER {
                    accept_all(&self.listener, &poller, &mut connections)?;
                    continue;
                }
                let slot = &mut connections[ready.token as usize];
                let Some(connection) = slot else { continue };
                let served = connection.serve(ready, &poller, &hello, &mut input, &mut output);
                if matches!(served, Ok(Served::Closed) | Err(_)) {
                    *slot = None;
                }
            }
        }
    }
}

/// Takes every connection that waits at the listener.
fn accept_all(
    listener: &OwnedFd,
    poller: &Poller,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let flags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
        let socket = match accept_with(listener, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::CONNABORTED | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let token = socket.as_raw_fd() as usize;
        poller.add(&socket, token as u64)?;
        if connections.len() <= token {
            connections.resize_with(token + 1, || None);
        }
        connections[token] = Some(Connection::new(socket));
    }
}
