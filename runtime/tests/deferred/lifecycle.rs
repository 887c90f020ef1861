//! Stopping with requests in flight, and being woken by futures in each poll mode.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::{number, numbered, serve_with};

#[test]
fn a_query_that_stops_answers_what_is_in_flight() {
    let (begun, begins) = channel();
    let (gate, opened) = watch::channel(false);
    let service = serve_with(&[("shutdownTimeout", "20s")], |stream| {
        let later = stream.map(number).map_async(move |n| {
            let (begun, mut opened) = (begun.clone(), opened.clone());
            async move {
                let _ = begun.send(n);
                let _ = opened.wait_for(|opened| *opened).await;
                n
            }
        });
        later.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(0..5));
    for _ in 0..5 {
        begins
            .recv_timeout(Duration::from_secs(20))
            .expect("all begin");
    }
    let query = service.query.clone();
    let stopping = std::thread::spawn(move || query.stop());
    while !service.query.status().is_draining {
        std::thread::yield_now();
    }
    gate.send_replace(true);
    for n in 0..5 {
        client.reply().expect(200, &n.to_string());
    }
    drop(client);
    stopping.join().expect("no panic").expect("an orderly end");
    let last = service.query.last_progress().expect("a last record");
    let part = &last.partitions[0];
    assert_eq!((part.settled, part.next), (5, 5));
}

#[test]
fn a_query_that_stops_gives_up_what_does_not_end() {
    let (dropped, drops) = channel();
    let (begun, begins) = channel();
    struct Guard(std::sync::mpsc::Sender<()>);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let service = serve_with(&[("shutdownTimeout", "50ms")], |stream| {
        let never = stream.map(number).map_async(move |n| {
            let (begun, guard) = (begun.clone(), Guard(dropped.clone()));
            async move {
                let _ = begun.send(());
                let () = std::future::pending().await;
                drop(guard);
                n
            }
        });
        never.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered([1]));
    let patience = Duration::from_secs(20);
    begins.recv_timeout(patience).expect("it begins");
    service.query.stop().expect("an orderly end");
    drops.recv_timeout(patience).expect("it is dropped");
    let reply = client.reply();
    assert_eq!(reply.status, 503, "{reply:?}");
    let last = service.query.last_progress().expect("a last record");
    let part = &last.partitions[0];
    assert_eq!(
        (part.settled, part.next),
        (1, 1),
        "it was answered, by a 503"
    );
}

#[test]
fn a_future_that_ends_wakes_its_partition_in_each_poll_mode() {
    const REQUESTS: u64 = 1000;
    for mode in ["adaptive", "spin", "blocking"] {
        let service = serve_with(&[("pollMode", mode)], |stream| {
            let later = stream.map(number).map_async(|n| async move {
                match n % 4 {
                    0 => {}
                    1 => yield_now().await,
                    _ => sleep(Duration::from_micros(n * 7919 % 200)).await,
                }
                n
            });
            later.make_reply().write_stream()
        });
        let mut client = service.client();
        let begin = Instant::now();
        for n in 0..REQUESTS {
            client.send(&numbered([n]));
            client.reply().expect(200, &n.to_string());
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{mode} is slow");
    }
}
