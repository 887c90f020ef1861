//! What lies under a connection: its socket, and what stands between the socket and HTTP.
//!
//! Nothing does on a plain connection, which pays one branch for it at a read and one at a write.
//! Otherwise it is a balancer's header that is awaited, or TLS; both work in the partition's turn
//! and in its buffers.

mod preface;
pub(crate) mod proxy_header;
mod scratch;
pub(crate) mod tls;

use std::io;
use std::sync::Arc;

use snapback_operators::Peer;

use crate::inbox::Inbox;
use crate::io::socket::{Read, Socket};
use crate::options::TrustedProxies;
use crate::service_info::Scheme;
use preface::Preface;
pub(crate) use scratch::Scratch;
use tls::{Certificates, TlsError, TlsStream};

/// A connection that was accepted, on its way to its partition.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: Socket,
    pub(crate) peer: Peer,
    /// What its listener speaks.
    pub(crate) scheme: Scheme,
}

/// What the connections of a query meet before HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entrance {
    /// For the listeners that speak TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Who must begin a connection with a PROXY header.
    pub(crate) proxies: Option<Arc<TrustedProxies>>,
}

impl Entrance {
    /// The transport of a new connection.
    pub(crate) fn admit(&self, arrival: Arrival) -> Transport {
        let Arrival {
            socket,
            peer,
            scheme,
        } = arrival;
        let certificates = match scheme {
            Scheme::Http => None,
            Scheme::Https => self.certificates.clone(),
        };
        let is_proxy = |proxies: &Arc<TrustedProxies>| proxies.contains(&peer);
        let layer = match certificates {
            certificates if self.proxies.as_ref().is_some_and(is_proxy) => {
                Some(Layer::Preface(Preface::new(certificates)))
            }
            Some(certificates) => Some(Layer::Tls(TlsStream::new(certificates, Vec::new()))),
            None => None,
        };
        Transport {
            socket,
            peer,
            layer: layer.map(Box::new),
        }
    }
}

/// The lower half of a connection.
pub(crate) struct Transport {
    socket: Socket,
    peer: Peer,
    /// None on a plain connection.
    layer: Option<Box<Layer>>,
}

enum Layer {
    /// A balancer's header is awaited.
    Preface(Preface),
    /// TLS.
    Tls(TlsStream),
}

/// What filling the inbox brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, or none for now.
    Some,
    /// The client will send no more.
    End,
    /// The client speaks plain HTTP where TLS is spoken; the transport is plain from now on, so that
    /// it can be told.
    PlainHttp,
    /// TLS failed. The client was sent an alert, and nothing else can be.
    Failed,
}

impl Transport {
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The client, as far as it is known.
    #[inline]
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether what it does next may be a step of a TLS handshake, which takes a hundred
    /// microseconds and more.
    #[inline]
    pub(crate) fn awaits_handshake(&self) -> bool {
        match &self.layer {
            None => false,
            Some(layer) => matches!(&**layer, Layer::Tls(tls) if tls.is_handshaking()),
        }
    }

