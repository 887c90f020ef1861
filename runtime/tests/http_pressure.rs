//! Slow clients, large replies and many connections: nobody waits for anybody else.

mod support;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use snapback::prelude::*;
use support::{
    Client, Service, alone, eventually, get, median, post, reader, requests, resident_bytes, serve,
    timed,
};

/// Replies with as many bytes as the query parameter `bytes` says: a pattern whose order shows.
fn filler() -> Service {
    serve(filler_writer())
}

fn filler_writer() -> snapback::StreamWriter {
    requests("api")
        .map(|request| {
            let bytes = request
                .query("bytes")
                .and_then(|bytes| bytes.parse().ok())
                .unwrap_or(1);
            pattern(bytes)
        })
        .make_reply()
        .write_stream()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect()
}

/// The median of so many small requests.
fn small_requests(client: &mut Client, times: usize) -> Duration {
    let one = |_| {
        let (answer, time) = timed(|| client.get("/api"));
        assert_eq!(answer.status, 200);
        time
    };
    median(&(0..times).map(one).collect::<Vec<_>>())
}

#[test]
fn a_large_reply_to_a_slow_reader_slows_nobody() {
    const BYTES: usize = 64 << 20;
    let service = filler();
    let (mut slow, mut other) = (service.client(), service.client());
    let before = small_requests(&mut other, 100);
    slow.send(get(&format!("/api?bytes={BYTES}")));
    // The reply has begun to come, and by far the most of it waits.
    slow.await_first_byte();
    let during = small_requests(&mut other, 100);
    assert!(
        during < Duration::from_millis(50),
        "{during:?}, and {before:?} before"
    );

    let answer = slow.answer();
    assert_eq!(answer.status, 200);
    assert!(
        answer.body == pattern(BYTES),
        "the reply was changed on its way"
    );
    assert_eq!(slow.get("/api").status, 200);
}

#[test]
fn a_client_that_reads_nothing_holds_little_memory() {
    const REPLY_BYTES: usize = 64 << 10;
    const REQUESTS: usize = 4000;
    alone("a_client_that_reads_nothing_holds_little_memory", || {
        let writer = filler_writer().option("maxReplyBufferBytes", "256k");
        let service = serve(writer.trigger(Continuous::millis(20)));
        service.client().get(&format!("/api?bytes={REPLY_BYTES}"));
        let before = resident_bytes();
        // All replies together are 250 MiB.
        let stream = TcpStream::connect(("127.0.0.1", service.port())).unwrap();
        let mut writer = Client::over(stream.try_clone().unwrap());
        let mut greedy = Client::over(stream);
        let requests = get(&format!("/api?bytes={REPLY_BYTES}")).repeat(REQUESTS);
        std::thread::scope(|scope| {
            scope.spawn(move || writer.send(requests));
            eventually("the server stops taking requests on", || {
                is_held_up(&service).then_some(())
            });
            let grown = resident_bytes().saturating_sub(before);
            assert!(
                grown < 4 << 20,
                "{grown} bytes for a client that does not read"
            );
            assert_eq!(service.client().get("/api").status, 200);
            let expected = pattern(REPLY_BYTES);
            for _ in 0..REQUESTS {
                assert!(greedy.answer().body == expected);
            }
        });
    });
}

/// Whether requests wait for their replies to be sent, and none was taken on for five intervals.
fn is_held_up(service: &Service) -> bool {
    let progress = service.recent_progress();
    let Some(newest) = progress.len().checked_sub(5).map(|from| &progress[from..]) else {
        return false;
    };
    let next = newest[0].partitions[0].next;
    newest
        .iter()
        .map(|progress| &progress.partitions[0])
        .all(|partition| partition.next == next && partition.settled < next)
}

/// Whatever the buffers hold, all is answered, in order, also to a client that sends no more.
#[test]
fn pipelines_pass_through_small_buffers() {
    const REQUESTS: usize = 500;
    for (option, value) in [
        ("maxPipelined", "1"),
        ("maxPipelined", "7"),
        ("maxReplyBufferBytes", "1k"),
    ] {
        for half_close in [false, true] {
            let service = serve(filler_writer().option(option, value));
            let mut client = service.client();
            let bytes_of = |index: usize| index * 37 % 20_000;
            let target = |index| get(&format!("/api?bytes={}", bytes_of(index)));
            client.send((0..REQUESTS).flat_map(target).collect::<Vec<_>>());
            if half_close {
                client.finish_sending();
            }
            for index in 0..REQUESTS {
                let answer = client.answer();
                assert!(
                    answer.body == pattern(bytes_of(index)),
                    "{option} {value}: {index}"
                );
            }
            assert_eq!(half_close, !client.has_nothing(), "{option} {value}");
        }
    }
}

