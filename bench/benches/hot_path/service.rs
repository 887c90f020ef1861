//! A chain that is called without a socket.

use snapback::prelude::*;
use snapback_operators::{Chain, Context, Host, Peer, Place, ReplyHead, Run, Ticket, Work};

/// A chain that is called without a socket.
pub(crate) struct Service {
    chain: Box<dyn Chain>,
    run: Run,
    out: Vec<u8>,
    head: ReplyHead,
}

impl Service {
    pub(crate) fn new(chain: Box<dyn Chain>) -> Self {
        let run = Run::new("bench", "bench");
        Service {
            chain,
            run,
            out: Vec::new(),
            head: ReplyHead::default(),
        }
    }

    pub(crate) fn call(&mut self, body: &[u8]) -> usize {
        self.out.clear();
        let id = self.run.request_id(0, 0);
        let request = Request::new(id, "POST", "/my_api", &Peer::Unix).with_body(body);
        let reply = Reply::new(&mut self.out, &mut self.head);
        self.chain
            .call(&mut Context::new(&request, reply, &mut Refuses))
            .expect("no panic");
        self.out.len()
    }
}

/// The chains here defer nothing.
struct Refuses;

impl Host for Refuses {
    fn reserve(&mut self, _request: &Request<'_>) -> Option<Ticket> {
        None
    }

    fn overloaded(&mut self) -> u64 {
        1
    }

    fn spawn(&mut self, _place: Place, _work: Work) {}

    fn waker(&mut self) -> std::task::Waker {
        std::task::Waker::noop().clone()
    }
}
