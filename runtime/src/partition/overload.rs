//! When requests wait too long for their turn, and which of them are then turned away.

/// Requests must wait too long in every turn for so long before any is turned away, and so long
/// after the last one that was, all are taken on again. A burst is no overload.
const INTERVAL_NS: u64 = 100_000_000;
/// How long a connection may answer requests before the others have their share of the turn.
const SHARE_NS: u64 = 1_000_000;

/// Keeps the time that requests wait below `maxQueueDelay`.
///
/// The queue of a partition is in the kernel's socket buffers, where nobody can count it. But how long
/// a turn takes until its last request begins is how long that request has waited at least; and a
/// connection that never gets through what it was sent has waited since it fell behind. When that
/// has been too long for an interval (as in CoDel, Nichols and Jacobson, 2012), a turn calls the
/// chain for as long as `maxQueueDelay`, divided evenly among the connections that have waited
/// longest; the requests beyond that are answered 503, at a hundredth of the cost. From how many
/// the last turn could take on it is known how many this one can, so those that will be turned away
/// are so before the chain is called at all, and wait for no other's work. So at three times the
/// capacity the chain is busy nearly all the time, nobody waits for more than two such turns, who is
/// turned away hardly for more than one, and the turns are short again as soon as less comes in.
///
/// As long as nothing is turned away this costs two comparisons a turn, and nothing a request.
pub(crate) struct QueueDelay {
    /// `maxQueueDelay`; [`u64::MAX`] when there is none.
    target_ns: u64,
    sheds: bool,
    /// Since when requests have waited too long in every turn; [`u64::MAX`] when not in the last.
    long_since_ns: u64,
    last_shed_ns: u64,
    /// When the present turn began, and until when it calls the chain.
    turn_ns: u64,
    turn_until_ns: u64,
    /// When the first connection that has a share of it began that.
    shares_ns: u64,
    /// When the connection that is served began its share, and until when it has it.
    share_ns: u64,
    share_until_ns: u64,
    /// Nothing was taken on in this turn so far, or in this share.
    turn_is_fresh: bool,
    share_is_fresh: bool,
    /// How many requests were taken on in this turn while others were turned away.
    taken_on: u64,
    /// How long the chain is called for one of them, as of the last such turn; 0 when none was yet.
    each_ns: u64,
    /// Since when a connection of this turn has been behind; [`u64::MAX`] when none is.
    behind_since_ns: u64,
}

impl QueueDelay {
    /// `target_ns` 0 is no limit.
    pub(crate) fn new(target_ns: u64) -> Self {
        QueueDelay {
            target_ns: if target_ns == 0 { u64::MAX } else { target_ns },
            sheds: false,
            long_since_ns: u64::MAX,
            last_shed_ns: 0,
            turn_ns: 0,
            turn_until_ns: 0,
            shares_ns: 0,
            share_ns: 0,
            share_until_ns: 0,
            turn_is_fresh: true,
            share_is_fresh: true,
            taken_on: 0,
            each_ns: 0,
            behind_since_ns: u64::MAX,
        }
    }

    #[inline]
    pub(crate) fn begin_turn(&mut self, now_ns: u64) {
        self.turn_ns = now_ns;
        self.share_ns = now_ns;
        self.behind_since_ns = u64::MAX;
        if self.sheds {
            self.begin_shares(now_ns);
            self.turn_is_fresh = true;
            self.taken_on = 0;
        }
    }

    /// How many of the connections that are ready have a share of this turn: those that have waited
    /// longest. The others come first, and are [turned away](Self::begin_no_share).
    #[inline]
    pub(crate) fn shares(&self, ready: usize) -> usize {
        if !self.sheds || self.each_ns == 0 {
            return ready;
        }
        let fitting = (self.target_ns / self.each_ns).max(1);
        ready.min(usize::try_from(fitting).unwrap_or(ready))
    }

