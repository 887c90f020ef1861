//! One side of a hand-off, spoken by hand.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};

use crate::Place;

/// A process that wants to take over, spoken by hand.
pub(crate) struct Stranger(pub(crate) OwnedFd);

impl Stranger {
    pub(crate) fn connect(place: &Place) -> Stranger {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None);
        let socket = socket.unwrap();
        let address = SocketAddrUnix::new(place.path("h")).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Stranger(socket)
    }

    pub(crate) fn send(&self, text: &str) {
        let mut none = rustix::net::SendAncillaryBuffer::default();
        let parts = [IoSlice::new(text.as_bytes())];
        rustix::net::sendmsg(&self.0, &parts, &mut none, SendFlags::empty()).unwrap();
    }

    /// The next message; empty when the other end has closed.
    pub(crate) fn receive(&self) -> String {
        let mut room = vec![0; 64 << 10];
        let mut none = rustix::net::RecvAncillaryBuffer::default();
        let mut parts = [IoSliceMut::new(&mut room)];
        let received = rustix::net::recvmsg(&self.0, &mut parts, &mut none, RecvFlags::empty());
        let bytes = received.unwrap().bytes;
        String::from_utf8(room[..bytes].to_vec()).unwrap()
    }

    pub(crate) fn says_hello(&self, place: &str) {
        self.send(&format!(
            r#"snapback-handoff 1
{{"hello":{{"pid":1,"asked":{{"service":"foo","places":["{place}"],"hasPortPerPartition":false}}}}}}"#
        ));
    }
}
