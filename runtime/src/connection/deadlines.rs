//! How long a connection waits, and for what.

use std::time::Duration;

use crate::options::Options;
use crate::partition::TimeoutKind;

/// The limits of a query, in nanoseconds; [`u64::MAX`] is none.
#[derive(Clone, Debug)]
pub(crate) struct TimeLimits {
    pub(crate) header_ns: u64,
    pub(crate) body_ns: u64,
    /// Bytes per second; 0 is no minimum.
    pub(crate) min_body_rate: u64,
    pub(crate) keep_alive_ns: u64,
    pub(crate) write_ns: u64,
    pub(crate) linger_ns: u64,
}

impl TimeLimits {
    pub(crate) fn of(options: &Options) -> Self {
        TimeLimits {
            header_ns: limit_ns(options.header_timeout),
            body_ns: limit_ns(options.body_timeout),
            min_body_rate: options.min_body_rate,
            keep_alive_ns: limit_ns(options.keep_alive_timeout),
            write_ns: limit_ns(options.write_timeout),
            linger_ns: limit_ns(options.linger_timeout),
        }
    }

    /// When a body must be whole of which so much has come: each byte earns it the time that it may
    /// take at the minimum rate.
    fn body_due_ns(&self, since_ns: u64, received_bytes: u64) -> u64 {
        let earned_ns = match self.min_body_rate {
            0 => 0,
            rate => u128::from(received_bytes) * 1_000_000_000 / u128::from(rate),
        };
        let earned_ns = u64::try_from(earned_ns).unwrap_or(u64::MAX);
        since_ns
            .saturating_add(self.body_ns)
            .saturating_add(earned_ns)
    }
}

/// A span as a limit: zero is none.
fn limit_ns(span: Duration) -> u64 {
    match u64::try_from(span.as_nanos()) {
        Ok(0) | Err(_) => u64::MAX,
        Ok(limit_ns) => limit_ns,
    }
}

/// What a client is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Send its first request.
    First,
    /// Send its next request.
    Next,
    /// Send the rest of a head.
    Head,
    /// Send the rest of a body.
    Body,
    /// Send nothing: it has said its last, or it is the server's turn.
    Nothing,
    /// Close, as the server has.
    Close,
}

/// When a connection has waited too long.
///
/// A connection notes its own deadline, which costs a store; the partition's timer is only set when
/// it would come too late, and looks again when it comes too early. So a connection that is busy
/// never touches the timers.
///
/// Invariant: `due_ns` is not after any of the other deadlines.
#[derive(Debug)]
pub(crate) struct Deadlines {
    awaited: Awaited,
    /// Since when the head or the body at hand has been coming.
    since_ns: u64,
    /// How much of the body came after its head was looked at.
    body_bytes: u64,
    /// How many bytes of replies the kernel had taken when it last took some.
    taken_bytes: u64,
    read_due_ns: u64,
    write_due_ns: u64,
    due_ns: u64,
}

/// The state of a connection that is not simply idle.
pub(crate) struct Busy {
    pub(crate) awaited: Awaited,
    /// How many bytes of replies the kernel has taken, while others wait for room there.
    pub(crate) taken_bytes: Option<u64>,
    /// When the first of its deferred requests is over its time.
    pub(crate) request_due_ns: u64,
}

impl Deadlines {
    /// Those of a connection that begins now.
    pub(crate) fn new(now_ns: u64, limits: &TimeLimits) -> Self {
        let read_due_ns = now_ns.saturating_add(limits.header_ns);
        Deadlines {
            awaited: Awaited::First,
            since_ns: now_ns,
            body_bytes: 0,
            taken_bytes: 0,
            read_due_ns,
            write_due_ns: u64::MAX,
            due_ns: read_due_ns,
        }
    }

    /// When the connection is to be looked at.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// A request is whole.
    #[inline]
    pub(crate) fn request_ended(&mut self) {
        self.awaited = Awaited::Next;
    }

