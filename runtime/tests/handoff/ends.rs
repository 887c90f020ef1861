//! Whose the listeners and their files are when one of the two processes ends in the middle.

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketType};

use crate::Place;
use crate::stranger::Stranger;
use crate::support::{Client, PATIENCE, eventually};

const READY: &str = "snapback-handoff 1\n\"ready\"";
const YOURS: &str = "snapback-handoff 1\n\"yours\"";
const REFUSED: &str = "snapback-handoff 1\n{\"refused\":{\"reason\":\"it thought better of it\"}}";

/// Takes the listeners of the query at `place`, which was asked for as `asked`.
fn take_listeners(place: &Place, asked: &str) -> (Stranger, OwnedFd) {
    let stranger = Stranger::connect(place);
    stranger.says_hello(asked);
    assert!(stranger.receive().contains("offer"));
    let (listeners, mut descriptors) = stranger.receive_with(RecvFlags::empty());
    assert!(listeners.contains("listeners"), "{listeners}");
    (stranger, descriptors.pop().expect("one listener"))
}

fn is_accepted_at(listener: &OwnedFd) {
    eventually("a connection", || rustix::net::accept(listener).ok());
}

/// The old process may be told to end at any moment after the listeners were sent: before the new one
/// says that it serves, while that is on its way, and after it was read.
#[test]
fn a_query_that_ends_leaves_alone_what_it_has_sent() {
    for is_ready in [false, true] {
        let place = Place::new();
        let socket = place.path("s");
        let host = format!("unix:{}", socket.display());
        let old = place.serve(&[("host", &host)]);
        let (stranger, listener) = take_listeners(&place, &format!("http at {}", socket.display()));
        if is_ready {
            stranger.send(READY);
        }
        old.stop().unwrap();
        drop(old);
        assert_eq!(stranger.receive(), YOURS);
        if !is_ready {
            stranger.send(READY);
        }
        assert_eq!(stranger.receive(), "", "the conversation is over");
        let _client = UnixStream::connect(&socket).expect("the file is the new process's");
        is_accepted_at(&listener);
        assert!(place.path("h").exists());
    }
}

#[test]
fn a_query_that_ends_does_not_shut_a_port_that_it_has_sent() {
    let place = Place::new();
    let old = place.serve(&[]);
    let mut addresses = ("127.0.0.1", old.port()).to_socket_addrs().unwrap();
    let (stranger, listener) = take_listeners(&place, "http at 127.0.0.1, port 0");
    old.stop().unwrap();
    drop(old);
    assert_eq!(stranger.receive(), YOURS);
    let client = TcpStream::connect_timeout(&addresses.next().unwrap(), PATIENCE);
    client.expect("the port is the new process's");
    is_accepted_at(&listener);
}

#[test]
fn what_was_not_taken_is_taken_back() {
    let place = Place::new();
    let socket = place.path("s");
    let host = format!("unix:{}", socket.display());
    let asked = format!("http at {}", socket.display());
    let old = place.serve(&[("host", &host)]);
    let (hangs_up, _) = take_listeners(&place, &asked);
    drop(hangs_up);
    let (confused, _) = take_listeners(&place, &asked);
    confused.says_hello(&asked);
    assert!(confused.receive().contains("out of turn"));
    // One conversation at a time: who is answered knows that the last one is over.
    let other = Stranger::connect(&place);
    other.says_hello("http at /elsewhere");
    assert!(other.receive().contains("refused"));

    assert_eq!(Client::connect_unix(&socket).get("/foo").status, 200);
    old.stop().unwrap();
    assert!(!socket.exists(), "it is the old one's again");
    eventually("no socket", || (!place.path("h").exists()).then_some(()));
}

