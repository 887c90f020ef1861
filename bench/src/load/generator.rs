//! The loop of the load generator.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use super::connection::{Connection, Fault, InFlight};
use super::options::LoadOptions;
use super::progress::Feed;
use super::record::{Body, Record};
use super::reply::ReplyParser;
use super::run::{Edge, LoadError};
use super::schedule::Schedule;
use super::secure::Security;
use crate::poller::{PollMode, Poller, Ready};

/// Room for what one read takes.
const READ_BYTES: usize = 256 * 1024;

/// How often replies that take too long are looked for.
const SCAN_INTERVAL_NS: u64 = 10_000_000;
/// In how many scans all connections have had their turn, where they are many. To look at 10,000 of them at
/// once takes long enough to be the p99 of the server.
const SCANS_PER_ROUND: usize = 64;

/// The time in which a run measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// When it was to begin, which is where the timeline counts from, in ns since 1970.
    pub(super) begin_unix_ns: u64,
    /// How long it was.
    pub(super) length_ns: u64,
}

/// A load at work.
pub(super) struct Generator<'a> {
    options: &'a LoadOptions,
    start: Instant,
    /// The same instant by the clock on the wall, in ns since 1970.
    start_unix_ns: u64,
    begin_ns: u64,
    end_ns: u64,
    timeout_ns: u64,
    /// How long a request of an open loop waits for a connection.
    patience_ns: u64,
    poller: Poller,
    /// How connections to a secured target are made.
    security: Option<Security>,
    connections: Vec<Connection>,
    /// `pipeline` requests one after the other, so that any number of them is one slice.
    requests: Vec<u8>,
    request_bytes: usize,
    parser: ReplyParser,
    /// When requests are due; a closed loop has none.
    schedule: Option<Schedule>,
    /// Connections of an open loop with room for one more request, once for each, in the order in
    /// which they became free, so that all are used alike.
    free: VecDeque<usize>,
    /// Since when `free` is not empty: from there on, being late is our own fault.
    free_since_ns: u64,
    /// Requests that may still be sent.
    remaining: u64,
    outstanding: usize,
    next_scan_ns: u64,
    /// The connection that is looked at next.
    next_scanned: usize,
    window_ns: u64,
    record: Record,
}