    /// Whether a body is coming, whose bytes count.
    #[inline]
    pub(crate) fn is_in_body(&self) -> bool {
        self.awaited == Awaited::Body
    }

    /// More of the body came.
    pub(crate) fn count_body(&mut self, bytes: usize) {
        self.body_bytes += bytes as u64;
    }

    /// Everything that came is answered, and everything is sent.
    #[inline]
    pub(crate) fn idle(&mut self, now_ns: u64, limits: &TimeLimits) {
        self.write_due_ns = u64::MAX;
        // A first head has its time from when the connection was accepted.
        if self.awaited != Awaited::First {
            self.awaited = Awaited::Next;
            self.read_due_ns = now_ns.saturating_add(limits.keep_alive_ns);
        }
        self.due_ns = self.read_due_ns;
    }

    /// Something is still to come, from one side or the other.
    pub(crate) fn busy(&mut self, now_ns: u64, busy: &Busy, limits: &TimeLimits) {
        self.note_awaited(now_ns, busy.awaited, limits);
        self.note_unsent(now_ns, busy.taken_bytes, limits);
        let due_ns = self.read_due_ns.min(self.write_due_ns);
        self.due_ns = due_ns.min(busy.request_due_ns);
    }

    fn note_awaited(&mut self, now_ns: u64, awaited: Awaited, limits: &TimeLimits) {
        let is_first_head = self.awaited == Awaited::First && awaited == Awaited::Head;
        if awaited != self.awaited && !is_first_head {
            (self.since_ns, self.body_bytes) = (now_ns, 0);
        }
        self.awaited = awaited;
        self.read_due_ns = match awaited {
            Awaited::Head => self.since_ns.saturating_add(limits.header_ns),
            Awaited::Body => limits.body_due_ns(self.since_ns, self.body_bytes),
            Awaited::Close => self.since_ns.saturating_add(limits.linger_ns),
            Awaited::First | Awaited::Next | Awaited::Nothing => u64::MAX,
        };
    }

    fn note_unsent(&mut self, now_ns: u64, taken_bytes: Option<u64>, limits: &TimeLimits) {
        match taken_bytes {
            None => self.write_due_ns = u64::MAX,
            Some(taken) if taken != self.taken_bytes || self.write_due_ns == u64::MAX => {
                self.taken_bytes = taken;
                self.write_due_ns = now_ns.saturating_add(limits.write_ns);
            }
            Some(_) => {}
        }
    }

    /// What has taken too long, if anything has.
    pub(crate) fn overdue(&self, now_ns: u64) -> Option<TimeoutKind> {
        if self.write_due_ns <= now_ns {
            return Some(TimeoutKind::Write);
        }
        if self.read_due_ns > now_ns {
            return None;
        }
        match self.awaited {
            Awaited::First | Awaited::Head => Some(TimeoutKind::Header),
            Awaited::Body => Some(TimeoutKind::Body),
            Awaited::Next => Some(TimeoutKind::KeepAlive),
            Awaited::Close => Some(TimeoutKind::Linger),
            Awaited::Nothing => None,
        }
    }

    /// The next request is awaited without limit.
    pub(crate) fn stay(&mut self) {
        self.read_due_ns = u64::MAX;
        self.due_ns = self.write_due_ns;
    }

