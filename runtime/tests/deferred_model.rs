//! Deferred operators against a model: whatever is delayed, panics, hangs or is left, every client
//! that stays gets exactly its own answers, in order.
//!
//! A request says in its body what each operator is to do with it, so its answer is known from its
//! content alone: `17 .y.s.` is number 17, which yields in the first future and sleeps in the second.

#[expect(
    dead_code,
    reason = "the other test that has this client uses more of it"
)]
#[path = "deferred/client.rs"]
mod client;

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::time::{ClockId, clock_gettime};
use snapback::Refusal;
use snapback::prelude::*;
use snapback_operators::BatchOptions;
use tokio::task::yield_now;
use tokio::time::sleep;

use client::Client;

/// Far above what a request takes that does not hang, also on a busy machine.
const REQUEST_TIMEOUT: &str = "1500ms";
const SEED: u64 = 0x5eed_5a9b_ac04_0001;

/// What the five operators do with a request: map, future, batch, future, map.
type Steps = [u8; 5];

const PASS: u8 = b'.';
const YIELD: u8 = b'y';
const SLEEP: u8 = b's';
const PANIC: u8 = b'p';
const HANG: u8 = b'h';
const REFUSE: u8 = b'r';

/// How many futures exist.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Live;

impl Live {
    fn new() -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Live
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, Debug)]
struct Work {
    number: u64,
    steps: Steps,
    /// What the operators make of the number, one after the other.
    value: u64,
}

impl Work {
    fn parse(text: &[u8]) -> Option<Work> {
        let (number, steps) = str::from_utf8(text).ok()?.split_once(' ')?;
        let number = number.parse().ok()?;
        Some(Work {
            number,
            steps: steps.as_bytes().try_into().ok()?,
            value: number,
        })
    }

    /// The request, in either framing, with its number also in its head.
    fn request(&self) -> String {
        let steps = str::from_utf8(&self.steps).expect("letters");
        let body = format!("{} {steps}", self.number);
        let framing = if self.number.is_multiple_of(3) {
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            )
        } else {
            format!("Content-Length: {}\r\n\r\n{body}", body.len())
        };
        let number = self.number;
        format!("POST /api?n={number} HTTP/1.1\r\nHost: a\r\nX-Number: {number}\r\n{framing}")
    }

    /// The model: the status of the answer, and the body of a good one.
    fn answer(&self) -> (u16, Option<String>) {
        for step in self.steps {
            match step {
                PANIC => return (500, None),
                HANG => return (504, None),
                REFUSE => return (422, None),
                _ => {}
            }
        }
        let mut value = self.number;
        for operator in 0..5 {
            value = changed(value, operator);
        }
        let number = self.number;
        (200, Some(format!("{number} {number} {number} {value}")))
    }

    fn panic_at(mut self, operator: usize) -> Work {
        assert_ne!(self.steps[operator], PANIC, "expected");
        self.value = changed(self.value, operator);
        self
    }

    async fn run_at(self, operator: usize, live: Live) -> Work {
        match self.steps[operator] {
            YIELD => yield_now().await,
            SLEEP => sleep(Duration::from_micros(self.number * 7919 % 3000)).await,
            HANG => sleep(Duration::from_secs(3600)).await,
            _ => {}
        }
        drop(live);
        self.panic_at(operator)
    }
}

fn changed(value: u64, operator: usize) -> u64 {
    (value ^ operator as u64).wrapping_mul(6_364_136_223_846_793_005)
}

/// Keeps panics that the requests ask for out of the output.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let wanted = info
                .payload_as_str()
                .is_some_and(|why| why.contains("expected"));
            if !wanted {
                hook(info);
            }
        }));
    });
}

fn serve(batch: BatchOptions) -> StreamingQuery {
    silence_panics();
    let requests = Session::new()
        .read_stream()
        .continuous_server()
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, "api")
        .option("numPartitions", 2)
        .load()
        .expect("options");
    let first = requests
        .try_map(|request| {
            let work = Work::parse(request.body());
            let work = work.ok_or_else(|| Refusal::new(400, "not a request of this test"))?;
            match work.steps[0] {
                REFUSE => Err(Refusal::new(422, "refused")),
                _ => Ok(work.panic_at(0)),
            }
        })
        .map_async_bounded(1 << 16, |work| work.run_at(1, Live::new()));
    let second = first.batch(batch, |rows, results| {
        results.extend(rows.iter().map(|work: &Work| work.panic_at(2)));
    });
    let third = second.map_async_bounded(1 << 16, |work| {
        // Half of the panics are the closure's, in the middle of a turn.
        assert!(work.steps[3] != PANIC || work.number % 2 == 0, "expected");
        work.run_at(3, Live::new())
    });
    let replies = third.map_with(|work, request| {
        let work = work.panic_at(4);
        let query = request.query("n");
        let field = request.headers().get_str("x-number");
        format!(
            "{} {} {} {}",
            work.number,
            query.as_deref().unwrap_or("?"),
            field.unwrap_or("?"),
            work.value
        )
    });
    replies
        .make_reply()
        .write_stream()
        .option("requestTimeout", REQUEST_TIMEOUT)
        .option("shutdownTimeout", "50ms")
        .trigger(Continuous::millis(100))
        .start()
        .expect("a query")
}