#[test]
fn an_upload_byte_by_byte_blocks_nobody() {
    let service = serve(
        requests("api")
            .map(|request| request.body().len())
            .make_reply()
            .write_stream(),
    );
    let (mut slow, mut other) = (service.client(), service.client());
    let upload = post("/api", vec![b'x'; 500]);
    let mut times = Vec::new();
    for byte in &upload {
        slow.send([*byte]);
        let (answer, time) = timed(|| other.post("/api", "abc"));
        assert_eq!(answer.text(), "3");
        times.push(time);
    }
    assert_eq!(slow.answer().text(), "500");
    assert!(
        median(&times) < Duration::from_millis(50),
        "{:?}",
        median(&times)
    );
}

#[test]
fn a_large_upload_in_two_halves_blocks_nobody() {
    const BYTES: usize = 8 << 20;
    let service = serve(
        requests("api")
            .map(|request| request.body().len())
            .make_reply()
            .write_stream(),
    );
    let (mut slow, mut other) = (service.client(), service.client());
    let upload = post("/api", vec![b'x'; BYTES]);
    let (first, second) = upload.split_at(upload.len() / 2);
    slow.send(first);
    assert!(small_posts(&mut other) < Duration::from_millis(50));
    slow.send(second);
    assert_eq!(slow.answer().text(), BYTES.to_string());
}

fn small_posts(client: &mut Client) -> Duration {
    let times: Vec<_> = (0..50)
        .map(|_| timed(|| client.post("/api", "abc")).1)
        .collect();
    median(&times)
}

/// Replies with the partition that took the request.
fn partitions(port_mode: &str, count: usize) -> Service {
    let server = reader("api")
        .option("numPartitions", count)
        .option("portMode", port_mode);
    let pipeline = server
        .load()
        .unwrap()
        .map(|request| request.id().partition())
        .make_reply();
    serve(pipeline.write_stream().trigger(Continuous::millis(20)))
}

#[test]
fn partitions_share_the_connections_of_one_port() {
    let service = partitions("shared", 2);
    assert_eq!(service.service_info().len(), 1);
    let mut clients: Vec<_> = (0..4).map(|_| service.client()).collect();
    let mut connections_of = BTreeMap::<String, usize>::new();
    for client in &mut clients {
        let partition = client.get("/api").text().to_owned();
        // All requests of a connection are taken by one partition.
        assert!((0..10).all(|_| client.get("/api").text() == partition));
        *connections_of.entry(partition).or_default() += 1;
    }
    let expected = [("0".to_owned(), 2), ("1".to_owned(), 2)];
    assert_eq!(connections_of.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn each_partition_may_have_a_port_of_its_own() {
    let service = partitions("perPartition", 3);
    let infos = service.service_info();
    assert_eq!(infos.len(), 3);
    for (index, info) in infos.iter().enumerate() {
        assert_eq!(info.partition, Some(index));
        for _ in 0..2 {
            let mut client = Client::connect(("127.0.0.1", info.port.unwrap()));
            assert_eq!(client.get("/api").text(), index.to_string());
        }
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let service = partitions("shared", 2);
    let open = || {
        let progress = service.last_progress()?;
        Some(
            progress
                .partitions
                .iter()
                .map(|partition| partition.connections)
                .sum::<usize>(),
        )
    };
    for _ in 0..20 {
        let mut clients: Vec<_> = (0..20).map(|_| service.client()).collect();
        for client in &mut clients {
            client.send(get("/api"));
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
        }
    }
    eventually("the end of all connections", || {
        (open() == Some(0)).then_some(())
    });
    let mut kept: Vec<_> = (0..3).map(|_| service.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/api").status, 200);
    }
    eventually("three connections", || (open() == Some(3)).then_some(()));
}
