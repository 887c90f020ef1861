//! A drain loses nothing: what pipelining clients had sent, what waits in the backlog, what is
//! still worked on, and what comes at the last moment.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use support::{Client, PATIENCE, Service, eventually, get, post, reader, serve};
use tokio::sync::watch;

const LONG: (&str, &str) = ("shutdownTimeout", "20s");

/// Replies with the length of the body, at once.
fn lengths(option: (&str, &str)) -> Service {
    let server = reader("foo").option(option.0, option.1).load().unwrap();
    let lengths = server.map(|request| request.body().len());
    serve(lengths.make_reply().write_stream())
}

/// Begins to stop the service; gives what waits for its end once it drains.
fn stop(service: &Service) -> JoinHandle<snapback::Result<()>> {
    let query = service.query.clone();
    let stopping = thread::spawn(move || query.stop());
    eventually("the drain", || service.status().is_draining.then_some(()));
    // The partition has heard of it once it refuses connections.
    eventually("closed listeners", || {
        std::net::TcpStream::connect(("127.0.0.1", service.port()))
            .is_err()
            .then_some(())
    });
    stopping
}

#[test]
fn all_that_a_pipelining_client_had_sent_is_answered() {
    let service = lengths(LONG);
    let mut client = service.client();
    assert_eq!(client.post("/foo", "a").text(), "1");
    let stopping = stop(&service);
    let bodies = ["b", "cc", "ddd", "eeee"];
    client.send(bodies.map(|body| post("/foo", body)).concat());
    for (index, body) in bodies.iter().enumerate() {
        let answer = client.answer();
        let last = index == bodies.len() - 1;
        assert_eq!(
            (answer.text(), answer.closes()),
            (&*body.len().to_string(), last)
        );
    }
    assert!(client.is_at_end());
    drop(client);
    stopping.join().unwrap().unwrap();
}

#[test]
fn a_request_that_was_half_sent_behind_another_is_answered() {
    let service = lengths(LONG);
    let mut client = service.client();
    assert_eq!(client.post("/foo", "a").text(), "1");
    let stopping = stop(&service);
    let both = [post("/foo", "bb"), post("/foo", "ccc")].concat();
    let (first, rest) = both.split_at(both.len() - 1);
    client.send(first);
    let answer = client.answer();
    assert_eq!((answer.text(), answer.closes()), ("2", false));
    client.send(rest);
    let answer = client.answer();
    assert_eq!((answer.text(), answer.closes()), ("3", true));
    assert!(client.is_at_end());
    drop(client);
    stopping.join().unwrap().unwrap();
}

/// A service whose only partition stands still in a request with a body, until it may go on.
fn standing(option: (&str, &str)) -> (Service, Receiver<()>, Sender<()>) {
    let (entered, enters) = channel();
    let (go_on, may_go_on) = channel();
    let gate = Arc::new(std::sync::Mutex::new((entered, may_go_on)));
    let server = reader("foo").option(option.0, option.1).load().unwrap();
    let lengths = server.map(move |request| {
        let bytes = request.body().len();
        if bytes > 0 {
            let gate = gate.lock().unwrap();
            gate.0.send(()).unwrap();
            gate.1.recv_timeout(PATIENCE).unwrap();
        }
        bytes
    });
    (serve(lengths.make_reply().write_stream()), enters, go_on)
}

#[test]
fn all_that_wait_in_the_backlog_are_served() {
    const CLIENTS: usize = 300;
    let (service, enters, go_on) = standing(LONG);
    let mut first = service.client();
    first.send(post("/foo", "x"));
    enters.recv_timeout(PATIENCE).unwrap();
    let mut waiting: Vec<_> = (0..CLIENTS).map(|_| service.client()).collect();
    for client in &mut waiting {
        client.send(get("/foo"));
    }
    let query = service.query.clone();
    let stopping = thread::spawn(move || query.stop());
    eventually("the drain", || service.status().is_draining.then_some(()));
    go_on.send(()).unwrap();
    for client in &mut waiting {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "0"));
    }
    assert_eq!(first.answer().text(), "1");
    drop((waiting, first));
    stopping.join().unwrap().unwrap();
}

