//! Replies to requests that are turned away.

use snapback_operators::{Reply, ReplyHead};

use super::shed::ShedReason;
use crate::http1::{HeadEncoder, Persistence};

/// Writes the replies of an overloaded partition.
///
/// Under overload one reply goes out thousands of times a second, so it is made once a second and
/// then copied: 30 times cheaper than a problem document, and independent of what was asked.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Head and body of the last reply.
    bytes: Vec<u8>,
    head_bytes: usize,
    key: Option<Key>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) reason: ShedReason,
    pub(crate) persistence: Persistence,
    /// In how many seconds it is worth another try.
    pub(crate) retry_after_s: u64,
}

impl Refusals {
    /// Appends a reply to `out`; one to HEAD without its body. Gives its status.
    pub(crate) fn write(
        &mut self,
        key: Key,
        encoder: &mut HeadEncoder,
        is_head: bool,
        out: &mut Vec<u8>,
    ) -> u16 {
        if self.key != Some(key) {
            self.make(&key, encoder);
            self.key = Some(key);
        }
        let end = if is_head {
            self.head_bytes
        } else {
            self.bytes.len()
        };
        out.extend_from_slice(&self.bytes[..end]);
        told(key.reason).0
    }

    /// The date has changed, which replies bear.
    pub(crate) fn forget(&mut self) {
        self.key = None;
    }

    #[cold]
    fn make(&mut self, key: &Key, encoder: &mut HeadEncoder) {
        let (mut body, mut head) = (Vec::new(), ReplyHead::default());
        let mut reply = Reply::new(&mut body, &mut head);
        let (status, detail) = told(key.reason);
        if status == 503 {
            reply.header("retry-after", &key.retry_after_s.to_string());
        }
        reply.problem(status, detail);
        self.bytes.clear();
        let head = encoder.encode(&head, body.len(), key.persistence);
        self.bytes.extend_from_slice(head);
        self.head_bytes = self.bytes.len();
        self.bytes.extend_from_slice(&body);
    }
}

/// The status and the detail that a client is told.
fn told(reason: ShedReason) -> (u16, &'static str) {
    match reason {
        ShedReason::Connections => (503, "too many connections are open: try again later"),
        ShedReason::InFlight | ShedReason::Rows => (
            503,
            "too many requests are being worked on: try again later",
        ),
        ShedReason::Tee => (
            503,
            "what is served here is recorded, and the records are not written fast enough: try \
             again later",
        ),
        ShedReason::QueueDelay => (503, "requests wait too long here: try again later"),
        ShedReason::Deadline => (
            504,
            "the time that x-request-timeout-ms gave was over before the request was begun",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_made_once_and_says_when_to_come_again() {
        let mut refusals = Refusals::default();
        let mut encoder = HeadEncoder::new(0);
        let mut written = |key, is_head| {
            let mut out = Vec::new();
            refusals.write(key, &mut encoder, is_head, &mut out);
            String::from_utf8(out).unwrap()
        };
        let key = Key {
            reason: ShedReason::InFlight,
            persistence: Persistence::KeepAlive,
            retry_after_s: 7,
        };
        let whole = written(key, false);
        assert!(
            whole.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{whole}"
        );
        assert!(
            whole.contains("retry-after: 7\r\n") && whole.ends_with('}'),
            "{whole}"
        );
        let (head, _) = whole.split_once("{").unwrap();
        assert_eq!(
            (written(key, true).as_str(), written(key, false)),
            (head, whole.clone())
        );

        let persistence = Persistence::Close;
        let closing = written(Key { persistence, ..key }, false);
        assert!(closing.contains("connection: close\r\n"), "{closing}");
        let reason = ShedReason::Deadline;
        let late = written(Key { reason, ..key }, false);
        assert!(
            late.starts_with("HTTP/1.1 504 ") && !late.contains("retry-after"),
            "{late}"
        );
    }
}
