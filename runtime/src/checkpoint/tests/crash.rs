//! Crashes and full disks at every step.

use super::*;

/// Opens every disk that a power loss can leave, and one that was only killed, and checks that
/// each gives one of the states, and still gives the same one after another power loss.
fn check_images(disk: &Disk, allowed: &[&State]) -> usize {
    let mut images = disk.crash_images();
    images.push(disk.killed());
    for image in &images {
        let (store, mut log, recovered) = open(image).unwrap();
        let got = state(&recovered);
        assert!(allowed.contains(&&got), "{got:?} of {image:#?}");
        let files = epoch_files(&store);
        assert!(!files.iter().any(|name| name.contains("tmp")), "{files:?}");
        assert!(
            !files.iter().any(|name| name.contains("damaged")),
            "{files:?}"
        );
        // Opening is a sequence of steps too.
        for crashed in store.take_history() {
            for image in crashed.crash_images() {
                let again = state(&open(&image).unwrap().2);
                assert!(allowed.contains(&&again), "{again:?} of {image:#?}");
            }
        }
        for image in store.disk().crash_images() {
            assert_eq!(state(&open(&image).unwrap().2), got, "what was said stays");
        }
        // And the next epoch can be committed from there.
        let epoch = got.0.map_or(1, |epoch| epoch + 1);
        log.commit(RUN, epoch, &marks_of(epoch + 100)).unwrap();
        for image in store.disk().crash_images() {
            assert_eq!(open(&image).unwrap().2.last_epoch, Some(epoch));
        }
    }
    images.len()
}

#[test]
fn a_crash_at_any_step_gives_the_old_or_the_new_epoch() {
    let (store, mut log, recovered) = open(&Disk::default()).unwrap();
    let mut old = state(&recovered);
    assert_eq!(old, (None, Partitions::new()));
    let mut images = 0;
    for disk in store.take_history() {
        images += check_images(&disk, &[&old]);
    }
    // With three epochs retained the later commits also remove.
    for epoch in 1..=6 {
        let new = (Some(epoch), marks_of(epoch));
        assert!(log.commit(RUN, epoch, &new.1).unwrap());
        for disk in store.take_history() {
            images += check_images(&disk, &[&old, &new]);
        }
        images += check_images(&store.disk(), &[&new]);
        old = new;
    }
    assert!(images > 200, "only {images} crash images");
}

#[test]
fn a_full_disk_at_any_step_leaves_the_old_epoch_and_passes() {
    for committed in [0, 4] {
        let base = disk_with_epochs(committed);
        let epoch = committed + 1;
        let steps = {
            let (store, mut log, _) = open(&base).unwrap();
            let before = store.steps();
            log.commit(RUN, epoch, &marks_of(epoch)).unwrap();
            store.steps() - before
        };
        for (step, length) in (0..steps).flat_map(|step| [(step, 1), (step, 2), (step, 9)]) {
            let (store, mut log, recovered) = open(&base).unwrap();
            let old = state(&recovered);
            let first = (Some(epoch), marks_of(epoch));
            store.take_history();
            store.fail(step, length);
            let result = log.commit(RUN, epoch, &first.1);
            if result.is_ok() {
                // Only the removal of an old epoch failed.
                check_images(&store.disk(), &[&first]);
                continue;
            }
            let said = result.unwrap_err().to_string();
            assert!(said.contains("free some space"), "{said}");
            if length == 1 {
                let files = epoch_files(&store);
                assert!(!files.iter().any(|name| name.contains("tmp")), "{files:?}");
            }
            for disk in store.take_history() {
                check_images(&disk, &[&old, &first]);
            }

            // It is tried until there is space again, with newer marks.
            let mut newer = marks_of(epoch);
            newer.insert(
                2,
                Marks {
                    next: 9,
                    settled: 4,
                },
            );
            let second = (Some(epoch), newer);
            while log.commit(RUN, epoch, &second.1).is_err() {}
            for disk in store.take_history() {
                check_images(&disk, &[&old, &first, &second]);
            }
            check_images(&store.disk(), &[&second]);
        }
    }
}

