//! A connection whose first bytes are to be a balancer's header.

use std::io;
use std::mem;
use std::sync::Arc;

use super::Scratch;
use super::proxy_header::{self, Malformed, ProxyHeader};
use super::tls::Certificates;
use crate::io::socket::{Read, Socket};

/// What was read of a header that is not whole: less than the longest one.
pub(super) struct Preface {
    bytes: Vec<u8>,
    /// For TLS, if that is spoken behind the header.
    certificates: Option<Arc<Certificates>>,
}

/// A header, what came behind it, and what TLS needs.
type Parts = (ProxyHeader, Vec<u8>, Option<Arc<Certificates>>);

impl Preface {
    pub(super) fn new(certificates: Option<Arc<Certificates>>) -> Self {
        Preface {
            bytes: Vec::new(),
            certificates,
        }
    }

    pub(super) fn holds_part(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads once. Also tells whether the socket was read empty.
    pub(super) fn fill(
        &mut self,
        socket: &Socket,
        scratch: &mut Scratch,
    ) -> io::Result<(Read, bool)> {
        let incoming = scratch.incoming(&[]);
        let room = incoming.capacity();
        let read = socket.read(incoming)?;
        self.bytes.extend_from_slice(incoming);
        Ok((read, read != Read::Bytes(room)))
    }

    /// The header and the rest, once the header is whole.
    pub(super) fn take(&mut self) -> Result<Option<Parts>, Malformed> {
        let header = proxy_header::parse(&self.bytes)?;
        Ok(header.map(|header| {
            let rest = self.bytes.split_off(header.bytes);
            (header, rest, mem::take(&mut self.certificates))
        }))
    }
}
