//! The names of segments and files, and what is known of each.

/// Enough for any number, so that names sort as numbers do.
const DIGITS: usize = 20;

/// A directory of files whose epochs follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Not after the epoch of its first file.
    pub(super) first: u64,
    /// The run that began it: without a checkpoint's lock two may be at work.
    pub(super) run: String,
    /// Oldest first.
    pub(super) files: Vec<DataFile>,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    /// The newest epoch of which it has rows.
    pub(super) epoch: u64,
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Segment {
    pub(super) fn begin(first: u64, run: &str) -> Self {
        Segment {
            first,
            run: run.to_owned(),
            files: Vec::new(),
        }
    }

    /// The one of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (first, run) = name.strip_prefix("segment-")?.split_once('-')?;
        number(first).map(|first| Segment::begin(first, run))
    }

    pub(super) fn name(&self) -> String {
        format!("segment-{:0DIGITS$}-{}", self.first, self.run)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(super) fn last_epoch(&self) -> u64 {
        self.files.last().map_or(self.first, |file| file.epoch)
    }
}

impl DataFile {
    /// The name of a file of this epoch, which has so many others already.
    pub(super) fn name(epoch: u64, run: &str, others: usize, extension: &str) -> String {
        format!("{epoch:0DIGITS$}-{run}-{others}.{extension}")
    }

    /// The epoch that the name of a file says.
    pub(super) fn epoch_in(name: &str, extension: &str) -> Option<u64> {
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        let (epoch, rest) = stem.split_once('-')?;
        let (_, others) = rest.rsplit_once('-')?;
        others.parse::<u64>().ok()?;
        number(epoch)
    }
}

fn number(digits: &str) -> Option<u64> {
    let fits = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fits)
}
