//! A checkpoint directory that no query wrote.

use std::collections::BTreeMap;
use std::ops::Range;

use snapback::checkpoint::Marks;
use snapback::internals::image::{self, Image, Opened};

const SERVICE: &str = "my_api";

/// Zero bytes separate names of files and what is in them. A name that begins with `!` loses that,
/// and its file gets the checksums that its bytes need: no mutation would guess them.
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
    if epoch == u64::MAX {
        return;
    }
    let mut partitions = opened.partitions.clone();
    for marks in partitions.values() {
        assert!(marks.settled <= marks.next, "{marks:?}");
    }
    let newcomer = partitions.keys().next_back().map_or(0, |last| last / 2 + 1);
    partitions.entry(newcomer).or_default();
    for marks in partitions.values_mut() {
        let next = marks.next.saturating_add(2);
        let settled = next.min(marks.settled.saturating_add(1));
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
    let (mut parts, mut commits) = (bytes.split(|byte| *byte == 0), Vec::new());
    while let (Some(name), Some(file)) = (parts.next(), parts.next()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(name) = name.strip_prefix('!') else {
            image.insert(name, file.to_vec());
            continue;
        };
        let mut file = file.to_vec();
        seal(&mut file);
        image.insert(name.to_owned(), file);
        commits.extend(name.strip_prefix("commits/").map(str::to_owned));
    }
    for epoch in commits {
        let offsets = image.get(&format!("offsets/{epoch}"));
        let Some(digits) = offsets.and_then(|file| digits_behind(file, CHECKSUM)) else {
            continue;
        };
        let digits = image[&format!("offsets/{epoch}")][digits].to_vec();
        if let Some(commit) = image.get_mut(&format!("commits/{epoch}")) {
            if let Some(place) = digits_behind(commit, OFFSETS) {
                commit[place].copy_from_slice(&digits);
            }
            seal(commit);
        }
    }
    image
}

const CHECKSUM: &[u8] = b"\"checksum\":\"";
const OFFSETS: &[u8] = b"\"offsets\":\"";
const ZEROS: &[u8] = b"00000000";

/// Gives the file the checksum that it needs, in the last place for one.
fn seal(file: &mut [u8]) {
    if let Some(place) = digits_behind(file, CHECKSUM) {
        file[place.clone()].copy_from_slice(ZEROS);
        let digits = format!("{:08x}", crc32c::crc32c(file));
        file[place].copy_from_slice(digits.as_bytes());
    }
}

/// Where the eight digits behind the last `name` are.
fn digits_behind(file: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let at = file.windows(name.len()).rposition(|bytes| bytes == name)?;
    let start = at + name.len();
    let end = start + ZEROS.len();
    (end <= file.len()).then_some(start..end)
}
