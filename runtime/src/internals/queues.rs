//! The queues between a partition and others: what it is told, and what it hands over.

use std::io;
use std::sync::Arc;
use std::task::Wake;

use super::machine::lone_socket;
use crate::checkpoint::Marks;
use crate::options::TeeOverflow;
use crate::partition::Mailbox;
use crate::service_info::Scheme;
use crate::tee::pipe::Pipe;
use crate::tee::{Fields, Recorder};
use crate::transport::Arrival;
use snapback_operators::{Peer, Request, Run};

/// A mailbox, both ends of it in one thread.
#[derive(Debug)]
pub struct HandOver {
    mailbox: Arc<Mailbox>,
    /// Goes to and fro.
    arrival: Option<Arrival>,
}

impl HandOver {
    /// A mailbox, and a socket to send through it.
    ///
    /// # Errors
    ///
    /// There are no descriptors, or no loopback device.
    pub fn new() -> io::Result<Self> {
        Ok(HandOver {
            mailbox: Arc::new(Mailbox::new()?),
            arrival: Some(Arrival {
                socket: lone_socket()?,
                peer: Peer::Unix,
                scheme: Scheme::Http,
            }),
        })
    }

    /// Hands a socket over to a partition that is awake, which takes it; whether it came.
    #[inline]
    pub fn socket(&mut self) -> bool {
        let Some(arrival) = self.arrival.take() else {
            return false;
        };
        // A full queue gives the socket back, and there is nothing to take.
        self.arrival = self.mailbox.hand_over(arrival).err();
        if self.arrival.is_none() && self.mailbox.has_news() {
            self.arrival = self.mailbox.take_accepted();
            return self.arrival.is_some();
        }
        false
    }

    /// Tells a partition that is awake that a future has ended; whether it noticed.
    #[inline]
    pub fn completion(&self) -> bool {
        self.mailbox.wake_by_ref();
        self.mailbox.has_news() && self.mailbox.take_completed()
    }

    /// The same for a partition that sleeps, and is woken by a system call.
    #[inline]
    pub fn wake(&self) -> bool {
        if !self.mailbox.may_sleep() {
            return false;
        }
        self.mailbox.wake_by_ref();
        self.mailbox.awake();
        Mailbox::wake(&self.mailbox).clear();
        self.mailbox.has_news() && self.mailbox.take_completed()
    }
}

/// A partition's part of a tee, and the thread that empties what it hands over.
pub struct Seals {
    recorder: Recorder,
    pipe: Arc<Pipe>,
    run: Run,
    epoch: u64,
    offset: u64,
}

impl Default for Seals {
    /// A tee of all that there is to note.
    fn default() -> Self {
        let (pipe, limit_bytes) = (Arc::new(Pipe::new()), 64 << 20);
        let to_thread = Arc::clone(&pipe);
        Seals {
            recorder: Recorder::new(Fields::ALL, TeeOverflow::Shed, limit_bytes, 0, to_thread),
            pipe,
            run: Run::new("bench", "bench"),
            epoch: 0,
            offset: 0,
        }
    }
}

impl Seals {
    /// Notes a request with this body, answered with this reply.
    #[inline]
    pub fn note(&mut self, body: &[u8], reply: &[u8]) {
        let id = self.run.request_id(0, self.offset);
        let request = Request::new(id, "POST", "/my_api", &Peer::Unix).with_body(body);
        self.recorder.note(&request, 0, 200, reply);
        self.offset += 1;
    }

    /// Ends an epoch: its rows are handed over, and their buffer comes back empty. How many rows
    /// there were; none when there was no room for them.
    #[inline]
    pub fn seal(&mut self) -> Option<usize> {
        self.epoch += 1;
        let marks = Marks {
            next: self.offset,
            settled: self.offset,
        };
        if !self.recorder.seal(self.epoch, marks) {
            return None;
        }
        let part = self.pipe.take()?;
        let rows = part.rows.len();
        self.pipe.give_back(part.rows);
        Some(rows)
    }
}