/// A client that goes away and comes back, and the requests that it still has to see the answers to.
struct Player<'q> {
    query: &'q StreamingQuery,
    client: Client,
    awaited: VecDeque<Work>,
}

impl<'q> Player<'q> {
    fn new(query: &'q StreamingQuery) -> Self {
        Player {
            query,
            client: Client::connect(query),
            awaited: VecDeque::new(),
        }
    }

    /// Sends requests in two writes, parted anywhere.
    fn send(&mut self, works: &[Work], part: usize) {
        let text: String = works.iter().map(Work::request).collect();
        let (first, second) = text.split_at(part % (text.len() + 1));
        self.client.send(first);
        self.client.send(second);
        self.awaited.extend(works);
    }

    fn receive(&mut self, replies: usize) {
        for work in self.awaited.drain(..replies.min(self.awaited.len())) {
            let reply = self.client.reply();
            let (status, body) = work.answer();
            assert_eq!(reply.status, status, "{work:?}: {reply:?}");
            if let Some(body) = body {
                assert_eq!(reply.body, body, "{work:?}");
            } else if status >= 500 {
                assert!(reply.body.contains("request "), "{work:?}: {reply:?}");
            }
        }
    }

    /// Goes away, with or without a reset, perhaps in the middle of a request, and comes back.
    fn leave(&mut self, kind: usize) {
        self.awaited.clear();
        let mut client = std::mem::replace(&mut self.client, Client::connect(self.query));
        if kind & 1 > 0 {
            client.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Le");
        }
        if kind & 2 > 0 {
            client.finish();
        }
        if kind & 4 > 0 {
            client.reset();
        }
    }
}

/// Waits until nothing is left of what the clients asked for.
fn expect_rest(query: &StreamingQuery) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let progress = query.last_progress();
        let at_rest = progress.as_ref().is_some_and(|last| {
            let mut partitions = last.partitions.iter();
            partitions.all(|part| part.connections == 0 && part.settled == part.next)
        });
        let live = LIVE.load(Ordering::SeqCst);
        if at_rest && live == 0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{live} futures live, {progress:?}"
        );
        thread::yield_now();
    }
}