impl<'a> Generator<'a> {
    /// Opens the connections. Steps that close while it runs are told to `feed`.
    pub(super) fn new(
        options: &'a LoadOptions,
        feed: Option<Feed>,
    ) -> Result<Generator<'a>, LoadError> {
        let poller = Poller::new(options.poll_mode)?;
        let security = Security::of(options)?;
        let mut connections = Vec::with_capacity(options.connections);
        for index in 0..options.connections {
            let connection = connect(options, security.as_ref(), &poller, index);
            connections.push(connection.map_err(|source| LoadError::Connect {
                index,
                address: options.target.address.clone(),
                source,
            })?);
        }
        let request = options.request();
        let warmup = match options.count {
            Some(_) => Duration::ZERO,
            None => options.warmup,
        };
        let begin_ns = as_ns(warmup);
        let mut end_ns = begin_ns;
        let phases = options.phases();
        let ends_ns = phases.iter().map(|phase| {
            end_ns += as_ns(phase.duration);
            end_ns
        });
        let record = Record::new(begin_ns, &ends_ns.collect::<Vec<_>>(), feed);
        let schedule = options
            .is_open_loop()
            .then(|| Schedule::stepped(options.arrivals, warmup, &phases, options.seed));
        let free = match schedule {
            Some(_) => (0..options.pipeline)
                .flat_map(|_| 0..options.connections)
                .collect(),
            None => VecDeque::new(),
        };
        Ok(Generator {
            options,
            start: Instant::now(),
            start_unix_ns: 0,
            begin_ns,
            end_ns,
            timeout_ns: as_ns(options.timeout),
            patience_ns: options.patience.map_or(u64::MAX, as_ns),
            poller,
            security,
            connections,
            requests: request.repeat(options.pipeline),
            request_bytes: request.len(),
            parser: ReplyParser::default(),
            schedule,
            free,
            free_since_ns: 0,
            remaining: options.count.unwrap_or(u64::MAX),
            outstanding: 0,
            next_scan_ns: SCAN_INTERVAL_NS,
            next_scanned: 0,
            window_ns: 0,
            record,
        })
    }

    /// Runs to the end.
    pub(super) fn run(&mut self, mut observe: impl FnMut(Edge)) -> io::Result<()> {
        let mut input = vec![0; READ_BYTES];
        self.start = Instant::now();
        // A clock that stands before 1970 is wrong in any case.
        self.start_unix_ns = SystemTime::UNIX_EPOCH.elapsed().map_or(0, as_ns);
        let mut now_ns = 0;
        let mut began_ns = None;
        if self.schedule.is_none() {
            for index in 0..self.connections.len() {
                self.fill(index, 0);
            }
        }
        loop {
            if began_ns.is_none() && now_ns >= self.begin_ns {
                observe(Edge::Begin);
                now_ns = self.now_ns();
                began_ns = Some(now_ns);
                self.record.is_open = true;
            }
            let finished = self.is_finished(now_ns);
            if self.record.is_open && (finished || now_ns >= self.end_ns) {
                self.record.is_open = false;
                self.window_ns = now_ns - began_ns.unwrap_or(now_ns);
                observe(Edge::End);
            }
            if finished {
                break;
            }
            let idle_since_ns = now_ns;
            let count = self.poller.wait(self.wait_at_most(now_ns))?;
            now_ns = self.now_ns();
            if self.record.is_open {
                let waited_ns = now_ns - idle_since_ns;
                if count == 0 || self.options.poll_mode == PollMode::Blocking {
                    self.record.idle_ns += waited_ns;
                }
                if self.options.poll_mode == PollMode::Spin {
                    self.record.waited(idle_since_ns, waited_ns, count);
                }
            }
            for index in 0..count {
                self.serve(self.poller.ready(index), &mut input);
            }
            let sent = self.send_due(now_ns);
            let scanned = now_ns >= self.next_scan_ns;
            if scanned {
                self.scan(now_ns);
            }
            // After a turn that did nothing the last look at the clock will do.
            if count > 0 || sent || scanned {
                now_ns = self.now_ns();
            }
        }
        self.count_unsent();
        Ok(())
    }

    /// What the first connection agreed on with its server; nothing when it is plain.
    pub(super) fn tls(&self) -> Option<String> {
        self.connections.first().and_then(Connection::agreed)
    }

    /// What was seen, and when and how long the window was.
    pub(super) fn into_record(self) -> (Record, Window) {
        let window = Window {
            begin_unix_ns: self.start_unix_ns + self.begin_ns,
            length_ns: self.window_ns,
        };
        (self.record, window)
    }

    #[inline]
    fn now_ns(&self) -> u64 {
        as_ns(self.start.elapsed())
    }

    fn is_finished(&self, now_ns: u64) -> bool {
        let over = now_ns >= self.end_ns || self.remaining == 0;
        let nothing_waits = self.outstanding == 0 && !self.has_due_before_the_end();
        (over && nothing_waits)
            || now_ns >= self.end_ns + self.timeout_ns
            || (self.record.errors.connect > 0
                && self
                    .connections
                    .iter()
                    .all(|connection| connection.socket.is_none()))
    }

    fn has_due_before_the_end(&self) -> bool {
        let due_ns = self.schedule.as_ref().map(Schedule::peek_ns);
        self.remaining > 0 && due_ns.is_some_and(|due_ns| due_ns < self.end_ns)
    }

    /// How long a blocking wait may take. The kernel's wait counts in ms, so the last one before a
    /// request is due is spent asking.
    fn wait_at_most(&self, now_ns: u64) -> Option<Duration> {
        if self.options.poll_mode == PollMode::Spin {
            return None;
        }
        let mut until_ns = self.next_scan_ns;
        for edge_ns in [self.begin_ns, self.end_ns] {
            if edge_ns > now_ns {
                until_ns = until_ns.min(edge_ns);
            }
        }
        if let Some(schedule) = &self.schedule
            && !self.free.is_empty()
            && self.has_due_before_the_end()
        {
            until_ns = until_ns.min(schedule.peek_ns());
        }
        Some(Duration::from_millis(
            until_ns.saturating_sub(now_ns) / 1_000_000,
        ))
    }

    /// Takes every reply that a connection has, and sends what may follow them.
    #[inline]
    fn serve(&mut self, ready: Ready, input: &mut [u8]) {
        let index = ready.token as usize;
        if ready.writable && self.connections[index].has_unsent() {
            let flushed = self.connections[index].flush();
            self.after_send(index, flushed, true);
        }
        loop {
            let connection = &mut self.connections[index];
            if connection.socket.is_none() {
                return;
            }
            let before = connection.in_flight.len();
            let received = connection.receive(input);
            let now_ns = as_ns(self.start.elapsed());
            let result = received.and_then(|count| {
                let Self {
                    record,
                    options,
                    parser,
                    ..
                } = self;
                let expected = options.expect_body.as_deref();
                connection.replies(&input[..count], parser, |reply, body, request| {
                    let body = match expected {
                        Some(expected) if !reply.says(body, expected) => Body::Wrong,
                        _ => Body::Right,
                    };
                    record.replied(reply, body, request, now_ns);
                })?;
                Ok(count)
            });
            let replies = before - connection.in_flight.len();
            self.outstanding -= replies;
            self.release(index, replies, now_ns);
            match result {
                Err(fault) => return self.replace(index, fault, now_ns),
                Ok(_) if self.schedule.is_none() && replies > 0 => self.fill(index, now_ns),
                Ok(_) => {}
            }
            // Less than there was room for: the socket is empty, unless its end is yet to be read.
            if matches!(result, Ok(count) if count < input.len() && !(ready.closing && count > 0)) {
                return;
            }
        }
    }

    /// Closed loop: sends as many requests as the connection may have in flight.
    #[inline]
    fn fill(&mut self, index: usize, now_ns: u64) {
        let room = self.options.pipeline - self.connections[index].in_flight.len();
        let count = self.remaining.min(room as u64) as usize;
        if count > 0 && now_ns < self.end_ns {
            self.send(
                index,
                count,
                InFlight {
                    due_ns: now_ns,
                    sent_ns: now_ns,
                },
            );
        }
    }

    /// Open loop: sends what is due, as long as a connection is free. Gives whether there was
    /// anything, given up or sent.
    #[inline]
    fn send_due(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        while self.has_due_before_the_end()
            && let Some(schedule) = &mut self.schedule
            && schedule.peek_ns() <= now_ns
        {
            let Some(index) = self.free.pop_front() else {
                if now_ns - schedule.peek_ns() <= self.patience_ns {
                    break;
                }
                self.record.unsent(schedule.take_ns());
                self.remaining -= 1;
                any = true;
                continue;
            };
            if self.connections[index].socket.is_none() {
                continue;
            }
            let due_ns = schedule.take_ns();
            let sent_ns = as_ns(self.start.elapsed());
            if self.record.is_open {
                let could_ns = due_ns.max(self.free_since_ns);
                self.record
                    .lag_ns
                    .saturating_record(sent_ns.saturating_sub(could_ns));
            }
            self.send(index, 1, InFlight { due_ns, sent_ns });
            any = true;
        }
        any
    }

    #[inline]
    fn send(&mut self, index: usize, count: usize, request: InFlight) {
        let connection = &mut self.connections[index];
        for _ in 0..count {
            connection.in_flight.push_back(request);
        }
        self.outstanding += count;
        self.remaining -= count as u64;
        let had_unsent = connection.has_unsent();
        let sent = connection.send(&self.requests[..count * self.request_bytes]);
        self.after_send(index, sent, had_unsent);
    }

    /// Watches for room while some of a request waits. A failure to send is seen by the next read,
    /// which takes the replies that came before it.
    #[inline]
    fn after_send(&mut self, index: usize, sent: Result<bool, Fault>, watched: bool) {
        let Ok(all) = sent else { return };
        if all != watched {
            return;
        }
        if let Some(socket) = &self.connections[index].socket {
            // A watch that cannot be changed shows as a time-out.
            let _ = self.poller.watch_writable(socket, index as u64, !all);
        }
    }

    /// Open loop: the connection has room for so many more requests.
    #[inline]
    fn release(&mut self, index: usize, count: usize, now_ns: u64) {
        if self.schedule.is_none() {
            return;
        }
        if self.free.is_empty() && count > 0 {
            self.free_since_ns = now_ns;
        }
        self.free.extend(std::iter::repeat_n(index, count));
    }

    /// Opens a connection anew; what was in flight on the old one is lost.
    #[cold]
    fn replace(&mut self, index: usize, fault: Fault, now_ns: u64) {
        let lost = &self.connections[index].in_flight;
        self.record.lost(fault, lost, now_ns);
        let lost = lost.len();
        self.outstanding -= lost;
        self.release(index, lost, now_ns);
        // The old socket goes first, and its watch with it.
        self.connections[index] = Connection::closed();
        if now_ns >= self.end_ns && !self.has_due_before_the_end() {
            return;
        }
        match connect(self.options, self.security.as_ref(), &self.poller, index) {
            Ok(connection) => {
                self.connections[index] = connection;
                if self.schedule.is_none() {
                    // To connect is no part of a request.
                    self.fill(index, self.now_ns());
                }
            }
            Err(_) => self.record.errors.connect += 1,
        }
    }

    /// Gives up connections whose oldest request has waited too long.
    #[cold]
    fn scan(&mut self, now_ns: u64) {
        self.next_scan_ns = now_ns + SCAN_INTERVAL_NS;
        let count = self.connections.len();
        for _ in 0..count.min(SCANS_PER_ROUND.max(count.div_ceil(SCANS_PER_ROUND))) {
            let index = self.next_scanned % count;
            self.next_scanned = index + 1;
            let oldest = self.connections[index].in_flight.front();
            if oldest.is_some_and(|oldest| now_ns.saturating_sub(oldest.sent_ns) > self.timeout_ns)
            {
                self.replace(index, Fault::Timeout, now_ns);
            }
        }
    }

    /// What the run owes at its end: requests without a reply, and those never sent.
    fn count_unsent(&mut self) {
        self.record.errors.timeout += self.outstanding as u64;
        if self.options.count.is_some() {
            self.record.errors.unsent += self.remaining;
            return;
        }
        while self.has_due_before_the_end()
            && let Some(schedule) = &mut self.schedule
        {
            self.record.unsent(schedule.take_ns());
        }
    }
}

/// Opens a connection up to where a request can be sent, its TLS handshake included, and watches
/// it. That takes its time from all others.
fn connect(
    options: &LoadOptions,
    security: Option<&Security>,
    poller: &Poller,
    index: usize,
) -> io::Result<Connection> {
    let socket = options.target.address.connect(options.timeout)?;
    let tls = match security {
        Some(security) => Some(security.handshake(&socket, options.timeout)?),
        None => None,
    };
    poller.add(&socket, index as u64)?;
    Ok(Connection::open(socket, tls))
}

#[inline]
fn as_ns(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