    /// Reads once into the inbox, as [`Inbox::fill`] does. Also tells whether the socket was read
    /// empty.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        inbox: &mut Inbox,
        wanted_bytes: usize,
        scratch: &mut Scratch,
    ) -> io::Result<(Received, bool)> {
        if self.layer.is_some() {
            return self.fill_through_layer(inbox, scratch);
        }
        let (read, emptied) = inbox.fill(&self.socket, wanted_bytes)?;
        let received = match read {
            Read::End => Received::End,
            Read::Bytes(_) | Read::Empty => Received::Some,
        };
        Ok((received, emptied))
    }

    #[inline(never)]
    fn fill_through_layer(
        &mut self,
        inbox: &mut Inbox,
        scratch: &mut Scratch,
    ) -> io::Result<(Received, bool)> {
        match self.layer.as_deref_mut() {
            Some(Layer::Preface(_)) => self.fill_preface(inbox, scratch),
            Some(Layer::Tls(tls)) => match tls.fill(&self.socket, inbox, scratch) {
                Ok(filled) => Ok(filled),
                Err(TlsError::Socket(error)) => Err(error),
                Err(TlsError::PlainHttp) => {
                    self.layer = None;
                    Ok((Received::PlainHttp, false))
                }
                Err(error) => {
                    scratch.log_failure("TLS failed", &self.peer, &error);
                    Ok((Received::Failed, false))
                }
            },
            None => Ok((Received::Some, true)),
        }
    }

    /// Reads the balancer's header; once it is whole, the client is known.
    fn fill_preface(
        &mut self,
        inbox: &mut Inbox,
        scratch: &mut Scratch,
    ) -> io::Result<(Received, bool)> {
        let Some(Layer::Preface(preface)) = self.layer.as_deref_mut() else {
            return Ok((Received::Some, true));
        };
        let (read, emptied) = preface.fill(&self.socket, scratch)?;
        if read == Read::End {
            return Ok((Received::End, emptied));
        }
        let (header, rest, certificates) = match preface.take() {
            Ok(Some(parts)) => parts,
            Ok(None) => return Ok((Received::Some, emptied)),
            Err(malformed) => {
                scratch.log_failure(
                    "no PROXY header from a trusted proxy",
                    &self.peer,
                    &malformed,
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, malformed));
            }
        };
        self.peer = header.client.unwrap_or(self.peer);
        match certificates {
            None => {
                inbox.append(&rest);
                self.layer = None;
                Ok((Received::Some, emptied))
            }
            Some(certificates) => {
                // The handshake takes its turn: what came of it is looked at then.
                let tls = TlsStream::new(certificates, rest);
                self.layer = Some(Box::new(Layer::Tls(tls)));
                Ok((Received::Some, false))
            }
        }
    }

    /// Takes bytes of replies. Tells how many of them are with the kernel; the others must be given
    /// again.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<usize> {
        if self.layer.is_some() {
            return self.write_through_layer(bytes, scratch);
        }
        Ok(self.socket.write(bytes)?)
    }

    #[inline(never)]
    fn write_through_layer(&mut self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<usize> {
        match self.layer.as_deref_mut() {
            Some(Layer::Tls(tls)) => tls.write(&self.socket, bytes, scratch),
            // Before its header is read, nothing was asked.
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Whether a part of a header, record or handshake message came whose rest is awaited.
    #[inline]
    pub(crate) fn holds_part(&self) -> bool {
        match self.layer.as_deref() {
            None => false,
            Some(Layer::Preface(preface)) => preface.holds_part(),
            Some(Layer::Tls(tls)) => tls.holds_part(),
        }
    }

    /// How many sealed bytes that had to wait the kernel has taken by now: a client that reads a
    /// large record slowly takes some of them, though no byte of a reply counts as sent.
    pub(crate) fn flushed_bytes(&self) -> u64 {
        match self.layer.as_deref() {
            Some(Layer::Tls(tls)) => tls.flushed_bytes(),
            _ => 0,
        }
    }

    /// Whether bytes wait here for room in the kernel.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        match &self.layer {
            None => false,
            Some(layer) => matches!(&**layer, Layer::Tls(tls) if tls.is_blocked()),
        }
    }

    /// Whether the last write ended with its share of the turn, and not for want of room.
    #[inline]
    pub(crate) fn is_cut_short(&self) -> bool {
        match &self.layer {
            None => false,
            Some(layer) => matches!(&**layer, Layer::Tls(tls) if tls.is_cut_short()),
        }
    }

    /// Tells the client that nothing more will come, in TLS's words as well. Tells whether that is
    /// with the kernel; otherwise it is to be called again when there is room.
    pub(crate) fn finish(&mut self) -> io::Result<bool> {
        if let Some(Layer::Tls(tls)) = self.layer.as_deref_mut()
            && !tls.finish(&self.socket)?
        {
            return Ok(false);
        }
        self.socket.finish();
        Ok(true)
    }

    /// The last word to a client that said its own, if TLS has one.
    #[inline]
    pub(crate) fn say_goodbye(&mut self) {
        if let Some(Layer::Tls(tls)) = self.layer.as_deref_mut() {
            // Who has gone without waiting for it is not missed.
            let _ = tls.finish(&self.socket);
        }
    }
}
