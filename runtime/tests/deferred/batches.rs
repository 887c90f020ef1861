//! What a batch sees, and what becomes of its rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snapback_operators::BatchOptions;

use crate::{Service, number, numbered, serve, serve_with};

/// The lengths of the batches that a closure saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<usize>>>);

impl Seen {
    fn note(&self, rows: &[u64]) {
        self.0.lock().expect("no panic under it").push(rows.len());
    }

    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().expect("no panic under it"))
    }
}

/// A service that doubles numbers in batches.
fn doubling(options: BatchOptions) -> (Service, Seen) {
    let seen = Seen::default();
    let own = seen.clone();
    let service = serve(|stream| {
        let doubled = stream.map(number).batch(options, move |rows, results| {
            own.note(rows);
            results.extend(rows.iter().map(|n| n * 2));
        });
        doubled.make_reply().write_stream()
    });
    (service, seen)
}

fn expect_doubled(client: &mut crate::client::Client, numbers: std::ops::Range<u64>) {
    for n in numbers {
        client.reply().expect(200, &(n * 2).to_string());
    }
}

#[test]
fn the_rows_of_a_turn_are_seen_together() {
    let (service, seen) = doubling(BatchOptions::default());
    let mut client = service.client();
    client.send(&numbered(0..16));
    expect_doubled(&mut client, 0..16);
    assert_eq!(seen.take(), [16]);
}

#[test]
fn a_batch_is_split_at_its_greatest_size() {
    let (service, seen) = doubling(BatchOptions::default().max_batch_size(5));
    let mut client = service.client();
    client.send(&numbered(0..16));
    expect_doubled(&mut client, 0..16);
    assert_eq!(seen.take(), [5, 5, 5, 1]);
}

#[test]
fn by_default_a_batch_waits_for_nobody() {
    let (service, seen) = doubling(BatchOptions::default());
    let mut client = service.client();
    for n in 0..50 {
        client.send(&numbered([n]));
        expect_doubled(&mut client, n..n + 1);
    }
    assert_eq!(seen.take(), [1; 50]);
}

#[test]
fn a_batch_with_a_delay_gathers_the_rows_of_several_connections() {
    // For ever, so that only the size decides.
    let options = BatchOptions::default()
        .max_batch_size(2)
        .max_batch_delay(Duration::MAX);
    let (service, seen) = doubling(options);
    let (mut first, mut second) = (service.client(), service.client());
    for n in 0..20 {
        first.send(&numbered([n]));
        second.send(&numbered([n + 100]));
        expect_doubled(&mut first, n..n + 1);
        expect_doubled(&mut second, n + 100..n + 101);
    }
    assert_eq!(seen.take(), [2; 20]);
}

#[test]
fn a_batch_that_does_not_fill_runs_when_its_delay_is_over() {
    for mode in ["adaptive", "spin", "blocking"] {
        let service = serve_with(&[("pollMode", mode)], |stream| {
            let options = BatchOptions::default().max_batch_delay(Duration::from_millis(5));
            let rows = stream.map(number).batch(options, |rows, results| {
                results.extend_from_slice(rows);
            });
            rows.make_reply().write_stream()
        });
        let mut client = service.client();
        for n in 0..10 {
            client.send(&numbered([n]));
            client.reply().expect(200, &n.to_string());
        }
    }
}

#[test]
fn a_panic_in_a_batch_is_only_the_500_of_the_guilty_row() {
    crate::failures::silence_panics();
    let service = serve(|stream| {
        let checked = stream
            .map(number)
            .batch(BatchOptions::default(), |rows, results| {
                for n in rows {
                    assert_ne!(n % 10, 3, "expected");
                    results.push(n * 2);
                }
            });
        checked.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(0..40));
    for n in 0..40 {
        let reply = client.reply();
        if n % 10 == 3 {
            assert_eq!(reply.status, 500, "request {n}");
            let offset_of_id = format!("-0-{n}");
            assert!(reply.body.contains(&offset_of_id), "{}", reply.body);
        } else {
            reply.expect(200, &(n * 2).to_string());
        }
    }
    service.wait_for("settled mark", |part| part.settled == 40);
}

#[test]
fn a_wrong_number_of_results_runs_the_rows_one_by_one() {
    let service = serve(|stream| {
        let rows = stream
            .map(number)
            .batch(BatchOptions::default(), |rows, results| match rows {
                // Alone it fails as well.
                [5] => {}
                [n] => results.push(n + 1),
                // Too few, then too many: nobody gets his neighbour's.
                _ if rows.len() % 2 == 0 => results.extend([0, 0]),
                _ => results.extend(rows.iter().chain(rows)),
            });
        rows.make_reply().write_stream()
    });
    for depth in [16, 17] {
        let mut client = service.client();
        client.send(&numbered(0..depth));
        for n in 0..depth {
            let reply = client.reply();
            if n == 5 {
                assert_eq!(reply.status, 500);
            } else {
                reply.expect(200, &(n + 1).to_string());
            }
        }
    }
}

/// A closure's state whose clone panics once.
struct BadClone(Arc<AtomicBool>);

impl Clone for BadClone {
    fn clone(&self) -> Self {
        assert!(!self.0.swap(false, Ordering::SeqCst), "expected");
        BadClone(Arc::clone(&self.0))
    }
}

/// The panic passes through the batch itself: its rows are lost to their deadline, but no later
/// request gets the answer to one of them.
#[test]
fn rows_that_are_lost_answer_nobody_else() {
    crate::failures::silence_panics();
    let armed = Arc::new(AtomicBool::new(false));
    let state = BadClone(Arc::clone(&armed));
    let service = serve_with(&[("requestTimeout", "200ms")], |stream| {
        let rows = stream
            .map(number)
            .batch(BatchOptions::default(), move |rows, results| {
                // The whole state is captured, so that its own `Clone` runs.
                let state = &state;
                if rows.contains(&13) {
                    state.0.store(true, Ordering::SeqCst);
                    panic!("expected");
                }
                results.extend_from_slice(rows);
            });
        rows.make_reply().write_stream()
    });
    let mut client = service.client();
    client.send(&numbered(10..16));
    for _ in 10..16 {
        assert_eq!(client.reply().status, 504);
    }
    for n in 20..30 {
        client.send(&numbered([n]));
        client.reply().expect(200, &n.to_string());
    }
    assert!(!armed.load(Ordering::SeqCst), "the clone panicked");
}