    /// The next connection has no share of this turn.
    pub(crate) fn begin_no_share(&mut self) {
        self.share_until_ns = 0;
        self.last_shed_ns = self.turn_ns;
    }

    /// Those that have a share come now.
    pub(crate) fn begin_shares(&mut self, now_ns: u64) {
        self.shares_ns = now_ns;
        self.turn_until_ns = now_ns.saturating_add(self.target_ns);
    }

    /// The next connection is served; `left` are to be served in this turn, with it.
    #[inline]
    pub(crate) fn begin_share(&mut self, now_ns: u64, left: usize) {
        self.share_ns = now_ns;
        if self.sheds {
            let rest_ns = self.turn_until_ns.saturating_sub(now_ns);
            self.share_until_ns = now_ns + rest_ns / left.max(1) as u64;
            self.share_is_fresh = true;
        }
    }

    /// Whether a connection has had its share of a turn. While requests are turned away its share is
    /// to be gone through to the end, at whatever cost for each.
    pub(crate) fn share_is_over(&self, clock: impl FnOnce() -> u64) -> bool {
        !self.sheds && clock().saturating_sub(self.share_ns) >= SHARE_NS
    }

    /// What an answer costs of a connection's share.
    #[inline]
    pub(crate) fn cost_of_answer(&self, usual: u32) -> u32 {
        if self.sheds { 1 } else { usual }
    }

    /// A connection could not answer all that it was sent, since this time.
    pub(crate) fn note_behind(&mut self, since_ns: u64) {
        self.behind_since_ns = self.behind_since_ns.min(since_ns);
    }

    /// Whether requests are turned away at all.
    #[inline]
    pub(crate) fn sheds(&self) -> bool {
        self.sheds
    }

    /// Whether the next request is taken on, while some are turned away. A turn takes on one at
    /// least, and each connection one, as long as there is time.
    pub(crate) fn takes_on(&mut self, clock: impl FnOnce() -> u64) -> bool {
        if self.share_until_ns == 0 {
            return false;
        }
        let now_ns = clock();
        let in_share = now_ns < self.share_until_ns;
        let in_turn = self.share_is_fresh && now_ns < self.turn_until_ns;
        if in_share || in_turn || self.turn_is_fresh {
            (self.turn_is_fresh, self.share_is_fresh) = (false, false);
            self.taken_on += 1;
            return true;
        }
        self.last_shed_ns = now_ns;
        // The clock is not read for those that follow.
        self.share_until_ns = 0;
        false
    }

    /// The turn ends. The last connection that had requests began its share at `begun_ns`.
    #[inline]
    pub(crate) fn end_turn(&mut self, begun_ns: u64, now_ns: u64) {
        let behind_ns = now_ns.saturating_sub(self.behind_since_ns);
        let waited_ns = (begun_ns - self.turn_ns).max(behind_ns);
        if self.sheds | (waited_ns >= self.target_ns) {
            self.judge(waited_ns, now_ns);
        } else {
            self.long_since_ns = u64::MAX;
        }
    }

    #[cold]
    fn judge(&mut self, waited_ns: u64, now_ns: u64) {
        if waited_ns < self.target_ns {
            self.long_since_ns = u64::MAX;
        } else if self.long_since_ns == u64::MAX {
            self.long_since_ns = now_ns;
        }
        if self.sheds {
            self.note_cost(now_ns);
            self.sheds = now_ns.saturating_sub(self.last_shed_ns) < INTERVAL_NS;
            self.long_since_ns = u64::MAX;
        } else if now_ns.saturating_sub(self.long_since_ns) >= INTERVAL_NS {
            self.sheds = true;
            self.last_shed_ns = now_ns;
            self.each_ns = 0;
        }
    }

