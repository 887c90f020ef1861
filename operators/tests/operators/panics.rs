//! What is left of a request whose operators panic.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use snapback::{
    Chain, Context, Host, Panicked, Peer, Pipeline, Place, Reply, ReplyHead, Request, Run, Ticket,
    Work,
};

/// The host of chains in which no operator answers later.
struct NoHost;

impl Host for NoHost {
    fn reserve(&mut self, _request: &Request<'_>) -> Option<Ticket> {
        unreachable!("no operator answers later")
    }

    fn overloaded(&mut self) -> u64 {
        1
    }

    fn spawn(&mut self, _place: Place, _work: Work) {
        unreachable!("no operator answers later")
    }

    fn waker(&mut self) -> Waker {
        unreachable!("no operator answers later")
    }
}

/// One empty request through a chain: the body of its reply.
pub(crate) fn drive(chain: &mut Box<dyn Chain>) -> Result<String, Panicked> {
    send(chain, "").map(|(body, _)| body)
}

/// The body of the reply and the status, behind what earlier replies left in the outbox.
fn send(chain: &mut Box<dyn Chain>, body: &str) -> Result<(String, u16), Panicked> {
    let run = Run::new("test", "test");
    let request = Request::new(run.request_id(0, 0), "POST", "/", &Peer::Unix);
    let request = request.with_body(body.as_bytes());
    let (mut out, mut head) = (b"before|".to_vec(), ReplyHead::default());
    let mut host = NoHost;
    let mut cx = Context::new(&request, Reply::new(&mut out, &mut head), &mut host);
    let called = chain.call(&mut cx);
    let open = cx.reply().is_open();
    let out = String::from_utf8(out).expect("text");
    let reply = out
        .strip_prefix("before|")
        .expect("what belongs to others stays")
        .to_owned();
    match called {
        Ok(()) => Ok((reply, head.status())),
        Err(panicked) => {
            assert!(
                open && reply.is_empty() && head.header_lines().is_empty(),
                "taken back"
            );
            assert_eq!((head.status(), head.fault()), (200, None));
            Err(panicked)
        }
    }
}

fn ok(body: &str, status: u16) -> Result<(String, u16), Panicked> {
    Ok((body.to_owned(), status))
}

#[test]
fn what_was_written_is_taken_back_and_the_next_request_works() {
    let mut chain = Pipeline::detached()
        .process(|request, cx| {
            if request.body() == b"fault" {
                cx.reply().header("a b", "\n");
            }
            cx.reply().status(201).header("x-a", "b").text("half");
            Some(request.body())
                .filter(|body| body.is_empty())
                .map(|_| ())
                .or_else(|| panic!("on purpose"))
        })
        .make_reply()
        .into_chain();
    assert_eq!(send(&mut chain, "panic"), Err(Panicked));
    assert_eq!(send(&mut chain, "fault"), Err(Panicked));
    assert_eq!(send(&mut chain, ""), ok("half", 201));
    assert_eq!(send(&mut chain, "panic"), Err(Panicked));
}

#[test]
fn what_closures_captured_is_fresh_after_a_panic() {
    let (mut before, mut after) = (0, 0);
    let mut chain = Pipeline::detached()
        .map(move |request| {
            before += 1;
            assert_ne!(request.body(), b"panic", "on purpose");
            before
        })
        .map(move |before| {
            after += 1;
            format!("{before} {after}")
        })
        .make_reply()
        .into_chain();
    assert_eq!(send(&mut chain, ""), ok("1 1", 200));
    assert_eq!(send(&mut chain, ""), ok("2 2", 200));
    assert_eq!(send(&mut chain, "panic"), Err(Panicked));
    assert_eq!(send(&mut chain, ""), ok("1 1", 200));
    // An instance that is made later begins anew as well.
    let mut another = chain.instance();
    assert_eq!(send(&mut chain, ""), ok("2 2", 200));
    assert_eq!(send(&mut another, ""), ok("1 1", 200));
}

/// Panics when it is dropped, and counts that.
struct DropsHard(Arc<AtomicUsize>);

impl Drop for DropsHard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic_any(DropsHard(Arc::clone(&self.0)));
    }
}

#[test]
fn a_payload_that_panics_when_dropped_is_survived() {
    let drops = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&drops);
    let mut seen = 0;
    let mut chain = Pipeline::detached()
        .map(move |request| {
            seen += 1;
            if request.body() == b"panic" {
                panic_any(DropsHard(Arc::clone(&counter)));
            }
            seen
        })
        .make_reply()
        .into_chain();
    assert_eq!(send(&mut chain, ""), ok("1", 200));
    for round in 1..=3 {
        assert_eq!(send(&mut chain, "panic"), Err(Panicked));
        assert_eq!(
            drops.load(Ordering::Relaxed),
            round,
            "the second payload is leaked"
        );
        assert_eq!(
            send(&mut chain, ""),
            ok("1", 200),
            "the closures are fresh all the same"
        );
    }
}

#[test]
fn every_operator_is_isolated() {
    fn shout<T>() -> T {
        panic!("on purpose")
    }
    let pipeline = Pipeline::detached;
    let chains = [
        pipeline().map(|_| shout::<u8>()).make_reply().into_chain(),
        pipeline()
            .filter(|_| shout())
            .map(|_| ())
            .make_reply()
            .into_chain(),
        pipeline()
            .inspect(|_| shout())
            .map(|_| ())
            .make_reply()
            .into_chain(),
        pipeline()
            .update(|_| shout())
            .map(|_| ())
            .make_reply()
            .into_chain(),
        pipeline()
            .send_reply(|_| -> Option<&str> { shout() })
            .map(|_| ())
            .make_reply()
            .into_chain(),
        pipeline()
            .try_map(|_| -> Result<(), &str> { shout() })
            .make_reply()
            .into_chain(),
        pipeline().make_reply_with(|_, _| shout()).into_chain(),
    ];
    for mut chain in chains {
        assert_eq!(send(&mut chain, ""), Err(Panicked));
        assert_eq!(send(&mut chain.instance(), ""), Err(Panicked));
    }
}

#[test]
#[should_panic(expected = "an operator panicked at POST /")]
fn in_a_test_a_panic_of_an_operator_is_the_tests() {
    let pipeline = Pipeline::detached()
        .map(|_| panic!("on purpose"))
        .map(|()| ());
    pipeline.make_reply().test().post("");
}