#[test]
fn an_attempt_may_be_given_up_for_a_later_epoch() {
    let base = disk_with_epochs(2);
    let (store, mut log, _) = open(&base).unwrap();
    // The last step, at which the commit is renamed already.
    store.fail(7, 1);
    log.commit(RUN, 3, &marks_of(3)).unwrap_err();
    assert!(log.commit(RUN, 5, &marks_of(5)).unwrap());
    assert_eq!(
        epoch_files(&store),
        [
            "commits/1",
            "commits/2",
            "commits/5",
            "offsets/1",
            "offsets/2",
            "offsets/5"
        ]
    );
    check_images(&store.disk(), &[&(Some(5), marks_of(5))]);
}

#[test]
fn an_epoch_in_which_nothing_changed_is_not_written() {
    let (store, mut log, _) = open(&disk_with_epochs(2)).unwrap();
    let steps = store.steps();
    assert!(!log.commit(RUN, 3, &marks_of(2)).unwrap());
    assert!(!log.commit("another run", 4, &Partitions::new()).unwrap());
    assert_eq!(store.steps(), steps);
    assert!(log.commit(RUN, 5, &marks(&[(1, 21, 20)])).unwrap());
    let recovered = open(&store.disk()).unwrap().2;
    let all = marks(&[(0, 207, 200), (1, 21, 20)]);
    assert_eq!(state(&recovered), (Some(5), all));
}

#[test]
fn partitions_that_are_gone_keep_their_offsets() {
    let (store, mut log, _) = open(&Disk::default()).unwrap();
    log.commit(RUN, 0, &marks(&[(0, 5, 5), (1, 6, 6), (2, 7, 6)]))
        .unwrap();
    let (store, mut log, _) = open(&store.disk()).unwrap();
    log.commit(RUN, 1, &marks(&[(0, 8, 8)])).unwrap();
    let (store, mut log, recovered) = open(&store.disk()).unwrap();
    let kept = marks(&[(0, 8, 8), (1, 6, 6), (2, 7, 6)]);
    assert_eq!(recovered.partitions, kept);
    log.commit(RUN, 2, &marks(&[(10, 1, 0)])).unwrap();
    let recovered = open(&store.disk()).unwrap().2;
    assert_eq!(recovered.partitions.len(), 4);
    assert_eq!(
        recovered.partitions[&10],
        Marks {
            next: 1,
            settled: 0
        }
    );
}

#[test]
fn the_newest_epochs_stay() {
    let (store, mut log, _) = open(&Disk::default()).unwrap();
    for epoch in 1..=20 {
        log.commit(RUN, epoch, &marks_of(epoch)).unwrap();
        assert_eq!(epoch_files(&store).len() as u64, 2 * epoch.min(3));
    }
    // A lowered number is reached step by step, so that no commit takes long.
    let (store, mut log, _) = open(&disk_with_epochs(3)).unwrap();
    log.commit(RUN, 4, &marks_of(4)).unwrap();
    drop(log);
    let (mut log, _) = Log::open(store.clone(), "my_api", 1).unwrap();
    log.commit(RUN, 5, &marks_of(5)).unwrap();
    assert_eq!(epoch_files(&store), ["commits/5", "offsets/5"]);

    let store = CrashStore::new(Disk::default());
    let (mut log, _) = Log::open(store.clone(), "my_api", 30).unwrap();
    for epoch in 1..=30 {
        log.commit(RUN, epoch, &marks_of(epoch)).unwrap();
    }
    let (mut log, _) = Log::open(store.clone(), "my_api", 1).unwrap();
    let left = [31, 32, 33, 34].map(|epoch| {
        log.commit(RUN, epoch, &marks_of(epoch)).unwrap();
        epoch_files(&store).len() / 2
    });
    assert_eq!(left, [23, 16, 9, 2]);
}

#[test]
#[should_panic(expected = "partition 0 went from")]
fn a_mark_never_goes_back() {
    let (_, mut log, _) = open(&disk_with_epochs(2)).unwrap();
    let _ = log.commit(RUN, 3, &marks(&[(0, 300, 199)]));
}

#[test]
#[should_panic(expected = "epoch 2 after epoch 2")]
fn an_epoch_is_committed_once() {
    let (_, mut log, _) = open(&disk_with_epochs(2)).unwrap();
    let _ = log.commit(RUN, 2, &marks_of(3));
}