/// The partition stands still over the end of `shutdownTimeout`, and what came meanwhile, on
/// connections that had been silent, is answered before they are closed.
#[test]
fn what_came_before_the_end_is_answered() {
    let (service, enters, go_on) = standing(("shutdownTimeout", "0s"));
    let mut silent: Vec<_> = (0..300).map(|_| service.client()).collect();
    for client in &mut silent {
        assert_eq!(client.get("/foo").text(), "0");
    }
    let mut first = service.client();
    first.send(post("/foo", "x"));
    enters.recv_timeout(PATIENCE).unwrap();
    let query = service.query.clone();
    let stopping = thread::spawn(move || query.stop());
    eventually("the drain", || service.status().is_draining.then_some(()));
    for client in &mut silent {
        client.send([get("/foo"), get("/foo")].concat());
    }
    go_on.send(()).unwrap();
    assert_eq!(first.answer().text(), "1");
    for client in &mut silent {
        assert_eq!(client.answer().text(), "0");
        // It says that it is the last one if the partition has heard of the end by now.
        assert_eq!(client.answer().text(), "0");
        assert!(client.is_at_end());
    }
    stopping.join().unwrap().unwrap();
}

/// A service whose replies come when the gate opens.
fn deferring(option: (&str, &str)) -> (Service, Receiver<()>, watch::Sender<bool>) {
    let (begun, begins) = channel();
    let (gate, opened) = watch::channel(false);
    let server = reader("foo").option(option.0, option.1).load().unwrap();
    let later = server
        .map(|request| request.body().len())
        .map_async(move |bytes| {
            let (begun, mut opened) = (begun.clone(), opened.clone());
            async move {
                let _ = begun.send(());
                let _ = opened.wait_for(|opened| *opened).await;
                bytes
            }
        });
    (serve(later.make_reply().write_stream()), begins, gate)
}

#[test]
fn a_reply_that_was_deferred_before_the_drain_says_that_it_is_the_last() {
    let (service, begins, gate) = deferring(LONG);
    let mut client = service.client();
    client.send([post("/foo", "a"), post("/foo", "bb")].concat());
    for _ in 0..2 {
        begins.recv_timeout(PATIENCE).unwrap();
    }
    let stopping = stop(&service);
    gate.send_replace(true);
    let first = client.answer();
    assert_eq!((first.text(), first.closes()), ("1", false));
    let second = client.answer();
    assert_eq!((second.text(), second.closes()), ("2", true));
    assert!(client.is_at_end());
    // Nobody else is connected, so nothing keeps the query until the time-out.
    drop(client);
    stopping.join().unwrap().unwrap();
}

#[test]
fn what_is_still_worked_on_at_the_end_is_answered_503() {
    let (service, begins, _gate) = deferring(("shutdownTimeout", "1ms"));
    let mut clients: Vec<_> = (0..10).map(|_| service.client()).collect();
    for client in &mut clients {
        client.send(post("/foo", "a"));
        begins.recv_timeout(PATIENCE).unwrap();
    }
    service.stop().unwrap();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert!(
            answer.text().contains("before the server ended"),
            "{answer:?}"
        );
        assert!(client.is_at_end());
    }
}

/// Clients that send all the time, one request after the other, over many drains: none is without
/// its reply, and none is closed without a reply that said so.
#[test]
fn busy_clients_lose_nothing() {
    for _ in 0..10 {
        let service = lengths(LONG);
        let (stopped, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let clients: Vec<_> = (0..4).map(|_| service.client()).collect();
        thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| ask_until_closed(client, &stopped, &answered));
            }
            eventually("some requests", || {
                (answered.load(Ordering::Relaxed) > 100).then_some(())
            });
            stopped.store(true, Ordering::Relaxed);
            service.stop().unwrap();
        });
    }
}

fn ask_until_closed(mut client: Client, stopped: &AtomicBool, answered: &AtomicUsize) {
    loop {
        let answer = client.post("/foo", "abc");
        assert_eq!(answer.text(), "3");
        answered.fetch_add(1, Ordering::Relaxed);
        if answer.closes() {
            assert!(stopped.load(Ordering::Relaxed));
            assert!(client.is_at_end());
            return;
        }
    }
}
