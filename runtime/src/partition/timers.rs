//! A hierarchical timer wheel: when which connection is to be looked at.
//!
//! Four levels of 64 slots, as in Varghese and Lauck's "Hashed and Hierarchical Timing Wheels"
//! (scheme 7): a slot of the lowest level is one tick, a slot of each further level is as long as
//! the whole level below it. Inserting and cancelling are O(1); a timer moves down a level at most
//! three times before it fires. The wheel reads no clock.

/// The length of a tick: 2^20 ns, 1.05 ms, about what a wait can be told.
const TICK_BITS: u32 = 20;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 4;
/// Ticks that the wheel spans, 4.9 hours. A timer further away moves down when it comes within.
const SPAN_TICKS: u64 = 1 << (SLOT_BITS * LEVELS as u32);
/// The end of a list.
const NONE: u32 = u32::MAX;

/// The timers of a partition; each names a token.
///
/// A timer never fires before its deadline, and fires at the first [`expire`](Self::expire) that is
/// a tick behind it. Its room is used again, so a warm wheel allocates nothing.
///
/// Invariant: a timer stands in the list of the slot where it fires or moves down next; a slot's bit
/// is set exactly if its list is not empty; no slot that was passed has one.
pub(crate) struct Timers {
    /// The last tick that was gone through.
    now_tick: u64,
    nodes: Vec<Node>,
    /// The first node that is free, and the others behind it.
    free: u32,
    /// The first node of each slot's list.
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    /// When a slot is to be gone through next; [`u64::MAX`] when there is no timer.
    next_ns: u64,
}

/// Names a timer until it fires or is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u32);

#[derive(Clone, Copy)]
struct Node {
    token: u64,
    tick: u64,
    level: u8,
    slot: u8,
    previous: u32,
    next: u32,
}

impl Timers {
    /// A wheel without timers, at this time.
    pub(crate) fn new(now_ns: u64) -> Self {
        Timers {
            now_tick: now_ns >> TICK_BITS,
            nodes: Vec::new(),
            free: NONE,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            next_ns: u64::MAX,
        }
    }

    /// When [`expire`](Self::expire) has something to do at the earliest; [`u64::MAX`] when there is
    /// no timer. Not before the time there is nothing to do.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Sets a timer.
    pub(crate) fn insert(&mut self, deadline_ns: u64, token: u64) -> TimerId {
        let tick = first_tick_after(deadline_ns);
        let index = self.take_node(Node {
            token,
            tick,
            level: 0,
            slot: 0,
            previous: NONE,
            next: NONE,
        });
        let slot_ns = self.link(index);
        self.next_ns = self.next_ns.min(slot_ns);
        TimerId(index)
    }

    /// Takes a timer back that has not fired.
    pub(crate) fn cancel(&mut self, id: TimerId) {
        self.unlink(id.0);
        self.give_node(id.0);
        // The wheel is then looked at once for nothing, which is cheaper than to look now.
    }

    /// Goes on to this time; the tokens of the timers that fire go to `fire`.
    pub(crate) fn expire(&mut self, now_ns: u64, mut fire: impl FnMut(u64)) {
        let target = now_ns >> TICK_BITS;
        while let Some((level, slot, start)) = self.next_slot()
            && start <= target
        {
            self.now_tick = start.max(self.now_tick);
            self.occupied[level] &= !(1 << slot);
            let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
            while let Some(node) = self.nodes.get(index as usize).copied() {
                if node.tick <= self.now_tick {
                    self.give_node(index);
                    fire(node.token);
                } else {
                    self.link(index);
                }
                index = node.next;
            }
        }
        self.now_tick = target.max(self.now_tick);
        let next = self.next_slot();
        self.next_ns = next.map_or(u64::MAX, |(_, _, start)| start << TICK_BITS);
    }

    /// The next slot with timers: its level, its index, and the tick at which it begins. Timers of a
    /// lower level come before those of a higher one, for each level ends where the next slot of the
    /// one above begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let shift = SLOT_BITS * level as u32;
        let position = self.now_tick >> shift;
        // The slot of the present position is the last one to come round, but for the lowest level,
        // where a slot is gone through at its tick.
        let first = position + u64::from(level > 0);
        let ahead = self.occupied[level]
            .rotate_right((first % SLOTS as u64) as u32)
            .trailing_zeros();
        let at = first + u64::from(ahead);
        Some((level, (at % SLOTS as u64) as usize, at << shift))
    }

    /// Puts a node into the list of its slot; gives the time at which the slot begins.
    fn link(&mut self, index: u32) -> u64 {
        let tick = self.nodes[index as usize].tick;
        // What is due already comes with the next tick; what is too far away, when its end of the
        // wheel comes near.
        let tick = tick.clamp(self.now_tick + 1, self.now_tick + SPAN_TICKS - 1);
        let differing = (tick ^ self.now_tick).ilog2() / SLOT_BITS;
        let level = (differing as usize).min(LEVELS - 1);
        let shift = SLOT_BITS * level as u32;
        let slot = (tick >> shift) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        if let Some(head) = self.nodes.get_mut(head as usize) {
            head.previous = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.level, node.slot) = (level as u8, slot as u8);
        (node.previous, node.next) = (NONE, head);
        self.occupied[level] |= 1 << slot;
        (tick >> shift << shift) << TICK_BITS
    }

    fn unlink(&mut self, index: u32) {
        let node = self.nodes[index as usize];
        let (level, slot) = (usize::from(node.level), usize::from(node.slot));
        if let Some(next) = self.nodes.get_mut(node.next as usize) {
            next.previous = node.previous;
        }
        match self.nodes.get_mut(node.previous as usize) {
            Some(previous) => previous.next = node.next,
            None => self.heads[level][slot] = node.next,
        }
        if self.heads[level][slot] == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    fn take_node(&mut self, node: Node) -> u32 {
        match self.nodes.get_mut(self.free as usize) {
            Some(free) => {
                let index = std::mem::replace(&mut self.free, free.next);
                *free = node;
                index
            }
            None => {
                let index = u32::try_from(self.nodes.len()).unwrap_or(NONE);
                assert_ne!(index, NONE, "fewer timers than descriptors");
                self.nodes.push(node);
                index
            }
        }
    }

    fn give_node(&mut self, index: u32) {
        self.nodes[index as usize].next = self.free;
        self.free = index;
    }
}