    /// The time of a deferred request is over; the next one has until then.
    pub(crate) fn set_request_due(&mut self, request_due_ns: u64) {
        let due_ns = self.read_due_ns.min(self.write_due_ns);
        self.due_ns = due_ns.min(request_due_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TimeLimits = TimeLimits {
        header_ns: 10,
        body_ns: 20,
        // A byte in 2 ns.
        min_body_rate: 500_000_000,
        keep_alive_ns: 1000,
        write_ns: 30,
        linger_ns: 40,
    };

    fn busy(awaited: Awaited) -> Busy {
        Busy {
            awaited,
            taken_bytes: None,
            request_due_ns: u64::MAX,
        }
    }

    #[test]
    fn a_first_head_has_its_time_from_the_beginning_and_a_next_one_from_its_first_byte() {
        let mut deadlines = Deadlines::new(5, &LIMITS);
        deadlines.idle(6, &LIMITS);
        assert_eq!(deadlines.due_ns(), 15);
        deadlines.busy(9, &busy(Awaited::Head), &LIMITS);
        deadlines.busy(12, &busy(Awaited::Head), &LIMITS);
        assert_eq!((deadlines.due_ns(), deadlines.overdue(14)), (15, None));
        assert_eq!(deadlines.overdue(15), Some(TimeoutKind::Header));

        deadlines.request_ended();
        deadlines.idle(13, &LIMITS);
        assert_eq!(deadlines.due_ns(), 1013);
        assert_eq!(deadlines.overdue(1013), Some(TimeoutKind::KeepAlive));
        deadlines.busy(50, &busy(Awaited::Head), &LIMITS);
        deadlines.busy(55, &busy(Awaited::Head), &LIMITS);
        assert_eq!(deadlines.due_ns(), 60);
        // One ends and another one begins in the same turn.
        deadlines.request_ended();
        deadlines.busy(58, &busy(Awaited::Head), &LIMITS);
        assert_eq!(deadlines.due_ns(), 68);
    }

    #[test]
    fn a_body_earns_time_by_its_bytes() {
        let mut deadlines = Deadlines::new(1, &LIMITS);
        deadlines.busy(100, &busy(Awaited::Body), &LIMITS);
        assert_eq!(deadlines.due_ns(), 120);
        deadlines.count_body(7);
        deadlines.busy(101, &busy(Awaited::Body), &LIMITS);
        assert_eq!(deadlines.due_ns(), 134);
        assert_eq!(deadlines.overdue(134), Some(TimeoutKind::Body));
        let strict = TimeLimits {
            min_body_rate: 0,
            ..LIMITS
        };
        deadlines.busy(102, &busy(Awaited::Body), &strict);
        assert_eq!(deadlines.due_ns(), 120);
    }

    #[test]
    fn a_client_that_takes_some_bytes_has_time_for_the_next() {
        let unsent = |taken| Busy {
            taken_bytes: Some(taken),
            ..busy(Awaited::Nothing)
        };
        let mut deadlines = Deadlines::new(1, &LIMITS);
        deadlines.busy(100, &unsent(0), &LIMITS);
        deadlines.busy(110, &unsent(0), &LIMITS);
        assert_eq!(deadlines.due_ns(), 130);
        deadlines.busy(120, &unsent(1), &LIMITS);
        deadlines.busy(140, &unsent(1), &LIMITS);
        assert_eq!((deadlines.due_ns(), deadlines.overdue(149)), (150, None));
        assert_eq!(deadlines.overdue(150), Some(TimeoutKind::Write));
        deadlines.idle(145, &LIMITS);
        assert_eq!(deadlines.overdue(150), None);
    }

    #[test]
    fn the_first_deadline_counts() {
        let mut deadlines = Deadlines::new(1, &LIMITS);
        let all = Busy {
            awaited: Awaited::Close,
            taken_bytes: Some(1),
            request_due_ns: 17,
        };
        deadlines.busy(1, &all, &LIMITS);
        assert_eq!((deadlines.due_ns(), deadlines.overdue(17)), (17, None));
        deadlines.set_request_due(u64::MAX);
        assert_eq!(deadlines.due_ns(), 31);
        deadlines.request_ended();
        deadlines.idle(2, &LIMITS);
        deadlines.stay();
        assert_eq!(deadlines.due_ns(), u64::MAX);
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(limit_ns(Duration::ZERO), u64::MAX);
        assert_eq!(limit_ns(Duration::MAX), u64::MAX);
        assert_eq!(limit_ns(Duration::from_micros(1)), 1000);
    }
}
