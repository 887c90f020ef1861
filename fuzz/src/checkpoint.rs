//! A checkpoint directory that no query wrote.

use std::collections::BTreeMap;

use snapback::checkpoint::Marks;
use snapback::internals::image::{self, Image, Opened};

const SERVICE: &str = "my_api";

/// Zero bytes separate names of files and what is in them. A name that begins with `!` loses that,
/// and its file gets the checksum that its bytes need: no mutation would guess it.
///
/// # Panics
///
/// If a checkpoint is refused and yet changed, or taken although it cannot be used: its next epoch
/// must be found again, exactly.
pub fn run(bytes: &[u8]) {
    let mut image = parse(bytes);
    let before = image.clone();
    let opened = match image::open(&mut image, SERVICE) {
        Ok(opened) => opened,
        Err(error) => {
            assert_eq!(image, before, "refused: {error}");
            return;
        }
    };
    assert_eq!(image::open(&mut image, SERVICE).expect("the same"), opened);
    commit_next(&mut image, opened);
}

/// Commits an epoch in which each known partition and a new one went on.
fn commit_next(image: &mut Image, opened: Opened) {
    let epoch = opened.last_epoch.map_or(0, |epoch| epoch + 1);
    let mut partitions = opened.partitions.clone();
    for marks in partitions.values() {
        assert!(marks.settled <= marks.next, "{marks:?}");
    }
    let newcomer = partitions.keys().next_back().map_or(0, |last| last / 2 + 1);
    partitions.entry(newcomer).or_default();
    for marks in partitions.values_mut() {
        let next = marks.next.saturating_add(2);
        let settled = marks.settled.saturating_add(1).min(next);
        *marks = Marks { next, settled };
    }
    let changed = partitions != opened.partitions;
    let committed = image::commit(image, SERVICE, epoch, &partitions).expect("a good disk");
    assert_eq!(committed, changed);
    let last_epoch = if changed {
        Some(epoch)
    } else {
        opened.last_epoch
    };
    assert_eq!(
        image::open(image, SERVICE).expect("what was committed"),
        Opened {
            last_epoch,
            partitions,
            ..opened
        }
    );
}

fn parse(bytes: &[u8]) -> Image {
    let mut image = BTreeMap::new();
    let mut parts = bytes.split(|byte| *byte == 0);
    while let (Some(name), Some(file)) = (parts.next(), parts.next()) {
        let name = String::from_utf8_lossy(name).into_owned();
        match name.strip_prefix('!') {
            None => image.insert(name, file.to_vec()),
            Some(name) => image.insert(name.to_owned(), sealed(file)),
        };
    }
    image
}

/// The file with the checksum that it needs, at the end of the line that has one.
fn sealed(file: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = b"\"checksum\":\"";
    const ZEROS: &[u8] = b"00000000";
    let mut file = file.to_vec();
    let found = file
        .windows(BEFORE.len())
        .rposition(|bytes| bytes == BEFORE);
    let Some(at) = found.map(|at| at + BEFORE.len()) else {
        return file;
    };
    if file.len() >= at + ZEROS.len() {
        file[at..at + ZEROS.len()].copy_from_slice(ZEROS);
        let digits = format!("{:08x}", crc32c::crc32c(&file));
        file[at..at + ZEROS.len()].copy_from_slice(digits.as_bytes());
    }
    file
}
