//! What a tee noted of served requests: a column for each thing.

use std::ops::BitOr;

use snapback_operators::Request;

/// What a sink wants of each request, beside its id, times and status.
///
/// Headers are not offered: they carry the keys of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(u8);

impl Fields {
    /// Nothing more.
    pub const NONE: Fields = Fields(0);
    /// The method.
    pub const METHOD: Fields = Fields(1);
    /// Path and query, as they were sent.
    pub const TARGET: Fields = Fields(2);
    /// The address of the client.
    pub const CLIENT: Fields = Fields(4);
    /// The name of the client's key.
    pub const IDENTITY: Fields = Fields(8);
    /// The body, decoded.
    pub const REQUEST: Fields = Fields(16);
    /// The body of the reply.
    pub const REPLY: Fields = Fields(32);
    /// Everything.
    pub const ALL: Fields = Fields(63);

    /// Whether it has all of these.
    #[must_use]
    pub fn has(self, fields: Fields) -> bool {
        self.0 & fields.0 == fields.0
    }
}

impl BitOr for Fields {
    type Output = Fields;

    fn bitor(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }
}

/// Bytes of many rows in the layout of an Arrow column: one buffer, and where each row ends in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Begins with 0, then one for each row.
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Texts {
            offsets: vec![0],
            bytes: Vec::new(),
        }
    }
}

impl Texts {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a row.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Where each row begins, and where the last one ends.
    pub fn offsets(&self) -> &[i32] {
        &self.offsets
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.end();
    }

    fn append(&mut self, others: &Texts) {
        let base = self.bytes.len() as i32;
        self.bytes.extend_from_slice(&others.bytes);
        let ends = others.offsets.iter().skip(1).map(|end| base + end);
        self.offsets.extend(ends);
    }

    /// The recorder lets no more in than `i32` counts.
    fn end(&mut self) {
        self.offsets.push(self.bytes.len() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        if rows < self.len() {
            self.offsets.truncate(rows + 1);
            self.bytes.truncate(self.offsets[rows] as usize);
        }
    }
}

/// Served requests of one partition, in the order of their replies: a row each, a column for each
/// thing that the sink [wants](super::TeeSink::fields); a column that it does not want is empty.
///
/// The id of a request is the run's ([`Opening::run_id`](super::Opening)), the partition and the
/// offset, joined by `-`.
#[derive(Clone, Debug, Default)]
pub struct Served {
    partition: u32,
    offsets: Vec<u64>,
    times_ns: Vec<i64>,
    durations_ns: Vec<u64>,
    statuses: Vec<u16>,
    methods: Texts,
    targets: Texts,
    clients: Texts,
    identities: Texts,
    requests: Texts,
    replies: Texts,
}

/// What the columns that every row has take of the buffer.
const ROW_BYTES: usize = 48;

impl Served {
    pub(super) fn of_partition(partition: u32) -> Self {
        Served {
            partition,
            ..Served::default()
        }
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.statuses.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partition that served them.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The offsets of the requests in their partition.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// When the turn began that brought the request, in nanoseconds since 1970.
    pub fn times_ns(&self) -> &[i64] {
        &self.times_ns
    }

    /// The time from then until the reply was written, in nanoseconds.
    pub fn durations_ns(&self) -> &[u64] {
        &self.durations_ns
    }

    /// The statuses of the replies.
    pub fn statuses(&self) -> &[u16] {
        &self.statuses
    }

    /// The methods, in UTF-8.
    pub fn methods(&self) -> &Texts {
        &self.methods
    }

    /// Paths and queries as they were sent, in UTF-8.
    pub fn targets(&self) -> &Texts {
        &self.targets
    }

    /// The addresses of the clients, in UTF-8.
    pub fn clients(&self) -> &Texts {
        &self.clients
    }

    /// The names of the clients' keys, in UTF-8; empty where the service asks for none.
    pub fn identities(&self) -> &Texts {
        &self.identities
    }

    /// The bodies of the requests, decoded.
    pub fn requests(&self) -> &Texts {
        &self.requests
    }

    /// The bodies of the replies; of one to HEAD nothing.
    pub fn replies(&self) -> &Texts {
        &self.replies
    }

    /// How much memory the rows take, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.texts().map(|texts| texts.bytes.len());
        self.offsets.len() * ROW_BYTES + texts.iter().sum::<usize>()
    }

    fn texts(&self) -> [&Texts; 6] {
        [
            &self.methods,
            &self.targets,
            &self.clients,
            &self.identities,
            &self.requests,
            &self.replies,
        ]
    }

