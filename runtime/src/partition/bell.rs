//! Waking a partition that may be asleep, without a system call when it is awake.

#[cfg(snapback_loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(snapback_loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The flags by which a sender knows whether the partition sleeps, and the partition whether
/// anyone has sent.
///
/// The partition says that it is about to sleep, looks whether it was rung for once more, then
/// sleeps. A sender puts its message into a queue, rings, then looks at the flag of sleep. Whichever
/// order the two run in, one sees the other's write: both have a sequentially consistent fence
/// between their own write and their look at the other's. The model below goes through all orders.
#[derive(Debug)]
pub(crate) struct Bell {
    sleeping: AtomicBool,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Bell {
            sleeping: AtomicBool::new(false),
            rung: AtomicBool::new(false),
        }
    }

    /// For the partition, before it sleeps: whether it may. It may not when there is a message.
    #[inline]
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let quiet = !self.rung.load(Ordering::Relaxed);
        if !quiet {
            self.awake();
        }
        quiet
    }

    /// For the partition, once it is awake again.
    #[inline]
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// For the partition: whether anyone has rung since the last call. What was sent before that is
    /// then seen. One load of an unchanged line, as long as nobody has.
    #[inline]
    pub(crate) fn take_ring(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::Acquire)
    }

    /// For a sender, after its message is in the queue: whether it has to wake the partition. Of
    /// several senders one is told so.
    #[inline]
    pub(crate) fn ring(&self) -> bool {
        // A swap, not a store: so the partition that sees the last sender's flag also sees what the
        // senders before it had sent.
        self.rung.swap(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(test, snapback_loom))]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::Bell;

    /// Two senders and a partition that looks, prepares its sleep, looks again: it never sleeps on a
    /// message that nobody wakes it for, and what it was rung for it sees.
    #[test]
    fn no_message_is_slept_on() {
        let mut model = loom::model::Builder::new();
        // Beyond three preemptions the orders take minutes to go through and have shown nothing.
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new((Bell::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        let (bell, queue, wakeups) = &*shared;
                        queue.fetch_add(1, Ordering::Relaxed);
                        if bell.ring() {
                            wakeups.fetch_add(1, Ordering::Release);
                        }
                    })
                })
                .collect();
            let (bell, queue, wakeups) = &*shared;
            let mut taken = 0;
            if bell.take_ring() {
                taken = queue.load(Ordering::Relaxed);
                assert!(taken > 0, "rung for nothing that can be seen");
            }
            let slept = bell.prepare_sleep();
            for sender in senders {
                sender.join().unwrap();
            }
            let sent = queue.load(Ordering::Relaxed);
            let woken = wakeups.load(Ordering::Acquire) > 0;
            assert!(!slept || taken == sent || woken, "slept on {sent} messages");
            assert!(taken == sent || bell.take_ring(), "a ring was lost");
        });
    }
}
