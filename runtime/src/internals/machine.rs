//! A partition's turn without sockets: bytes in, bytes out.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::Waker;

use crossbeam_utils::CachePadded;
use serde::Serialize;
use snapback_operators::{Chain, Description, Peer, Place, Reply, Run};

use crate::connection::Connection;
use crate::http1::Persistence;
use crate::io::clock::unix_seconds;
use crate::io::cycle_clock::CycleClock;
use crate::io::socket::Socket;
use crate::openapi::OpenApi;
use crate::options::Options;
use crate::outbox::Outbox;
use crate::partition::worker::{Outboxes, Replier};
use crate::partition::{Buffers, Deferrals, Policy, Published, QueueDelay, Worker};
use crate::service_info::Scheme;
use crate::transport::{Arrival, Entrance};

/// The token of the only connection.
const TOKEN: u64 = 0;

/// One connection, and the worker of its partition.
///
/// A turn does what a partition's does, but for the system calls: it does not wait, receives what it
/// is given, and copies its replies where the kernel would. Neither are there timers, nor other
/// connections.
pub struct Machine {
    clock: CycleClock,
    connection: Connection,
    worker: Worker,
    buffers: Buffers,
    published: Arc<CachePadded<Published>>,
}

impl Machine {
    /// A machine that serves `/my_api` with the default options.
    ///
    /// # Errors
    ///
    /// There are no descriptors, or no loopback device.
    pub fn new(chain: Box<dyn Chain>) -> io::Result<Self> {
        let options = Options {
            path: "my_api".to_owned(),
            ..Options::default()
        };
        let published = Arc::new(CachePadded::new(Published::new(0)));
        let deferrals = Deferrals::new(
            None,
            Waker::noop().clone(),
            options.request_timeout.as_nanos() as u64,
            options.max_in_flight,
            Arc::clone(&published),
        );
        let worker = Worker::new(
            chain,
            Arc::new(Run::new("bench", "bench")),
            0,
            0,
            policy(&options),
            deferrals,
            QueueDelay::new(options.max_queue_delay.as_nanos() as u64),
        );
        let transport = Entrance::default().admit(Arrival {
            socket: lone_socket()?,
            peer: Peer::Unix,
            scheme: Scheme::Http,
        });
        let mut clock = CycleClock::new();
        Ok(Machine {
            connection: Connection::new(transport, worker.policy(), clock.now_ns()),
            clock,
            worker,
            buffers: Buffers::default(),
            published,
        })
    }

    /// Takes the requests in `bytes`, and replaces what is in `out` by the replies to them. Tells how
    /// many there were.
    pub fn turn(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> u64 {
        let Machine {
            clock,
            connection,
            worker,
            buffers,
            published,
        } = self;
        let start_ns = clock.now_ns();
        published.begin_turn(start_ns);
        worker.set_now(unix_seconds());
        worker.deferrals().begin_turn(start_ns);
        worker.queue_delay().begin_turn(start_ns);
        worker.queue_delay().begin_share(start_ns, 1);
        let next = worker.next();
        let (mut inbox, mut outbox) = (buffers.inbox(), buffers.outbox());
        inbox.append(bytes);
        worker.traffic().received(bytes.len());
        while connection.answer(TOKEN, worker, &mut inbox, &mut outbox, &mut buffers.memo) {}
        if worker.deferrals().any() {
            worker.settle(&mut OneOutbox(&mut outbox));
            worker.deferrals().note_stages(clock.now_ns());
        }
        out.clear();
        out.extend_from_slice(outbox.bytes());
        worker.traffic().sent(out.len());
        buffers.take_inbox(inbox);
        buffers.take_outbox(outbox);

        let requests = worker.next() - next;
        let served_ns = clock.now_ns();
        let turn_ns = served_ns - start_ns;
        published.latencies.record(turn_ns, requests);
        published.publish(worker.next(), worker.next());
        published.end_turn(turn_ns);
        let waiting = worker.deferrals().waiting();
        published.traffic.end_turn(turn_ns, waiting);
        worker.queue_delay().end_turn(start_ns, served_ns);
        requests
    }
}

/// The outbox of the only connection.
struct OneOutbox<'o>(&'o mut Outbox);

impl Outboxes for OneOutbox<'_> {
    fn with(&mut self, _place: Place, take: &mut dyn FnMut(&mut Outbox)) {
        take(self.0);
    }

    fn replied(&mut self, _place: Place, _since_ns: u64) {}
}

/// Writes replies to where a connection sends them from.
pub struct Replies {
    replier: Replier,
    outbox: Outbox,
    offset: u64,
}

impl Default for Replies {
    fn default() -> Self {
        Replies {
            replier: Replier::new(&Run::new("bench", "bench"), 0, policy(&Options::default())),
            outbox: Outbox::default(),
            offset: 0,
        }
    }
}

impl Replies {
    /// Writes the reply with this row as its JSON body; how many bytes wait then.
    #[inline]
    pub fn put<T: Serialize>(&mut self, row: &T) -> usize {
        let Replies {
            replier,
            outbox,
            offset,
        } = self;
        let out = outbox.bytes();
        let room = replier.leave_room(out);
        Reply::new(out, &mut replier.head).json(row);
        let persistence = Persistence::KeepAlive;
        replier.put_head(out, room, persistence, false, Some(*offset), None);
        outbox.end_reply(*offset);
        *offset += 1;
        outbox.unsent_bytes()
    }

    /// Sends all that waits.
    #[inline]
    pub fn clear(&mut self) {
        self.outbox.clear();
    }
}

/// What such options make of requests: everybody is let in, and nothing is told of the service.
fn policy(options: &Options) -> Policy {
    let open_api = Arc::new(OpenApi::of(&Description::default(), options));
    Policy::of(options, None, &open_api)
}

/// A socket whose peer is gone; nothing is read from it or written to it.
pub(super) fn lone_socket() -> io::Result<Socket> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _peer = TcpStream::connect(listener.local_addr()?)?;
    let accepted = Socket::accept(&listener)?;
    accepted
        .map(|(socket, _)| socket)
        .ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

#[cfg(test)]
mod tests {
    use snapback_operators::{BatchOptions, Pipeline};

    use super::*;

    const REQUEST: &[u8] = b"POST /my_api HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn a_turn_answers_whole_requests_in_place_and_in_batches() {
        let echo = || Pipeline::detached().map(|request| request.body().len() as u64);
        let batched = echo().batch(BatchOptions::default(), |rows: &[u64], out| {
            out.extend_from_slice(rows);
        });
        for chain in [
            echo().make_reply().into_chain(),
            batched.make_reply().into_chain(),
        ] {
            let mut machine = Machine::new(chain).expect("a socket");
            let (pipelined, mut out) = (REQUEST.repeat(16), Vec::new());
            for (bytes, expected) in [(REQUEST, 1), (&pipelined, 16), (REQUEST, 1)] {
                assert_eq!(machine.turn(bytes, &mut out), expected);
                let text = String::from_utf8_lossy(&out);
                let replies = text.matches("HTTP/1.1 200 OK\r\n").count();
                assert_eq!(
                    (replies as u64, text.ends_with("\r\n\r\n5")),
                    (expected, true)
                );
            }
            let seen = machine.published.traffic.read();
            assert_eq!((seen.replies[1], seen.turns, seen.waiting), (18, 3, 0));
        }
    }
}