    /// What a request cost that was taken on, with what stood around it in the turn. It is never
    /// less than the chain alone, so that a turn is rather too short than too long.
    fn note_cost(&mut self, now_ns: u64) {
        let shares_ns = now_ns.saturating_sub(self.shares_ns);
        if let Some(each_ns) = shares_ns.checked_div(self.taken_on) {
            self.each_ns = each_ns.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MS: u64 = 1_000_000;
    const TARGET_NS: u64 = 5 * MS;
    const WORK_NS: u64 = 100_000;
    const SHED_NS: u64 = 500;
    /// What a connection costs in each turn: a read and a write.
    const SERVE_NS: u64 = 10_000;
    const CONNECTIONS: usize = 32;

    /// A partition whose requests cost 100 µs each, and clients that send at a rate whatever comes
    /// back.
    struct Simulation {
        queue_delay: QueueDelay,
        now_ns: u64,
        next_arrival_ns: u64,
        queues: Vec<VecDeque<u64>>,
        next_queue: usize,
        behind_since_ns: Vec<u64>,
        served: u64,
        served_waits_ns: Vec<u64>,
        shed_waits_ns: Vec<u64>,
    }

    impl Simulation {
        fn new(target_ns: u64, connections: usize) -> Self {
            Simulation {
                queue_delay: QueueDelay::new(target_ns),
                now_ns: 1,
                next_arrival_ns: 1,
                queues: vec![VecDeque::new(); connections],
                next_queue: 0,
                behind_since_ns: vec![u64::MAX; connections],
                served: 0,
                served_waits_ns: Vec::new(),
                shed_waits_ns: Vec::new(),
            }
        }

        fn run(&mut self, duration_ns: u64, interval_ns: u64) {
            self.served = 0;
            self.served_waits_ns.clear();
            self.shed_waits_ns.clear();
            let end_ns = self.now_ns + duration_ns;
            self.next_arrival_ns = self.next_arrival_ns.max(self.now_ns);
            while self.now_ns < end_ns {
                self.arrive(interval_ns);
                self.turn();
            }
        }

        fn arrive(&mut self, interval_ns: u64) {
            while self.next_arrival_ns <= self.now_ns {
                let queues = self.queues.len();
                self.queues[self.next_queue % queues].push_back(self.next_arrival_ns);
                self.next_queue += 1;
                self.next_arrival_ns += interval_ns;
            }
        }

        fn turn(&mut self) {
            let start_ns = self.now_ns;
            self.queue_delay.begin_turn(start_ns);
            let mut ready: Vec<_> = (0..self.queues.len())
                .filter(|queue| !self.queues[*queue].is_empty())
                .collect();
            // The poller tells of those first that have waited longest.
            ready.sort_by_key(|queue| self.queues[*queue].front().copied());
            let mut begun_ns = start_ns;
            let shares = self.queue_delay.shares(ready.len());
            for queue in ready.drain(shares..) {
                self.queue_delay.begin_no_share();
                self.now_ns += SERVE_NS;
                self.serve(queue);
            }
            self.queue_delay.begin_shares(self.now_ns);
            for (index, queue) in ready.iter().enumerate() {
                let left = ready.len() - index;
                self.queue_delay.begin_share(self.now_ns, left);
                let before = (self.now_ns, self.served);
                self.now_ns += SERVE_NS;
                self.serve(*queue);
                if self.served > before.1 {
                    begun_ns = before.0;
                }
            }
            self.queue_delay.end_turn(begun_ns, self.now_ns);
            self.now_ns += 1000;
        }

        fn serve(&mut self, queue: usize) {
            let turn_ns = self.queue_delay.turn_ns;
            let mut share: u32 = 1024;
            while share > 0 {
                let Some(arrived_ns) = self.queues[queue].pop_front() else {
                    self.behind_since_ns[queue] = u64::MAX;
                    return;
                };
                let now_ns = self.now_ns;
                if !self.queue_delay.sheds() || self.queue_delay.takes_on(|| now_ns) {
                    self.served_waits_ns.push(now_ns - arrived_ns);
                    self.now_ns += WORK_NS;
                    self.served += 1;
                    share = share.saturating_sub(self.queue_delay.cost_of_answer(8));
                    let now_ns = self.now_ns;
                    if share.is_multiple_of(256) && self.queue_delay.share_is_over(|| now_ns) {
                        break;
                    }
                } else {
                    self.now_ns += SHED_NS;
                    self.shed_waits_ns.push(self.now_ns - arrived_ns);
                    share -= 1;
                }
            }
            let since_ns = &mut self.behind_since_ns[queue];
            *since_ns = turn_ns.min(*since_ns);
            self.queue_delay.note_behind(*since_ns);
        }
    }

    fn quantile_ns(waits_ns: &[u64], percent: usize) -> u64 {
        let mut sorted = waits_ns.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len().saturating_sub(1) * percent / 100]
    }

    #[test]
    fn at_three_times_the_capacity_the_chain_stays_busy_and_nobody_waits_long() {
        for connections in [1, CONNECTIONS, 200] {
            let mut simulation = Simulation::new(TARGET_NS, connections);
            simulation.run(500 * MS, WORK_NS / 3);
            simulation.run(3000 * MS, WORK_NS / 3);
            let goodput = simulation.served * WORK_NS * 100 / (3000 * MS);
            let shed_ns = quantile_ns(&simulation.shed_waits_ns, 99);
            let served_ns = quantile_ns(&simulation.served_waits_ns, 99);
            let least = if connections > 100 { 65 } else { 90 };
            println!("{connections}: {goodput} % shed p99 {shed_ns} served p99 {served_ns}");
            assert!(goodput >= least, "{connections}: {goodput} %");
            assert!(shed_ns < 20 * MS, "{connections}: {shed_ns}");
            assert!(served_ns < 20 * MS, "{connections}: {served_ns}");

            // At four fifths of the capacity all are taken on again, within a second.
            simulation.run(1000 * MS, WORK_NS * 5 / 4);
            let shed = simulation.shed_waits_ns.len();
            simulation.run(1000 * MS, WORK_NS * 5 / 4);
            let later = simulation.shed_waits_ns.len();
            assert!(later == 0, "{connections}: {shed}, then {later}");
            assert!(!simulation.queue_delay.sheds());
        }
    }

    #[test]
    fn without_a_limit_or_without_overload_nothing_is_turned_away() {
        let mut unlimited = Simulation::new(0, CONNECTIONS);
        unlimited.run(1000 * MS, WORK_NS / 3);
        assert!(unlimited.shed_waits_ns.is_empty());

        let mut busy = Simulation::new(TARGET_NS, CONNECTIONS);
        busy.run(2000 * MS, WORK_NS * 5 / 4);
        assert!(busy.shed_waits_ns.is_empty());
    }

    #[test]
    fn a_burst_is_no_overload() {
        let mut simulation = Simulation::new(TARGET_NS, CONNECTIONS);
        for _ in 0..20 {
            // 90 ms of work at once, then none.
            simulation.run(MS, 1111);
            while simulation.queues.iter().any(|queue| !queue.is_empty()) {
                simulation.turn();
            }
            assert!(simulation.shed_waits_ns.is_empty());
            simulation.run(200 * MS, WORK_NS * 2);
        }
    }

    #[test]
    fn a_turn_takes_on_one_request_however_long_it_takes() {
        let mut queue_delay = QueueDelay::new(1);
        queue_delay.end_turn(10, 10);
        queue_delay.end_turn(20, 10 + INTERVAL_NS);
        assert!(queue_delay.sheds());
        for turn in 1..10 {
            let now_ns = INTERVAL_NS + 100 * turn;
            queue_delay.begin_turn(now_ns);
            queue_delay.begin_share(now_ns + 50, 2);
            assert!(queue_delay.takes_on(|| now_ns + 60));
            assert!(!queue_delay.takes_on(|| now_ns + 70));
            assert!(!queue_delay.takes_on(|| unreachable!("the share is over")));
        }
    }
}