/// The CPU time of the process so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often the partitions' threads fell asleep so far.
fn wake_ups() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("the threads of this process");
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let field = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once('\t')?.1.to_owned())
    };
    statuses
        .filter(|status| {
            let name = field(status, "Name:");
            name.is_some_and(|name| name == "snapback-0" || name == "snapback-1")
        })
        .filter_map(|status| {
            field(&status, "voluntary_ctxt_switches:")?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> usize {
        (self.next() % end) as usize
    }

    fn work(&mut self, number: u64) -> Work {
        let mut steps = [PASS; 5];
        for operator in [1, 3] {
            steps[operator] = match self.below(10) {
                0..2 => SLEEP,
                2..5 => YIELD,
                _ => PASS,
            };
        }
        match self.below(10_000) {
            0..10 => steps[1 + 2 * self.below(2)] = HANG,
            10..200 => steps[self.below(5)] = PANIC,
            200..700 => steps[0] = REFUSE,
            _ => {}
        }
        Work {
            number,
            steps,
            value: number,
        }
    }
}

const CONNECTIONS: u64 = 64;
const REQUESTS: u64 = 100_000;
const PIPELINED: usize = 32;

/// Sends the requests of these numbers in bursts, leaves now and then; gives the number of answers
/// that it saw.
fn soak(query: &StreamingQuery, numbers: Range<u64>) -> u64 {
    let mut random = Random(SEED ^ numbers.start);
    let mut session = Player::new(query);
    let (mut numbers, mut answers) = (numbers.peekable(), 0);
    while numbers.peek().is_some() {
        let room = PIPELINED - session.awaited.len();
        let burst = 1 + random.below(room as u64);
        let works: Vec<_> = numbers
            .by_ref()
            .take(burst)
            .map(|number| random.work(number))
            .collect();
        session.send(&works, random.next() as usize >> 8);
        let awaited = session.awaited.len();
        let replies = 1 + random.below(awaited as u64);
        session.receive(replies);
        answers += replies as u64;
        if random.below(100) == 0 {
            session.leave(random.below(8));
        }
    }
    answers += session.awaited.len() as u64;
    session.receive(usize::MAX);
    answers
}

// One test, since futures and CPU time are counted for the process.
#[test]
fn every_client_that_stays_gets_its_own_answers_in_order() {
    let query = serve(BatchOptions::default().max_batch_size(48));
    let share = REQUESTS.div_ceil(CONNECTIONS);
    let answers = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..CONNECTIONS {
            let (query, answers) = (&query, &answers);
            scope.spawn(move || {
                let seen = soak(query, client * share..(client + 1) * share);
                answers.fetch_add(seen, Ordering::Relaxed);
            });
        }
    });
    let answers = answers.into_inner();
    assert!(answers > REQUESTS * 8 / 10, "{answers} answers were seen");
    expect_rest(&query);
    // What is at rest does not spin, nor wake up for deadlines, whichever clients went away.
    let before = (cpu_time(), wake_ups());
    assert!(before.1 > 0, "the partitions' threads were not found");
    let second = query.await_termination_timeout(Duration::from_secs(1));
    assert!(!second.expect("no error"), "the query ended by itself");
    let (spent, wake_ups) = (cpu_time() - before.0, wake_ups() - before.1);
    assert!(
        spent < Duration::from_millis(100) && wake_ups < 5,
        "{spent:?} of CPU, {wake_ups} wake-ups of partitions in an idle second"
    );
    query.stop().expect("an orderly end");

    let query = serve(BatchOptions::default().max_batch_delay(Duration::from_micros(300)));
    scripts(&query);
    expect_rest(&query);
    query.stop().expect("an orderly end");
}

/// What a client of a script does next.
#[derive(Clone, Debug)]
enum Action {
    Send { works: Vec<Steps>, part: usize },
    Receive { replies: usize },
    Leave { kind: usize },
}

fn steps() -> impl Strategy<Value = Steps> {
    let future = prop_oneof![
        600 => Just(PASS), 200 => Just(YIELD), 150 => Just(SLEEP), 49 => Just(PANIC), 1 => Just(HANG),
    ];
    let first = prop_oneof![10 => Just(PASS), 1 => Just(PANIC), 2 => Just(REFUSE)];
    let other = prop_oneof![10 => Just(PASS), 1 => Just(PANIC)];
    (first, future.clone(), other.clone(), future, other)
        .prop_map(|(first, second, third, fourth, fifth)| [first, second, third, fourth, fifth])
}

fn action() -> impl Strategy<Value = Action> {
    let works = proptest::collection::vec(steps(), 1..12);
    prop_oneof![
        5 => (works, any::<usize>()).prop_map(|(works, part)| Action::Send { works, part }),
        4 => (1_usize..20).prop_map(|replies| Action::Receive { replies }),
        1 => (0_usize..8).prop_map(|kind| Action::Leave { kind }),
    ]
}

/// Plays the script of one client; requests are numbered on in `number`.
fn play(query: &StreamingQuery, number: &AtomicU64, script: Vec<Action>) {
    let mut player = Player::new(query);
    let request = |steps| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        Work {
            number,
            steps,
            value: number,
        }
    };
    for action in script {
        match action {
            Action::Send { works, part } => {
                let works: Vec<_> = works.into_iter().map(request).collect();
                player.send(&works, part);
            }
            Action::Receive { replies } => player.receive(replies),
            Action::Leave { kind } => player.leave(kind),
        }
    }
    player.receive(usize::MAX);
}

/// Few clients side by side, each with a random script, small enough to be understood when shrunk.
fn scripts(query: &StreamingQuery) {
    let script = proptest::collection::vec(action(), 1..12);
    let clients = proptest::collection::vec(script, 1..5);
    let config = Config {
        cases: 64,
        max_shrink_iters: 256,
        failure_persistence: None,
        ..Config::default()
    };
    let number = AtomicU64::new(0);
    let outcome = TestRunner::new(config).run(&clients, |clients| {
        thread::scope(|scope| {
            let players: Vec<_> = clients
                .into_iter()
                .map(|script| scope.spawn(|| play(query, &number, script)))
                .collect();
            let failed = players.into_iter().filter_map(|player| player.join().err());
            prop_assert_eq!(failed.count(), 0, "its message is above");
            Ok(())
        })
    });
    outcome.expect("every client gets its own answers");
}
