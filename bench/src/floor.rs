//! The floor: a raw epoll server, one thread, written by hand for one workload.
//!
//! It does what any server of that workload must (read, parse the head and the JSON, encode the
//! reply, write) and nothing else: no time-outs, no limits on memory, no routes, no observation.
//! What a real server costs above it is the price of being one.
//!
//! Level-triggered epoll was measured beside edge-triggered: see [`crate::poller`] for the choice.

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
use crate::process::{pin, raise_file_limit};
use crate::poller::{PollMode, Poller};
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
pub struct Floor {
    listener: OwnedFd,
    address: Address,
    poller: Poller,
    /// By file descriptor.
    connections: Vec<Option<Connection>>,
    hello: Hello,
}

impl Floor {
    /// Binds the listener.
    ///
    /// # Errors
    /// The address is in use, or may not be bound.
    pub fn bind(address: &Address, mode: PollMode) -> io::Result<Floor> {
        let (listener, address) = address.listen()?;
        let poller = Poller::new(mode)?;
        poller.add_listener(&listener, LISTENER)?;
        Ok(Floor { listener, address, poller, connections: Vec::new(), hello: Hello::new() })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// The poller is broken.
    pub fn run(mut self) -> io::Result<Infallible> {
        let mut input = vec![0; READ_BYTES].into_boxed_slice();
        let mut output = Vec::with_capacity(READ_BYTES);
        loop {
            let count = self.poller.wait(None)?;
            if count == 0 {
                continue;
            }
            self.hello.refresh_date();
            for index in 0..count {
                let ready = self.poller.ready(index);
                if ready.token == LISTENER {
                    self.accept()?;
                    continue;
                }
                let slot = &mut self.connections[ready.token as usize];
                let Some(connection) = slot else { continue };
                let served =
                    connection.serve(ready, &self.poller, &self.hello, &mut input, &mut output);
                if matches!(served, Ok(Served::Closed) | Err(_)) {
                    *slot = None;
                }
            }
        }
    }

    /// Takes every connection that waits at the listener.
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match accept_with(
                &self.listener,
                SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC),
            ) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let token = socket.as_raw_fd() as usize;
            self.poller.add(&socket, token as u64)?;
            if self.connections.len() <= token {
                self.connections.resize_with(token + 1, || None);
            }
            self.connections[token] = Some(Connection::new(socket));
        }
    }
}