/// The first tick that begins at this time or after it.
fn first_tick_after(deadline_ns: u64) -> u64 {
    deadline_ns.div_ceil(1 << TICK_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TICK_NS: u64 = 1 << TICK_BITS;

    #[derive(Clone, Debug)]
    enum Step {
        /// A timer so far from now.
        Insert(u64),
        /// Cancels one of the timers.
        Cancel(usize),
        /// Time passes.
        Pass(u64),
        /// Time passes just as far as the wheel wants.
        PassToNext,
    }

    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..3 * TICK_NS,
            0..200 * TICK_NS,
            0..10_000 * TICK_NS,
            0..1_000_000 * TICK_NS,
            0..3 * SPAN_TICKS * TICK_NS,
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => span().prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Cancel),
            2 => span().prop_map(Step::Pass),
            2 => Just(Step::PassToNext),
        ]
    }

    /// The wheel beside an ordered map: the deadline of each token.
    struct Model {
        timers: Timers,
        now_ns: u64,
        deadlines: BTreeMap<u64, (u64, TimerId)>,
        next_token: u64,
    }

    impl Model {
        fn new(now_ns: u64) -> Self {
            Model {
                timers: Timers::new(now_ns),
                now_ns,
                deadlines: BTreeMap::new(),
                next_token: 0,
            }
        }

        fn take(&mut self, step: Step) {
            match step {
                Step::Insert(after_ns) => {
                    let deadline_ns = self.now_ns + after_ns;
                    let id = self.timers.insert(deadline_ns, self.next_token);
                    self.deadlines.insert(self.next_token, (deadline_ns, id));
                    self.next_token += 1;
                }
                Step::Cancel(which) if !self.deadlines.is_empty() => {
                    let which = which % self.deadlines.len();
                    let token = *self.deadlines.keys().nth(which).expect("one of them");
                    let (_, id) = self.deadlines.remove(&token).expect("its timer");
                    self.timers.cancel(id);
                }
                Step::Cancel(_) => {}
                Step::Pass(span_ns) => self.pass_to(self.now_ns + span_ns),
                Step::PassToNext => {
                    let next_ns = self.timers.next_ns();
                    assert!(next_ns < u64::MAX || self.deadlines.is_empty());
                    if next_ns < u64::MAX {
                        self.pass_to(self.now_ns.max(next_ns));
                    }
                }
            }
            // Nothing is due that the wheel does not know of.
            let earliest = self.deadlines.values().map(|(deadline_ns, _)| *deadline_ns);
            if let Some(earliest_ns) = earliest.min() {
                let known_ns = self.timers.next_ns();
                assert!(known_ns <= earliest_ns.max(self.now_ns) + TICK_NS);
            }
        }

        fn pass_to(&mut self, now_ns: u64) {
            self.now_ns = now_ns;
            let (timers, deadlines) = (&mut self.timers, &mut self.deadlines);
            timers.expire(now_ns, |token| {
                let (deadline_ns, _) = deadlines.remove(&token).expect("it fires once");
                assert!(deadline_ns <= now_ns, "it fires early");
            });
            let late = |(deadline_ns, _): &(u64, TimerId)| deadline_ns + TICK_NS <= now_ns;
            // One that was due when it was set comes with the next tick.
            let late = deadlines.values().filter(|timer| late(timer)).count();
            assert_eq!(late, 0, "timers did not fire");
        }
    }

    proptest! {
        #[test]
        fn timers_fire_within_a_tick_of_their_deadlines(
            start_ns in prop_oneof![0..TICK_NS, any::<u64>().prop_map(|time| time >> 4)],
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut model = Model::new(start_ns);
            for step in steps {
                model.take(step);
            }
            // Whoever looks only when told to reaches the last timer, with few looks for each.
            let looks = model.deadlines.len() * (LEVELS + 4) + 8;
            for _ in 0..looks {
                model.take(Step::PassToNext);
            }
            prop_assert!(model.deadlines.is_empty(), "{:?}", model.deadlines);
            prop_assert_eq!(model.timers.next_ns(), u64::MAX);
        }
    }

    #[test]
    fn the_room_of_timers_is_used_again() {
        let mut timers = Timers::new(0);
        for round in 0..1000 {
            let now_ns = round * 10 * TICK_NS;
            let kept = timers.insert(now_ns + 5 * TICK_NS, 1);
            timers.insert(now_ns + 6 * TICK_NS, 2);
            timers.cancel(kept);
            let mut fired = Vec::new();
            timers.expire(now_ns + 8 * TICK_NS, |token| fired.push(token));
            assert_eq!(fired, [2]);
        }
        assert_eq!(timers.nodes.len(), 2);
    }
}