/// A process that hands `listener` over as far as `Ready`, and then does `next`. Gives the listener.
fn hand_over_until<L: AsFd + Send + 'static>(
    place: &Place,
    listener: L,
    described: &str,
    next: impl FnOnce(Stranger) + Send + 'static,
) -> JoinHandle<L> {
    let rendezvous = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    let address = SocketAddrUnix::new(place.path("h")).unwrap();
    rustix::net::bind(&rendezvous, &address).unwrap();
    rustix::net::listen(&rendezvous, 1).unwrap();
    let offer = r#"{"offer":{"pid":1,"listeners":1,"partitions":1}}"#;
    let listeners = format!(r#"{{"listeners":[{{"partition":0,"scheme":"http",{described}}}]}}"#);
    thread::spawn(move || {
        let stranger = Stranger(rustix::net::accept(&rendezvous).unwrap());
        assert!(stranger.receive().contains("hello"));
        let say = |what: &str, carried| {
            stranger.send_with(&format!("snapback-handoff 1\n{what}"), &[carried]);
        };
        say(offer, rendezvous.as_fd());
        say(&listeners, listener.as_fd());
        next(stranger);
        listener
    })
}

/// The same with a Unix domain socket.
fn hand_unix_over_until(
    place: &Place,
    next: impl FnOnce(Stranger) + Send + 'static,
) -> JoinHandle<UnixListener> {
    let listener = UnixListener::bind(place.path("s")).unwrap();
    hand_over_until(place, listener, r#""hasFile":true"#, next)
}

fn unix_host(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

#[test]
fn a_new_query_that_is_refused_in_the_end_leaves_all_to_the_old_one() {
    for is_read in [true, false] {
        let place = Place::new();
        let old = hand_unix_over_until(&place, move |stranger| {
            stranger.await_message();
            if is_read {
                assert_eq!(stranger.receive(), READY);
            }
            stranger.send(REFUSED);
        });
        let error = place.refused(&[("host", &unix_host(&place.path("s")))]);
        let error = error.to_string();
        assert!(
            error.ends_with("hands nothing over: it thought better of it"),
            "{error}"
        );
        let listener = old.join().unwrap();
        assert!(place.path("h").exists());
        eventually("a connection", || {
            // The partition of the new query may still be about to end.
            let _client = UnixStream::connect(place.path("s")).expect("the old one serves on");
            listener.accept().ok()
        });
    }
}

#[test]
fn a_new_query_takes_all_from_one_that_leaves_or_dies() {
    let dies = |stranger: Stranger| assert_eq!(stranger.receive(), READY);
    let leaves = |stranger: Stranger| stranger.send(YOURS);
    let leaves_and_dies = |stranger: Stranger| {
        stranger.send(YOURS);
        stranger.await_message();
    };
    let ends: [fn(Stranger); 3] = [dies, leaves, leaves_and_dies];
    for end in ends {
        let place = Place::new();
        let socket = place.path("s");
        let old = hand_unix_over_until(&place, end);
        let new = place.serve(&[("host", &unix_host(&socket))]);
        drop(old.join().unwrap());
        assert_eq!(Client::connect_unix(&socket).get("/foo").status, 200);
        new.stop().unwrap();
        drop(new);
        assert!(!socket.exists());
        eventually("no socket", || (!place.path("h").exists()).then_some(()));
    }
}

/// Shut is a port at which nobody gets in any more, though a process still has its listener. An older
/// process does not say whether a service manager keeps it.
#[test]
fn a_new_query_shuts_a_port_in_the_end_unless_a_service_manager_keeps_it() {
    for (described, is_shut) in [
        (r#""hasFile":false,"isKept":false"#, true),
        (r#""hasFile":false,"isKept":true"#, false),
        (r#""hasFile":false"#, false),
    ] {
        let place = Place::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let old = hand_over_until(&place, listener, described, |stranger| stranger.send(YOURS));
        let new = place.serve(&[]);
        let _listener = old.join().unwrap();
        assert_eq!(new.client().get("/foo").status, 200);
        new.stop().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.is_err(), is_shut, "{described}");
    }
}
