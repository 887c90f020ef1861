//! Waking a partition that may be asleep, without a system call when it is awake.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The flag by which a sender knows whether the partition sleeps.
///
/// The partition says that it is about to sleep, looks at its queues once more, then sleeps. A
/// sender puts its message into a queue, then looks at the flag. Whichever order the two run in,
/// one sees the other's write: both have a sequentially consistent fence between their own write and
/// their look at the other's. The model below goes through all orders.
#[derive(Debug)]
pub(crate) struct Bell {
    sleeping: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Bell {
            sleeping: AtomicBool::new(false),
        }
    }

    /// For the partition, before it looks at its queues for the last time.
    #[inline]
    pub(crate) fn prepare_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// For the partition, once it is awake again.
    #[inline]
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// For a sender, after its message is in the queue: whether it has to wake the partition. Of
    /// several senders one is told so.
    #[inline]
    pub(crate) fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::Bell;

    /// Two senders and a partition that looks, prepares its sleep, looks again: it never sleeps on a
    /// message that nobody wakes it for.
    #[test]
    fn no_message_is_slept_on() {
        loom::model(|| {
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
            bell.prepare_sleep();
            let seen_before_sleep = queue.load(Ordering::Relaxed);
            for sender in senders {
                sender.join().unwrap();
            }
            let sent = queue.load(Ordering::Relaxed);
            let woken = wakeups.load(Ordering::Acquire) > 0;
            assert!(
                seen_before_sleep == sent || woken,
                "slept on {sent} messages"
            );
        });
    }
}
