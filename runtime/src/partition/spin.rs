//! How a partition waits: asleep, or looking.

use crate::io::usage::involuntary_switches;
use crate::options::PollMode;

/// The first pause of spinning once the core turned out to be shared; it doubles up to the last.
const FIRST_PAUSE_NS: u64 = 10_000_000;
const LAST_PAUSE_NS: u64 = 1_000_000_000;
/// How often the kernel is asked whether the core is shared: every so many nanoseconds of spinning.
const ASK_EVERY_NS: u64 = 1_000_000;

/// Decides before each wait whether to sleep.
///
/// A blocking wake-up costs 13 of the 20 µs of a request on an idle server. So after a request an
/// adaptive partition looks for the next one without sleeping, for `spinDuration`; then it sleeps.
/// If the kernel takes it off its core while it spins, somebody else needs that core: it pauses its
/// spinning, longer each time.
pub(crate) struct Spin {
    mode: PollMode,
    duration_ns: u64,
    spin_until_ns: u64,
    spun_ns: u64,
    last_look_ns: u64,
    switches: u64,
    pause_ns: u64,
    /// 0 when it is not paused.
    paused_until_ns: u64,
}

impl Spin {
    /// For the thread that calls, from now on.
    pub(crate) fn new(mode: PollMode, duration_ns: u64) -> Self {
        Spin {
            mode,
            duration_ns,
            spin_until_ns: 0,
            spun_ns: 0,
            last_look_ns: 0,
            switches: involuntary_switches(),
            pause_ns: FIRST_PAUSE_NS,
            paused_until_ns: 0,
        }
    }

    /// After a turn that ended at `now_ns`; `served` tells whether it had a request.
    #[inline]
    pub(crate) fn after_turn(&mut self, now_ns: u64, served: bool) {
        self.last_look_ns = now_ns;
        if served {
            self.spin_until_ns = now_ns + self.duration_ns;
        }
    }

    /// Whether to look once more instead of sleeping. `clock` is read only while it is in doubt.
    #[inline]
    pub(crate) fn look_again(&mut self, clock: impl FnOnce() -> u64) -> bool {
        match self.mode {
            PollMode::Blocking => false,
            PollMode::Spin => true,
            PollMode::Adaptive if self.spin_until_ns == 0 => false,
            PollMode::Adaptive => self.look_again_until(clock()),
        }
    }

    fn look_again_until(&mut self, now_ns: u64) -> bool {
        let looked_ns = now_ns.saturating_sub(self.last_look_ns);
        self.last_look_ns = now_ns;
        if self.paused_until_ns > 0 {
            if now_ns >= self.paused_until_ns {
                self.resume(involuntary_switches());
            }
        } else {
            self.spun_ns += looked_ns;
            if self.spun_ns >= ASK_EVERY_NS {
                self.spun_ns = 0;
                self.ask_kernel(now_ns, involuntary_switches());
            }
        }
        let spin = now_ns < self.spin_until_ns && self.paused_until_ns == 0;
        if !spin {
            self.spin_until_ns = 0;
        }
        spin
    }

    /// After a pause. Who took the core meanwhile took it from no spinning, and does not count: a thread that
    /// needs it now and then, as that of the epochs does once a second, would else keep it paused for ever.
    #[cold]
    fn resume(&mut self, switches: u64) {
        self.paused_until_ns = 0;
        self.spun_ns = 0;
        self.switches = switches;
    }

    #[cold]
    fn ask_kernel(&mut self, now_ns: u64, switches: u64) {
        if switches == self.switches {
            self.pause_ns = FIRST_PAUSE_NS;
            return;
        }
        self.switches = switches;
        self.paused_until_ns = now_ns + self.pause_ns;
        self.pause_ns = (self.pause_ns * 2).min(LAST_PAUSE_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION_NS: u64 = 50_000;

    #[test]
    fn adaptive_looks_for_the_duration_and_then_sleeps() {
        let mut spin = Spin::new(PollMode::Adaptive, DURATION_NS);
        assert!(!spin.look_again(|| unreachable!("nothing was served")));
        spin.after_turn(1_000, true);
        assert!(spin.look_again(|| 1_000 + DURATION_NS - 1));
        assert!(!spin.look_again(|| 1_000 + DURATION_NS));
        assert!(!spin.look_again(|| unreachable!("it gave up before")));
    }

    #[test]
    fn the_other_modes_read_no_clock() {
        let mut spin = Spin::new(PollMode::Spin, DURATION_NS);
        let mut blocking = Spin::new(PollMode::Blocking, DURATION_NS);
        for served in [true, false] {
            spin.after_turn(1, served);
            blocking.after_turn(1, served);
            assert!(spin.look_again(|| unreachable!()));
            assert!(!blocking.look_again(|| unreachable!()));
        }
    }

    #[test]
    fn a_shared_core_pauses_spinning_for_longer_each_time() {
        let mut spin = Spin::new(PollMode::Adaptive, DURATION_NS);
        let (mut now_ns, mut pauses) = (0, Vec::new());
        for _ in 0..10 {
            spin.ask_kernel(now_ns, spin.switches + 1);
            pauses.push(spin.paused_until_ns - now_ns);
            spin.after_turn(now_ns, true);
            assert!(
                !spin.look_again(|| now_ns + 1),
                "it spins although the core is shared"
            );
            now_ns = spin.paused_until_ns;
            spin.after_turn(now_ns, true);
            assert!(
                spin.look_again(|| now_ns + 1),
                "it does not spin after the pause"
            );
        }
        assert_eq!(
            pauses[..3],
            [FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS, 4 * FIRST_PAUSE_NS]
        );
        assert_eq!(pauses[9], LAST_PAUSE_NS);
        spin.ask_kernel(now_ns, spin.switches);
        assert_eq!(spin.pause_ns, FIRST_PAUSE_NS);
    }

    #[test]
    fn who_takes_the_core_in_a_pause_does_not_prolong_it() {
        let mut spin = Spin::new(PollMode::Adaptive, DURATION_NS);
        spin.ask_kernel(1_000, spin.switches + 1);
        assert_eq!(spin.pause_ns, 2 * FIRST_PAUSE_NS);
        // However often it looks in vain meanwhile, nobody is asked.
        spin.after_turn(2_000, true);
        assert!(!spin.look_again(|| 2_000 + 5 * ASK_EVERY_NS));
        assert_eq!(spin.spun_ns, 0);
        let switches = spin.switches + 100;
        spin.resume(switches);
        spin.ask_kernel(FIRST_PAUSE_NS * 3, switches);
        assert_eq!((spin.pause_ns, spin.paused_until_ns), (FIRST_PAUSE_NS, 0));
    }
}
