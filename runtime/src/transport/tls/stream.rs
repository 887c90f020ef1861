//! One connection's TLS: records in, plaintext out, and the other way round.
//!
//! rustls keeps no buffers here (its unbuffered interface): records are read into the partition's
//! scratch, opened there, and their plaintext goes to the inbox. Replies are sealed from the outbox,
//! so many bytes at a time, and count as sent once the kernel has the last byte of their records.

use std::io;
use std::mem;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::Certificates;
use crate::inbox::Inbox;
use crate::io::socket::{Read, Socket};
use crate::transport::{Received, Scratch};

/// How much plaintext is sealed before it is given to the kernel: four records.
pub(crate) const SEAL_BYTES: usize = 64 << 10;
/// How much plaintext of one connection is sealed before the others have their turn.
const SEAL_BYTES_PER_WRITE: usize = 4 * SEAL_BYTES;
/// How many received bytes may wait for the rest of their record or handshake message. A record has
/// at most 18 KiB (RFC 5246, section 6.2.3), a chain of client certificates seldom more than 8.
pub(crate) const MAX_REST_BYTES: usize = 32 << 10;

pub(crate) struct TlsStream {
    /// None until the first byte came: who only connects costs little memory.
    session: Option<Box<UnbufferedServerConnection>>,
    certificates: Arc<Certificates>,
    /// Received bytes whose record, or handshake message, is not whole.
    rest: Vec<u8>,
    /// The session has not looked at `rest`.
    rest_is_new: bool,
    /// Sealed bytes that the kernel had no room for.
    pending: Vec<u8>,
    /// How much of the plaintext that `write` is given next lies sealed in `pending`.
    sealed_bytes: usize,
    /// How many pending bytes the kernel has taken by now.
    flushed_bytes: u64,
    /// The last write used up its share of the turn.
    cut_short: bool,
    closing: Closing,
}

/// What was said of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Nothing.
    Open,
    /// The session failed: an alert is all that the client gets.
    Failed,
    /// A close_notify is sent, or pending.
    Notified,
}

/// Why a TLS connection does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error("the client speaks plain HTTP at a port for HTTPS")]
    PlainHttp,
    #[error("{0}")]
    Protocol(#[from] rustls::Error),
    #[error("a handshake message is longer than the {MAX_REST_BYTES} bytes that are read")]
    MessageTooLong,
}

impl TlsStream {
    /// A connection of which `rest` was already read.
    pub(crate) fn new(certificates: Arc<Certificates>, rest: Vec<u8>) -> Self {
        TlsStream {
            session: None,
            certificates,
            rest_is_new: !rest.is_empty(),
            rest,
            pending: Vec::new(),
            sealed_bytes: 0,
            flushed_bytes: 0,
            cut_short: false,
            closing: Closing::Open,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| session.is_handshaking()) && self.closing == Closing::Open
    }

    pub(crate) fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn holds_part(&self) -> bool {
        !self.rest.is_empty()
    }

    pub(crate) fn flushed_bytes(&self) -> u64 {
        self.flushed_bytes
    }

    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Reads once, and opens into the inbox what came. Also tells whether the socket was read
    /// empty.
    pub(crate) fn fill(
        &mut self,
        socket: &Socket,
        inbox: &mut Inbox,
        scratch: &mut Scratch,
    ) -> Result<(Received, bool), TlsError> {
        let incoming = scratch.incoming(&self.rest);
        let room = incoming.capacity() - incoming.len();
        let read = socket.read(incoming).map_err(io::Error::from)?;
        let emptied = read != Read::Bytes(room);
        let mut received = Received::Some;
        if matches!(read, Read::Bytes(_)) || self.rest_is_new {
            received = self.open(incoming, inbox).inspect_err(|_| {
                self.closing = Closing::Failed;
                self.rest = Vec::new();
                // An alert that finds no room is waited for by nobody.
                let _ = self.flush(socket);
            })?;
            self.flush(socket)?;
        }
        if read == Read::End {
            // Without a close_notify before it, this may be an attacker's doing. Nothing is lost by
            // that: a request that was cut off is not whole by its own framing, and never served.
            received = Received::End;
        }
        Ok((received, emptied))
    }

    /// Goes through the records in `incoming`; what is not whole is kept.
    fn open(&mut self, incoming: &mut [u8], inbox: &mut Inbox) -> Result<Received, TlsError> {
        if self.session.is_none() {
            // A record of TLS begins with 20 to 23, a request of HTTP with a letter.
            if incoming.first().is_some_and(u8::is_ascii_alphabetic) {
                return Err(TlsError::PlainHttp);
            }
            self.session = Some(Box::new(self.certificates.session()?));
        }
        let (opened, ended) = self.process(incoming, |plaintext| inbox.append(plaintext))?;
        let rest = &incoming[opened..];
        if ended {
            self.keep(&[]);
            return Ok(Received::End);
        }
        if rest.len() > MAX_REST_BYTES {
            return Err(TlsError::MessageTooLong);
        }
        self.keep(rest);
        Ok(Received::Some)
    }

    /// Keeps what is not whole, in a buffer of its size; an idle connection has none.
    fn keep(&mut self, rest: &[u8]) {
        self.rest_is_new = false;
        if rest.is_empty() {
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(rest);
        }
    }

