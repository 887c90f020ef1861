//! Requests that ask for more than their pipeline: keys, ids of clients, encoded bodies.
//!
//! Most requests bring none of these to a service that asks for none, and are answered without a
//! look at this file: the codec marks those that do as it reads their heads.

use std::io::Write;
use std::mem;
use std::sync::Arc;

use snapback_operators::{CorrelationId, Headers, Peer, Reply, Request};

use super::worker::{Extras, Sender, Worker};
use crate::auth::Auth;
use crate::content::{ContentCoding, Decoding, Fault, codings_of, names_of};
use crate::http1::{Decoded, Decoder, Echo, HeaderTable, Marks};
use crate::options::Options;
use crate::outbox::Outbox;

/// How much of encoded bodies a partition decodes in a turn, all its connections together.
pub(super) const CONTENT_BYTES_PER_TURN: usize = 128 << 10;
/// As much of each body is decoded at once, so that small ones need not wait for large ones. Not of
/// `br`, whose decoder fills its window before it gives anything.
const FIRST_CONTENT_BYTES: usize = 16 << 10;

/// What a query asks of its requests, and heeds in them, before the pipeline sees them.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    auth: Option<Arc<Auth>>,
    codings: Box<[ContentCoding]>,
    trace_context: bool,
    heeded: Marks,
    /// Not only marked requests are looked at.
    looks_at_all: bool,
}

impl Admission {
    pub(crate) fn new(options: &Options, auth: Option<Arc<Auth>>) -> Self {
        let mut heeded = Marks::CONTENT_ENCODING;
        if options.trace_context {
            heeded.add(Marks::TRACEPARENT);
        }
        // The codec knows the usual name; another one is looked for in each request.
        let is_usual =
            |name: &str| name.eq_ignore_ascii_case(snapback_operators::REQUEST_ID_HEADER);
        let id_header = options.request_id_header.as_deref();
        if id_header.is_some_and(is_usual) {
            heeded.add(Marks::REQUEST_ID);
        }
        Admission {
            looks_at_all: auth.is_some() || id_header.is_some_and(|name| !is_usual(name)),
            auth,
            codings: options.accept_encodings.as_slice().into(),
            trace_context: options.trace_context,
            heeded,
        }
    }

    /// Whether a request is to be looked at before it is answered.
    #[inline]
    pub(super) fn concerns(&self, marks: Marks) -> bool {
        self.looks_at_all | marks.has(self.heeded)
    }
}

impl Worker {
    /// Whether a request goes to [`prepare`](Self::prepare).
    #[inline]
    pub(crate) fn prepares(&self, decoded: &Decoded<'_, '_>) -> bool {
        self.policy().admission.concerns(decoded.marks)
    }

    /// Answers a request as [`answer`](Self::answer) does, after a look at its key, its id and its
    /// body. `None` when its body is not decoded yet: call it again with the same request in a
    /// later turn. What is decoded until then is in `decoding`.
    #[inline(never)]
    pub(crate) fn prepare(
        &mut self,
        decoded: &Decoded<'_, '_>,
        sender: Sender<'_>,
        decoding: &mut Option<Box<Decoding>>,
        outbox: &mut Outbox,
    ) -> Option<bool> {
        let mut echo = mem::take(&mut self.echo);
        self.write_echo(decoded, sender.peer, &mut echo);
        let answered = self.admit(decoded, sender, decoding, &echo, outbox);
        echo.clear();
        self.echo = echo;
        answered
    }

    /// Answers a request without a key while its body is still on its way: nobody makes the server
    /// keep a body who may not send one. Tells whether it did; the connection closes then.
    #[inline]
    pub(crate) fn denies_early(
        &mut self,
        decoder: &Decoder,
        bytes: &[u8],
        sender: Sender<'_>,
        outbox: &mut Outbox,
    ) -> bool {
        let auth = &self.policy().admission.auth;
        auth.clone()
            .is_some_and(|auth| self.deny_early(&auth, decoder, bytes, sender, outbox))
    }

    #[cold]
    fn deny_early(
        &mut self,
        auth: &Auth,
        decoder: &Decoder,
        bytes: &[u8],
        sender: Sender<'_>,
        outbox: &mut Outbox,
    ) -> bool {
        let mut table = HeaderTable::new();
        let Some(mut decoded) = decoder.head(bytes, &mut table, &self.policy().limits) else {
            return false;
        };
        let identified = auth
            .identify(&auth.keys(), Headers::new(decoded.headers))
            .err();
        let Some(denial) = identified else {
            return false;
        };
        decoded.keep_alive = false;
        let mut echo = Echo::default();
        self.write_echo(&decoded, sender.peer, &mut echo);
        self.deny(&decoded, sender, &echo, outbox, |reply, members| {
            auth.challenge(denial, reply, members);
        });
        true
    }

