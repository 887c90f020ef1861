//! One side of a hand-off, spoken by hand.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType,
};

use crate::Place;

/// The process at the other end, as a test plays it.
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
        self.send_with(text, &[]);
    }

    pub(crate) fn send_with(&self, text: &str, descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        let parts = [IoSlice::new(text.as_bytes())];
        rustix::net::sendmsg(&self.0, &parts, &mut control, SendFlags::empty()).unwrap();
    }

    /// The next message; empty when the other end has closed.
    pub(crate) fn receive(&self) -> String {
        self.receive_with(RecvFlags::empty()).0
    }

    /// Waits for the next message, and leaves it unread.
    pub(crate) fn await_message(&self) {
        self.receive_with(RecvFlags::PEEK);
    }

    pub(crate) fn receive_with(&self, flags: RecvFlags) -> (String, Vec<OwnedFd>) {
        let mut room = vec![0; 64 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut room)];
        let received = rustix::net::recvmsg(&self.0, &mut parts, &mut control, flags);
        let bytes = received.unwrap().bytes;
        let descriptors = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        let text = String::from_utf8(room[..bytes].to_vec()).unwrap();
        (text, descriptors)
    }

    pub(crate) fn says_hello(&self, place: &str) {
        self.send(&format!(
            r#"snapback-handoff 1
{{"hello":{{"pid":1,"asked":{{"service":"foo","places":["{place}"],"hasPortPerPartition":false}}}}}}"#
        ));
    }
}
