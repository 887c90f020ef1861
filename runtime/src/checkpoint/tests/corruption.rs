//! Bytes that rot, and files that get lost.

use super::*;
use crate::checkpoint::layout::{parse_commit, parse_identity, parse_offsets};

/// What opening the disk gives, in a word.
fn outcome(disk: &Disk) -> String {
    match open(disk) {
        Ok((_, _, recovered)) => match recovered.last_epoch {
            Some(epoch) => {
                assert_eq!(recovered.partitions, marks_of(epoch));
                format!("epoch {epoch}")
            }
            None => "a fresh start".to_owned(),
        },
        Err(CheckpointError::NewerVersion { .. }) => "newer".to_owned(),
        Err(CheckpointError::DamagedMetadata { .. }) => "metadata".to_owned(),
        Err(CheckpointError::NoWholeEpoch { .. }) => "no whole epoch".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// Every file that differs from `bytes` by one bit, by its length, or wholly.
fn damages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut damages = Vec::new();
    for (index, bit) in (0..bytes.len()).flat_map(|index| (0..8).map(move |bit| (index, bit))) {
        let mut damaged = bytes.to_vec();
        damaged[index] ^= 1 << bit;
        damages.push(damaged);
    }
    damages.extend((0..bytes.len()).map(|length| bytes[..length].to_vec()));
    damages.extend((0..bytes.len()).map(|start| bytes[start + 1..].to_vec()));
    for more in [&b"\n"[..], b"\0", b" ", b"x", b"\n{}"] {
        damages.push([bytes, more].concat());
    }
    damages.push(vec![0; bytes.len()]);
    damages
}

#[test]
fn a_damaged_newest_epoch_falls_back_to_the_one_before() {
    for file in ["offsets/3", "commits/3"] {
        let mut disk = disk_with_epochs(3);
        let whole = disk.bytes(file).clone();
        let mut newer = 0;
        for damaged in damages(&whole) {
            disk.bytes(file).clone_from(&damaged);
            match outcome(&disk).as_str() {
                // A bit of `v1` makes a newer version of it.
                "newer" => newer += 1,
                outcome => assert_eq!(outcome, "epoch 2", "{file}: {damaged:?}"),
            }
        }
        // v0 is none; v3, v5 and v9 are.
        assert_eq!(newer, 3);
        disk.bytes(file).clone_from(&whole);
        assert_eq!(outcome(&disk), "epoch 3");
        disk.lose(file);
        assert_eq!(outcome(&disk), "epoch 2", "{file} is lost");
    }
}

#[test]
fn damaged_metadata_is_refused() {
    let mut disk = disk_with_epochs(2);
    for damaged in damages(&disk.bytes("metadata").clone()) {
        disk.bytes("metadata").clone_from(&damaged);
        assert!(["metadata", "newer"].contains(&outcome(&disk).as_str()));
    }
    disk.lose("metadata");
    assert_eq!(outcome(&disk), "metadata");
}

#[test]
fn no_other_byte_is_read_as_good() {
    let mut disk = disk_with_epochs(3);
    let offsets = disk.bytes("offsets/3").clone();
    let commit = disk.bytes("commits/3").clone();
    let identity = disk.bytes("metadata").clone();
    fn check<T, E>(bytes: &[u8], parse: impl Fn(&[u8]) -> Result<T, E>) {
        assert!(parse(bytes).is_ok());
        let mut changed = bytes.to_vec();
        for index in 0..bytes.len() {
            for byte in (0..=255).filter(|&byte| byte != bytes[index]) {
                changed[index] = byte;
                assert!(parse(&changed).is_err(), "byte {index} as {byte}");
            }
            changed[index] = bytes[index];
        }
    }
    check(&offsets, parse_offsets);
    check(&commit, parse_commit);
    check(&identity, parse_identity);
}

#[test]
fn damage_falls_back_as_far_as_it_goes_and_never_to_zero() {
    let mut disk = disk_with_epochs(3);
    let rot = |disk: &mut Disk, file: &str| disk.bytes(file)[5] ^= 1;
    rot(&mut disk, "offsets/3");
    rot(&mut disk, "commits/2");
    assert_eq!(outcome(&disk), "epoch 1");
    rot(&mut disk, "offsets/1");
    let refused = open(&disk).unwrap_err().to_string();
    assert!(
        refused.contains("`/model/` has no committed epoch that is whole (`offsets/3` carries"),
        "{refused}"
    );

    // The directory of commits is gone: the offsets know that there were some.
    let mut disk = disk_with_epochs(3);
    disk.lose("commits");
    assert_eq!(outcome(&disk), "no whole epoch");
    let mut disk = disk_with_epochs(3);
    disk.lose("offsets");
    assert_eq!(outcome(&disk), "no whole epoch");
    // Whatever the one offsets file without a commit was, it is not whole.
    let mut disk = disk_with_epochs(1);
    disk.lose("commits/1");
    assert_eq!(outcome(&disk), "a fresh start");
    rot(&mut disk, "offsets/1");
    assert_eq!(outcome(&disk), "no whole epoch");
}

#[test]
fn damage_is_set_aside_and_the_log_goes_on() {
    let mut disk = disk_with_epochs(3);
    disk.bytes("offsets/3").truncate(40);
    let (store, mut log, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.last_epoch, Some(2));
    assert_eq!(
        epoch_files(&store),
        [
            "commits/1",
            "commits/2",
            "commits/3.damaged",
            "offsets/1",
            "offsets/2",
            "offsets/3.damaged"
        ]
    );
    log.commit(RUN, 3, &marks_of(7)).unwrap();
    for image in store.disk().crash_images() {
        let recovered = open(&image).unwrap().2;
        assert_eq!(state(&recovered), (Some(3), marks_of(7)));
    }
}

#[test]
fn a_file_in_the_wrong_place_is_damage() {
    // The same epoch under another number.
    let mut disk = disk_with_epochs(3);
    for dir in ["offsets", "commits"] {
        let second = disk.bytes(&format!("{dir}/2")).clone();
        *disk.bytes(&format!("{dir}/3")) = second;
    }
    assert_eq!(outcome(&disk), "epoch 2");
    // Offsets of another attempt at the epoch than the one that was committed.
    let mut disk = disk_with_epochs(3);
    let (store, mut log, _) = open(&disk_with_epochs(2)).unwrap();
    log.commit(RUN, 3, &marks_of(4)).unwrap();
    *disk.bytes("offsets/3") = store.disk().bytes("offsets/3").clone();
    assert_eq!(outcome(&disk), "epoch 2");
}

#[test]
fn files_of_others_stay() {
    let (mut store, _, _) = open(&disk_with_epochs(1)).unwrap();
    let others = [
        ".notes.tmp",
        "notes",
        "offsets/03",
        "offsets/+4",
        "commits/.x.tmp",
    ];
    for name in others {
        store.write(name, b"mine").unwrap();
    }
    for ours in [".metadata.tmp", "offsets/.2.tmp", "commits/.2.tmp"] {
        store.write(ours, b"{").unwrap();
    }
    let (store, _, recovered) = open(&store.disk()).unwrap();
    assert_eq!(recovered.last_epoch, Some(1));
    for name in others {
        assert_eq!(store.read(name).unwrap(), b"mine", "{name}");
    }
    let names = [store.list("").unwrap(), epoch_files(&store)].concat();
    let left: Vec<_> = names.iter().filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(left, [".notes.tmp", "commits/.x.tmp"]);
}
