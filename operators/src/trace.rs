//! Which trace a request belongs to (W3C Trace Context).

use std::fmt;

use crate::headers::Headers;
use crate::request::{Request, RequestId, sole};

/// The trace of one request, and the server's own part of it.
///
/// Taken from the client's `traceparent`, or made when it sent none, or one that is not well-formed:
/// then the ids are worked out from the request's own id, so they are the same at each look and no
/// two requests share them, and the trace is not sampled, since nobody asked for that.
///
/// ```
/// use snapback_operators::{Headers, Peer, Request, Run};
///
/// let run = Run::new("my_api", "0192");
/// let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let headers = [httparse::Header { name: "traceparent", value: sent.as_bytes() }];
/// let request = Request::new(run.request_id(0, 7), "GET", "/", &Peer::Unix)
///     .with_headers(Headers::new(&headers));
/// let trace = request.trace();
/// assert_eq!(trace.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(trace.parent_id().unwrap().to_string(), "00f067aa0ba902b7");
/// assert!(trace.is_sampled());
/// // For the services that the pipeline calls: the same trace, with this request as the parent.
/// assert!(trace.traceparent().to_string().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TraceContext<'r> {
    trace_id: TraceId,
    parent_id: Option<SpanId>,
    span_id: SpanId,
    flags: u8,
    headers: Headers<'r>,
}

/// The id of a trace: 128 bits, not all zero. Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// The id of one part of a trace: 64 bits, not all zero. Shown as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whoever called may have recorded its part.
const SAMPLED: u8 = 1;
/// The trace id is random (level 2 of the specification). The other bits are not passed on.
const RANDOM: u8 = 2;

impl<'r> TraceContext<'r> {
    pub(crate) fn of(request: &Request<'r>) -> Self {
        let (id, headers) = (request.id(), request.headers());
        let sent = id.of_run().trace_context().then_some(headers);
        let parent = sent.and_then(|headers| parse(sole(headers.get_all("traceparent"))?));
        let span_id = SpanId(mixed(id, 0).max(1));
        match parent {
            Some(parent) => TraceContext {
                trace_id: parent.trace_id,
                parent_id: Some(parent.span_id),
                span_id,
                flags: parent.flags & (SAMPLED | RANDOM),
                headers,
            },
            None => TraceContext {
                trace_id: TraceId(
                    (u128::from(mixed(id, 1)) << 64 | u128::from(mixed(id, 2))).max(1),
                ),
                parent_id: None,
                span_id,
                flags: 0,
                headers: Headers::new(&[]),
            },
        }
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The part of the trace that called, if the client sent one.
    pub fn parent_id(&self) -> Option<SpanId> {
        self.parent_id
    }

    /// This request's own part of the trace.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether the caller may have recorded its part.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The client's `tracestate` lines, which belong together in this order; none if its
    /// `traceparent` was not taken.
    pub fn tracestate(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        let lines = self.headers.get_all("tracestate");
        lines.filter_map(|line| str::from_utf8(line).ok())
    }

    /// The value of `traceparent` for those whom the pipeline calls: this request is their parent.
    pub fn traceparent(&self) -> impl fmt::Display + use<> {
        let (trace_id, span_id, flags) = (self.trace_id, self.span_id, self.flags);
        fmt::from_fn(move |f| write!(f, "00-{trace_id}-{span_id}-{flags:02x}"))
    }
}

/// What a `traceparent` says.
struct Parent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
}

/// Reads a `traceparent` (W3C Trace Context, section 3.2). A version that is not known is read as
/// version 00 would be, and may have more behind it.
fn parse(value: &[u8]) -> Option<Parent> {
    const LEN: usize = 55;
    let (known, rest) = value.split_at_checked(LEN)?;
    let [version, trace_id, span_id, flags] =
        [0..2, 3..35, 36..52, 53..55].map(|field| &known[field]);
    let version = hex(version)?;
    let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let may_go_on = rest.is_empty() || version > 0 && rest[0] == b'-';
    let parent = Parent {
        trace_id: TraceId(hex(trace_id)?),
        span_id: SpanId(hex(span_id)? as u64),
        flags: hex(flags)? as u8,
    };
    let is_valid = version != 0xff && parent.trace_id.0 != 0 && parent.span_id.0 != 0;
    (has_dashes && may_go_on && is_valid).then_some(parent)
}

/// Lower-case hexadecimal digits, 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// 64 bits that look random and are always the same for one request.
fn mixed(id: RequestId<'_>, salt: u64) -> u64 {
    let run = id
        .run()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let place = [run, salt, u64::from(id.partition()), id.offset()];
    place.into_iter().fold(0, |mixed, part| mix(mixed ^ part))
}

/// The finalizer of SplitMix64, a bijection: two offsets of a partition never give the same.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