    fn admit(
        &mut self,
        decoded: &Decoded<'_, '_>,
        sender: Sender<'_>,
        decoding: &mut Option<Box<Decoding>>,
        echo: &Echo,
        outbox: &mut Outbox,
    ) -> Option<bool> {
        let auth = self.policy().admission.auth.clone();
        let keys = auth.as_ref().map(|auth| (auth, auth.keys()));
        let mut identity = None;
        if let Some((auth, keys)) = &keys {
            match auth.identify(keys, Headers::new(decoded.headers)) {
                Ok(name) => identity = Some(name),
                Err(denial) => {
                    *decoding = None;
                    let challenge = |reply: &mut Reply<'_>, members: &[(&str, &str)]| {
                        auth.challenge(denial, reply, members);
                    };
                    return Some(self.deny(decoded, sender, echo, outbox, challenge));
                }
            }
        }
        let mut extras = Extras {
            identity,
            body: decoded.body,
            echo: Some(echo).filter(|echo| !echo.is_empty()),
        };
        let is_encoded = decoded.marks.has(Marks::CONTENT_ENCODING) && !decoded.body.is_empty();
        if !is_encoded || !self.policy().route.matches(decoded.target) {
            return Some(self.answer_with(decoded, extras, sender, outbox));
        }
        match self.decode_content(decoded, decoding) {
            Ok(false) => None,
            Ok(true) => {
                let content = decoding.take();
                if let Some(content) = &content {
                    extras.body = content.body();
                }
                Some(self.answer_with(decoded, extras, sender, outbox))
            }
            Err(fault) => {
                *decoding = None;
                let codings = self.policy().admission.codings.clone();
                let refuse = |reply: &mut Reply<'_>, members: &[(&str, &str)]| {
                    if matches!(fault, Fault::Unknown { .. } | Fault::TooManyCodings) {
                        reply.header("accept-encoding", &names_of(&codings));
                    }
                    reply.problem_with(fault.status(), &fault.to_string(), members);
                };
                Some(self.deny(decoded, sender, echo, outbox, refuse))
            }
        }
    }

    /// Decodes a share of a body; tells whether it is whole. There is no decoding of a body whose
    /// codings say nothing.
    fn decode_content(
        &mut self,
        decoded: &Decoded<'_, '_>,
        decoding: &mut Option<Box<Decoding>>,
    ) -> Result<bool, Fault> {
        if let Some(decoding) = decoding {
            return decoding.run(decoded.body, &mut self.content_budget_bytes);
        }
        let policy = self.policy();
        let lines = Headers::new(decoded.headers).get_all("content-encoding");
        let codings = codings_of(lines, &policy.admission.codings)?;
        if codings.is_empty() {
            return Ok(true);
        }
        let fills_its_window = codings.contains(&ContentCoding::Br);
        let limit_bytes = policy.limits.max_body_bytes;
        let decoding = decoding.insert(Box::new(Decoding::new(codings, limit_bytes)));
        let mut first_bytes = FIRST_CONTENT_BYTES;
        let budget_bytes = if fills_its_window {
            &mut self.content_budget_bytes
        } else {
            &mut first_bytes
        };
        decoding.run(decoded.body, budget_bytes)
    }

    /// Answers a request that does not come to the pipeline. It takes no offset.
    #[cold]
    fn deny(
        &mut self,
        decoded: &Decoded<'_, '_>,
        sender: Sender<'_>,
        echo: &Echo,
        outbox: &mut Outbox,
        write: impl FnOnce(&mut Reply<'_>, &[(&str, &str)]),
    ) -> bool {
        let (keep_alive, persistence) = self.replier.persistence(decoded, sender.more_follows);
        let run = Arc::clone(&self.run);
        let id = run.request_id(self.partition, self.next);
        let request = Request::new(id, decoded.method, decoded.target, sender.peer)
            .with_headers(Headers::new(decoded.headers));
        let out = outbox.bytes();
        let room = self.replier.leave_room(out);
        let mut reply = Reply::new(out, &mut self.replier.head);
        match request.correlation_id() {
            CorrelationId::Taken(id) => write(&mut reply, &[("correlationId", id)]),
            CorrelationId::Made(_) => write(&mut reply, &[]),
        }
        self.replier
            .put_head(out, room, persistence, decoded.is_head, None, Some(echo));
        self.traffic().replied(self.replier.head.status());
        keep_alive
    }

    /// What the reply says back: the client's id of the request, and its trace.
    fn write_echo(&mut self, decoded: &Decoded<'_, '_>, peer: &Peer, echo: &mut Echo) {
        let id = self.run.request_id(self.partition, self.next);
        let request = Request::new(id, decoded.method, decoded.target, peer)
            .with_headers(Headers::new(decoded.headers));
        if let CorrelationId::Taken(id) = request.correlation_id()
            && let Some(name) = self.run.request_id_header()
        {
            for part in [name, ": ", id, "\r\n"] {
                echo.id_line.extend_from_slice(part.as_bytes());
            }
        }
        if self.policy().admission.trace_context && decoded.marks.has(Marks::TRACEPARENT) {
            let trace = request.trace();
            if trace.parent_id().is_some() {
                // Writing to a vector does not fail.
                let _ = write!(
                    echo.trace_line,
                    "traceresponse: {}\r\n",
                    trace.traceparent()
                );
            }
        }
    }
}
