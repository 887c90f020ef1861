//! Driving a pipeline in a unit test, with no socket.

use std::task::Waker;

use crate::chain::Chain;
use crate::context::Context;
use crate::defer::{Host, KeptHead, Place, Ticket, Turn, Work};
use crate::headers::Headers;
use crate::reply::{Reply, ReplyHead};
use crate::request::{Peer, Request, Run};

/// A pipeline in a test: requests go in by method call, replies come back as values.
///
/// A row that leaves the pipeline without a reply is answered 204, as the server does by default;
/// a panic of an operator is the test's panic.
#[derive(Debug)]
pub struct TestService {
    chain: Box<dyn Chain>,
    run: Run,
    offset: u64,
    identity: Option<String>,
}

impl TestService {
    pub(crate) fn new(chain: Box<dyn Chain>) -> Self {
        TestService {
            chain,
            run: Run::new("test", "test"),
            offset: 0,
            identity: None,
        }
    }

    /// From now on the requests come from whoever has this name, as if they had brought its key; see
    /// [`Request::identity`].
    ///
    /// ```
    /// # use snapback_operators::Pipeline;
    /// let mut service = Pipeline::detached()
    ///     .map(|request| request.identity().unwrap_or("nobody").to_owned())
    ///     .make_reply()
    ///     .test();
    /// service.get("/").expect(200, "nobody");
    /// service.identify(Some("billing")).get("/").expect(200, "billing");
    /// ```
    pub fn identify(&mut self, identity: Option<&str>) -> &mut Self {
        self.identity = identity.map(str::to_owned);
        self
    }

    /// Sends a POST with this body.
    pub fn post(&mut self, body: impl AsRef<[u8]>) -> TestReply {
        self.send("POST", "/", &[], body)
    }

    /// Sends a GET of this target, path and query.
    pub fn get(&mut self, target: &str) -> TestReply {
        self.send("GET", target, &[], "")
    }

    /// Sends any request.
    ///
    /// # Panics
    ///
    /// When an operator panics.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> TestReply {
        let fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| httparse::Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        let request = Request::new(
            self.run.request_id(0, self.offset),
            method,
            target,
            &Peer::Unix,
        )
        .with_headers(Headers::new(&fields))
        .with_body(body.as_ref())
        .with_identity(self.identity.as_deref());
        self.offset += 1;
        let (mut out, mut head) = (Vec::new(), ReplyHead::default());
        let mut host = TestHost::default();
        let reply = Reply::new(&mut out, &mut head);
        let called = self
            .chain
            .call(&mut Context::new(&request, reply, &mut host));
        assert!(
            called.is_ok(),
            "an operator panicked at {method} {target}; its message is above"
        );
        while host.deferred {
            let mut turn = TestTurn {
                run: &self.run,
                host: &mut host,
                out: &mut out,
                head: &mut head,
            };
            let settled = self.chain.settle(&mut turn);
            assert!(
                settled.is_ok(),
                "an operator panicked behind a deferred one"
            );
            host.works.drain(..).for_each(pollster::block_on);
        }
        TestReply::new(&head, out)
    }
}

/// A driver that waits for each future at once.
#[derive(Default)]
struct TestHost {
    deferred: bool,
    /// Time flies in a test: a batch that waits for others is due at the next look.
    late: bool,
    works: Vec<Work>,
}

impl Host for TestHost {
    fn reserve(&mut self, request: &Request<'_>) -> Option<Ticket> {
        self.deferred = true;
        let mut head = Box::<KeptHead>::default();
        head.fill(request);
        Some(Ticket::new(
            Place {
                connection: 0,
                slot: 0,
            },
            head,
        ))
    }

    fn overloaded(&mut self) -> u64 {
        1
    }

    fn spawn(&mut self, _place: Place, work: Work) {
        self.works.push(work);
    }

    fn waker(&mut self) -> Waker {
        Waker::noop().clone()
    }
}

struct TestTurn<'t> {
    run: &'t Run,
    host: &'t mut TestHost,
    out: &'t mut Vec<u8>,
    head: &'t mut ReplyHead,
}

impl Turn for TestTurn<'_> {
    fn resume(&mut self, ticket: Ticket, work: &mut dyn FnMut(&mut Context<'_, '_>)) {
        self.host.deferred = false;
        let (_, head) = ticket.into_parts();
        head.with_request(self.run, |request| {
            let reply = Reply::new(self.out, self.head);
            work(&mut Context::new(request, reply, self.host));
        });
    }

    fn is_awaited(&mut self, _ticket: &Ticket) -> bool {
        true
    }

    fn now_ns(&mut self) -> u64 {
        if self.host.late { u64::MAX } else { 0 }
    }

    fn settle_again_at(&mut self, _time_ns: u64) {
        self.host.late = true;
    }
}

/// The reply to a request of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReply {
    /// The status code.
    pub status: u16,
    /// Content type and the pipeline's own header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl TestReply {
    fn new(head: &ReplyHead, body: Vec<u8>) -> Self {
        if !head.is_answered() {
            return TestReply {
                status: 204,
                headers: Vec::new(),
                body: Vec::new(),
            };
        }
        if let Some(fault) = head.fault() {
            let body = fault.to_string().into_bytes();
            return TestReply {
                status: 500,
                headers: Vec::new(),
                body,
            };
        }
        let content_type = head
            .content_type()
            .as_str()
            .map(|value| ("content-type", value));
        let lines = str::from_utf8(head.header_lines())
            .unwrap_or_default()
            .lines();
        let headers = content_type
            .into_iter()
            .chain(lines.filter_map(|line| line.split_once(": ")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        TestReply {
            status: head.status(),
            headers,
            body,
        }
    }

    /// The value of the first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts status and body.
    ///
    /// # Panics
    ///
    /// When one of them differs.
    #[track_caller]
    pub fn expect(&self, status: u16, body: impl AsRef<[u8]>) -> &Self {
        let expected = (status, String::from_utf8_lossy(body.as_ref()).into_owned());
        assert_eq!((self.status, self.text()), expected, "status and body");
        self
    }
}