    fn texts_mut(&mut self) -> [&mut Texts; 6] {
        [
            &mut self.methods,
            &mut self.targets,
            &mut self.clients,
            &mut self.identities,
            &mut self.requests,
            &mut self.replies,
        ]
    }

    /// Notes a request, and how its client is called; its reply comes next.
    #[inline]
    pub(super) fn push_request(
        &mut self,
        fields: Fields,
        request: &Request<'_>,
        client: &str,
        time_ns: i64,
    ) {
        self.offsets.push(request.id().offset());
        self.times_ns.push(time_ns);
        if fields.has(Fields::METHOD) {
            self.methods.push(request.method().as_bytes());
        }
        if fields.has(Fields::TARGET) {
            self.targets.push(request.target().as_bytes());
        }
        if fields.has(Fields::CLIENT) {
            self.clients.push(client.as_bytes());
        }
        if fields.has(Fields::IDENTITY) {
            let identity = request.identity().unwrap_or_default();
            self.identities.push(identity.as_bytes());
        }
        if fields.has(Fields::REQUEST) {
            self.requests.push(request.body());
        }
    }

    /// Notes the reply to the last request.
    #[inline]
    pub(super) fn push_reply(
        &mut self,
        fields: Fields,
        status: u16,
        body: &[u8],
        duration_ns: u64,
    ) {
        self.durations_ns.push(duration_ns);
        self.statuses.push(status);
        if fields.has(Fields::REPLY) {
            self.replies.push(body);
        }
    }

    /// Adds what was noted of a request elsewhere.
    pub(super) fn append_request(&mut self, noted: &Served) {
        self.offsets.extend_from_slice(&noted.offsets);
        self.times_ns.extend_from_slice(&noted.times_ns);
        for (own, noted) in self.texts_mut().into_iter().zip(noted.texts()) {
            own.append(noted);
        }
    }

    /// Forgets all rows, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.offsets.clear();
        self.times_ns.clear();
        self.durations_ns.clear();
        self.statuses.clear();
        for texts in self.texts_mut() {
            texts.truncate(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use snapback_operators::{Peer, Run};

    use super::*;

    fn row(offset: u64, fields: Fields, body: &[u8], reply: &[u8]) -> Served {
        let run = Run::new("my_api", "0192");
        let request = Request::new(run.request_id(3, offset), "POST", "/a?b=c", &Peer::Unix)
            .with_body(body)
            .with_identity(Some("anna"));
        let mut served = Served::of_partition(3);
        served.push_request(fields, &request, "unix", 17);
        served.push_reply(fields, 200, reply, 5);
        served
    }

    #[test]
    fn a_row_has_what_was_asked_for_and_nothing_else() {
        let all = row(9, Fields::ALL, b"in", b"out");
        assert_eq!(
            (all.offsets(), all.statuses()),
            (&[9u64][..], &[200u16][..])
        );
        let texts = all.texts().map(|texts| texts.get(0).to_owned());
        let expected: [&[u8]; 6] = [b"POST", b"/a?b=c", b"unix", b"anna", b"in", b"out"];
        assert_eq!(texts.each_ref().map(Vec::as_slice), expected);

        let none = row(9, Fields::NONE, b"in", b"out");
        assert!(none.texts().iter().all(|texts| texts.is_empty()));
        assert_eq!(none.len(), 1);
        let some = row(9, Fields::REPLY | Fields::TARGET, b"in", b"out");
        assert!(some.methods().is_empty() && some.requests().is_empty());
        assert_eq!(some.replies().get(0), b"out");
    }

    #[test]
    fn rows_noted_elsewhere_are_added_behind_and_memory_is_kept() {
        let mut rows = row(1, Fields::ALL, b"one", b"1");
        let two = {
            let mut two = row(2, Fields::ALL, b"second", b"");
            two.durations_ns.clear();
            two.statuses.clear();
            two.replies.truncate(0);
            two
        };
        rows.append_request(&two);
        rows.push_reply(Fields::ALL, 204, b"22", 6);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows.requests().get(1), rows.replies().get(1)),
            (&b"second"[..], &b"22"[..])
        );
        assert_eq!(rows.requests().offsets(), [0, 3, 9]);
        rows.clear();
        assert!(rows.is_empty() && rows.requests().is_empty() && rows.bytes() == 0);
        assert!(rows.requests.bytes.capacity() >= 9);
    }
}