    /// Lets the session work on received bytes until it wants more. What it has to say in answer is
    /// pending afterwards. Gives how many bytes are done with, and whether the client closed.
    fn process(
        &mut self,
        incoming: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), TlsError> {
        let Some(session) = &mut self.session else {
            return Ok((0, false));
        };
        let (mut at, mut ended) = (0, false);
        loop {
            let UnbufferedStatus { mut discard, state } =
                session.process_tls_records(&mut incoming[at..]);
            let mut wants_more = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        take(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    append(&mut self.pending, |room| message.encode(room));
                }
                Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
                Ok(ConnectionState::PeerClosed) => ended = true,
                Ok(_) => wants_more = true,
                Err(error) => {
                    collect_alert(session, &mut incoming[at + discard..], &mut self.pending);
                    return Err(error.into());
                }
            }
            at += discard;
            if wants_more {
                return Ok((at, ended));
            }
        }
    }

    /// Seals bytes and gives them to the kernel until it takes no more, or the share of the turn is
    /// used up. Gives how many of them are with the kernel.
    pub(crate) fn write(
        &mut self,
        socket: &Socket,
        bytes: &[u8],
        scratch: &mut Scratch,
    ) -> io::Result<usize> {
        self.cut_short = false;
        if self.closing != Closing::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.flush(socket)? {
            return Ok(0);
        }
        let mut sent = mem::take(&mut self.sealed_bytes);
        let share = sent + SEAL_BYTES_PER_WRITE;
        while sent < bytes.len() {
            if sent >= share {
                self.cut_short = true;
                break;
            }
            let part = &bytes[sent..bytes.len().min(sent + SEAL_BYTES)];
            let sealed = scratch.sealed();
            let sealed_bytes = self.seal(part, sealed)?;
            // The session may have had something to say before; that is sent first.
            if !self.flush(socket)? {
                self.pending.extend_from_slice(&sealed[..sealed_bytes]);
                self.sealed_bytes = part.len();
                break;
            }
            let taken = socket.write(&sealed[..sealed_bytes])?;
            if taken < sealed_bytes {
                self.pending.extend_from_slice(&sealed[taken..sealed_bytes]);
                self.sealed_bytes = part.len();
                break;
            }
            sent += part.len();
        }
        debug_assert!(sent + self.sealed_bytes <= bytes.len());
        Ok(sent)
    }

    /// Seals `plaintext` into `sealed`, and gives how long that is.
    fn seal(&mut self, plaintext: &[u8], sealed: &mut [u8]) -> io::Result<usize> {
        self.when_open(|traffic| traffic.encrypt(plaintext, sealed))
    }

    /// Runs `action` on a session whose handshake is over.
    fn when_open(
        &mut self,
        action: impl FnOnce(&mut WriteTraffic<'_>) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let Some(session) = &mut self.session else {
            return Err(closed());
        };
        loop {
            // What it keeps of a message that is not whole refers to the bytes in `rest`.
            let UnbufferedStatus { discard, state } = session.process_tls_records(&mut self.rest);
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let bytes = action(&mut traffic).map_err(io::Error::other)?;
                    self.rest.drain(..discard);
                    return Ok(bytes);
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    append(&mut self.pending, |room| message.encode(room));
                }
                ConnectionState::TransmitTlsData(message) => message.done(),
                ConnectionState::PeerClosed => {}
                _ => return Err(closed()),
            }
            self.rest.drain(..discard);
        }
    }

    /// Gives the kernel what is pending; tells whether it took everything.
    fn flush(&mut self, socket: &Socket) -> io::Result<bool> {
        if self.pending.is_empty() {
            return Ok(true);
        }
        let taken = socket.write(&self.pending)?;
        self.flushed_bytes += taken as u64;
        if taken == self.pending.len() {
            self.pending = Vec::new();
            return Ok(true);
        }
        self.pending.drain(..taken);
        Ok(false)
    }

    /// Says that nothing more will come, and tells whether that is with the kernel.
    pub(crate) fn finish(&mut self, socket: &Socket) -> io::Result<bool> {
        const ALERT_BYTES: usize = 512;
        if self.closing == Closing::Open && !self.is_handshaking() {
            let mut alert = [0; ALERT_BYTES];
            let bytes = self.when_open(|traffic| traffic.queue_close_notify(&mut alert))?;
            self.pending.extend_from_slice(&alert[..bytes]);
            self.closing = Closing::Notified;
        }
        self.flush(socket)
    }
}

type WriteTraffic<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>;

/// Takes what a session that failed still has to say to its client. It must not look at the bytes
/// again that made it fail, so it is not asked for more than it says it has.
fn collect_alert(
    session: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    pending: &mut Vec<u8>,
) {
    while session.wants_write() {
        let UnbufferedStatus { state, .. } = session.process_tls_records(incoming);
        let Ok(ConnectionState::EncodeTlsData(mut message)) = state else {
            return;
        };
        append(pending, |room| message.encode(room));
    }
}

/// Lets `encode` write at the end of `pending`, with as much room as it asks for.
fn append(pending: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = pending.len();
    let needed = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            required_size
        }
        _ => return,
    };
    pending.resize(start + needed, 0);
    let written = encode(&mut pending[start..]).unwrap_or(0);
    pending.truncate(start + written);
}
