//! Random lives of a checkpoint, compared with what it had said.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    /// A commit of these partitions, each further by so many handed out and settled.
    Commit(Vec<(u32, u64, u64)>),
    /// The disk is full for `count` steps, after so many more.
    Fail { after: u64, count: u64 },
    /// The process dies in the middle of a commit: `step` of them are taken.
    Kill { step: usize },
    /// The machine does, of which some of the unsynced things survive.
    LosePower { step: usize, mask: u64, tear: usize },
}

fn act() -> impl Strategy<Value = Act> {
    let commit = prop::collection::vec((0..4u32, 0..50u64, 0..60u64), 0..4);
    prop_oneof![
        6 => commit.prop_map(Act::Commit),
        1 => (0..12u64, 1..6u64).prop_map(|(after, count)| Act::Fail { after, count }),
        1 => (0..40usize).prop_map(|step| Act::Kill { step }),
        2 => (0..40usize, any::<u64>(), 0..5usize)
            .prop_map(|(step, mask, tear)| Act::LosePower { step, mask, tear }),
    ]
}

/// A running query, and what it was promised.
struct Life {
    store: CrashStore,
    log: Log<CrashStore>,
    committed: State,
    /// What was tried since, and may be found after a crash.
    attempts: Vec<State>,
    /// The disk at every step of the last commit, and what was promised before it.
    steps: Vec<Disk>,
    before: State,
    id: uuid::Uuid,
}

impl Life {
    fn begin() -> Life {
        let (store, log, recovered) = open(&Disk::default()).unwrap();
        store.take_history();
        Life {
            store,
            log,
            committed: state(&recovered),
            attempts: Vec::new(),
            steps: Vec::new(),
            before: state(&recovered),
            id: recovered.query_id,
        }
    }

    fn commit(&mut self, further: &[(u32, u64, u64)]) {
        let mut all = self.committed.1.clone();
        if let Some((_, tried)) = self.attempts.last() {
            all.clone_from(tried);
        }
        for &(partition, next, settled) in further {
            let marks = all.entry(partition).or_default();
            marks.next += next;
            marks.settled = (marks.settled + settled).min(marks.next);
        }
        let epoch = self.committed.0.map_or(0, |epoch| epoch + 1);
        let tried = (Some(epoch), all.clone());
        self.before = self.committed.clone();
        self.store.take_history();
        let result = self.log.commit(RUN, epoch, &all);
        self.steps = self.store.take_history();
        match result {
            Ok(true) => {
                self.attempts.push(tried.clone());
                self.committed = tried;
            }
            Ok(false) => assert_eq!(all, self.committed.1),
            Err(_) => self.attempts.push(tried),
        }
    }

    /// Goes on from a disk that was left at a step of the last commit, or now.
    fn restart(&mut self, step: usize, crash: impl Fn(&Disk) -> Disk) {
        let (disk, promised) = match self.steps.get(step) {
            Some(disk) => (disk.clone(), &self.before),
            None => (self.store.disk(), &self.committed),
        };
        let (store, log, recovered) = open(&crash(&disk)).unwrap();
        let got = state(&recovered);
        let newer = self
            .attempts
            .iter()
            .any(|tried| *tried == got && got.0 > promised.0);
        assert!(got == *promised || newer, "{got:?}, promised {promised:?}");
        assert_eq!(recovered.query_id, self.id);
        store.take_history();
        *self = Life {
            store,
            log,
            committed: got.clone(),
            attempts: Vec::new(),
            steps: Vec::new(),
            before: got,
            id: self.id,
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_promise_is_kept_over_any_life(acts in prop::collection::vec(act(), 1..40)) {
        let mut life = Life::begin();
        for act in acts {
            match act {
                Act::Commit(further) => life.commit(&further),
                Act::Fail { after, count } => life.store.fail(after, count),
                Act::Kill { step } => life.restart(step, Disk::killed),
                Act::LosePower { step, mask, tear } => {
                    life.restart(step, |disk| disk.crash_image(mask, tear));
                }
            }
        }
        life.restart(usize::MAX, Disk::killed);
    }
}
