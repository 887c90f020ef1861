//! The hostile clients together: one thread that keeps thousands of connections in bad shape, at a
//! bounded share of its core.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::ammunition::Ammunition;
use super::client::{Arms, Client, Tally};
use super::hostility::{AttackOptions, Crowd, Hostility};
use super::source::Source;
use crate::address::Target;
use crate::random::SplitMix;

/// What an attack was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// How long it took.
    pub seconds: f64,
    /// The part of a core, from 0 to 1, that it used.
    pub busy: f64,
    /// How long after its time a client came to act, for 99 of 100 times.
    pub late_p99_us: f64,
    /// What each kind of clients did.
    pub kinds: Vec<KindReport>,
}

/// What the clients of one kind did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindReport {
    /// Which kind.
    pub kind: Hostility,
    /// How many clients there were.
    pub clients: usize,
    /// What they did and saw.
    pub tally: Tally,
}

/// The clients, and when each acts next.
pub(super) struct Swarm {
    arms: Arms,
    squads: Vec<Squad>,
    clients: Vec<(usize, Client)>,
    /// When (ns since the start) which client is to act.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    share: f64,
    ready_ns: u64,
    late_ns: Histogram<u64>,
}

struct Squad {
    hostility: Hostility,
    crowd: Crowd,
    tally: Tally,
}

/// What a swarm tells while it acts.
pub(super) trait Watcher {
    /// Every client has begun; so many connections are open.
    fn ready(&mut self, open: usize) -> io::Result<()>;

    /// Waits so long; gives whether the swarm is to go on.
    fn pause(&mut self, time: Duration) -> io::Result<bool>;
}

/// Room for what one read takes.
const READ_BYTES: usize = 64 << 10;

/// How many clients act between two pauses.
const STEPS_PER_SLICE: usize = 16;

/// Shorter pauses would be spent on falling asleep.
const SHORTEST_PAUSE: Duration = Duration::from_micros(500);

/// Longer ones would see the end too late.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl Swarm {
    /// Clients of these kinds against the service at `target`, which listens at `server`.
    pub(super) fn new(
        target: &Target,
        server: SocketAddr,
        kinds: &[Hostility],
        options: &AttackOptions,
    ) -> io::Result<Swarm> {
        let ramp_ns = options.ramp.as_nanos() as u64;
        let (mut squads, mut clients, mut due) = (Vec::new(), Vec::new(), BinaryHeap::new());
        for &hostility in kinds {
            let crowd = hostility.crowd(options);
            for index in 0..crowd.clients {
                let begin_ns = ramp_ns * index as u64 / crowd.clients as u64;
                due.push(Reverse((begin_ns, clients.len())));
                clients.push((squads.len(), Client::new(hostility)));
            }
            squads.push(Squad {
                hostility,
                crowd,
                tally: Tally::default(),
            });
        }
        Ok(Swarm {
            arms: Arms {
                ammunition: Ammunition::new(target)?,
                source: Source::new(server),
                random: SplitMix::new(options.seed),
                buffer: vec![0; READ_BYTES],
            },
            squads,
            clients,
            due,
            share: options.share,
            ready_ns: ramp_ns,
            late_ns: Histogram::new_with_bounds(1, 100_000_000_000, 2)
                .expect("the bounds are constants, and valid"),
        })
    }

    /// Acts for `longest` at most, or until the watcher says that it is enough.
    pub(super) fn run(
        mut self,
        longest: Duration,
        watcher: &mut impl Watcher,
    ) -> io::Result<AttackReport> {
        let (start, cpu) = (Instant::now(), thread_cpu());
        let mut is_ready = false;
        while start.elapsed() < longest {
            let begin = Instant::now();
            let next_ns = self.slice(start);
            let spent = begin.elapsed();
            let now_ns = start.elapsed().as_nanos() as u64;
            if !is_ready && now_ns >= self.ready_ns && next_ns > self.ready_ns {
                is_ready = true;
                watcher.ready(self.open())?;
            }
            let rest = spent.mul_f64(1.0 / self.share - 1.0);
            let until_next = Duration::from_nanos(next_ns.saturating_sub(now_ns));
            let pause = rest.max(until_next);
            // A long rest is the price of a long slice, and is not shortened.
            let pause = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE.max(rest));
            if !watcher.pause(pause)? {
                break;
            }
        }
        let elapsed = start.elapsed();
        Ok(self.report(elapsed, thread_cpu().saturating_sub(cpu)))
    }

    /// Lets some of those act whose time has come; gives when the next one is due.
    fn slice(&mut self, start: Instant) -> u64 {
        for _ in 0..STEPS_PER_SLICE {
            let Some(&Reverse((due_ns, index))) = self.due.peek() else {
                return u64::MAX;
            };
            let now_ns = start.elapsed().as_nanos() as u64;
            if due_ns > now_ns {
                break;
            }
            self.due.pop();
            let (squad, client) = &mut self.clients[index];
            let squad = &mut self.squads[*squad];
            client.step(&mut self.arms, &mut squad.tally);
            self.late_ns.saturating_record(now_ns - due_ns);
            // Who is late by more than an interval does not make up for it.
            let every_ns = squad.crowd.every.as_nanos() as u64;
            self.due
                .push(Reverse(((due_ns + every_ns).max(now_ns), index)));
        }
        self.due.peek().map_or(u64::MAX, |next| next.0.0)
    }

    fn open(&self) -> usize {
        self.clients.iter().filter(|(_, c)| c.is_open()).count()
    }

    fn report(mut self, elapsed: Duration, cpu: Duration) -> AttackReport {
        for (squad, client) in &self.clients {
            self.squads[*squad].tally.open_at_end += u64::from(client.is_open());
        }
        let kinds = self.squads.into_iter().map(|squad| KindReport {
            kind: squad.hostility,
            clients: squad.crowd.clients,
            tally: squad.tally,
        });
        AttackReport {
            seconds: elapsed.as_secs_f64(),
            busy: cpu.as_secs_f64() / elapsed.as_secs_f64(),
            late_p99_us: self.late_ns.value_at_quantile(0.99) as f64 / 1e3,
            kinds: kinds.collect(),
        }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
