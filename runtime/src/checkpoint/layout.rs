//! The bytes of the checkpoint's files: encode and parse, pure.
//!
//! # Layout
//!
//! ```text
//! lock                empty but for who holds it; never read back as state
//! metadata            {"id":"<uuid>","service":"my_api","version":"v1","checksum":"5f0c21aa"}
//! offsets/<epoch>     v1
//!                     {"epoch":7,"runId":"<uuid>","previous":6,"next":{"0":1240,"1":1180},"checksum":"0d15ea5e"}
//!                     {"0":1234,"1":1180}
//! commits/<epoch>     v1
//!                     {"epoch":7,"offsets":"0d15ea5e","checksum":"7a3b90c4"}
//! ```
//!
//! Names and lines are Spark's, so that its users and their tools find their way: a version line,
//! one line of metadata as JSON, then one line per source, here `settled` per partition. There is no
//! final newline. `<epoch>` is decimal without leading zeros. `previous` is the epoch that was
//! committed before this one, or `null`; `offsets` in a commit is the checksum of the one offsets
//! file that the commit vouches for, so that a commit never makes another attempt's offsets good.
//!
//! # Checksum
//!
//! Spark's tools take every line after the metadata for the offset of a source, so the checksum
//! stands inside the metadata. It is the last member of that object: the line ends with
//! `"checksum":"` + eight lower-case hexadecimal digits + `"}`. Its value is the CRC32C
//! (RFC 3720, appendix B.4) of the whole file with those eight digits replaced by `0`. It is found
//! by its place at the end of the line and checked before any JSON is parsed, and finds every
//! error burst of up to 32 bits, so every changed byte.
//!
//! # Version
//!
//! `v1` is the only version. A file of a higher one is refused and never taken for damage, since
//! its checksum may be computed otherwise. Members that this version does not know are ignored.
//!
//! # What is assumed about the medium
//!
//! - A synced file holds its bytes after a power loss; a file that was not synced may hold all of
//!   them, none, a part, or zeros.
//! - A rename within a directory is atomic: the old or the new file is seen, never a mixture.
//! - Syncing a directory makes the renames, creations and removals in it durable; those not synced
//!   may have happened or not, each on its own, in any order.
//! - A synced file may rot. The checksum finds it, and recovery falls back to the epoch before.
//! - A disk that says "synced" and loses the bytes after all is found out in the same way, as far
//!   as an older epoch survived.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Marks;

/// What the log recorded of one epoch before it committed it: a file of `offsets/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) epoch: u64,
    pub(crate) run_id: String,
    /// The epoch that was committed before this one.
    pub(crate) previous: Option<u64>,
    pub(crate) partitions: BTreeMap<u32, Marks>,
}

/// That an epoch is committed, and with which offsets: a file of `commits/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) epoch: u64,
    /// The checksum of the offsets file that this commit vouches for.
    pub(crate) offsets: Checksum,
}

/// Whose checkpoint this is: the file `metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) query_id: Uuid,
    pub(crate) service: String,
}

/// The CRC32C that a file carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum(u32);

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A newer Snapback wrote it; the version is named.
    Newer(String),
    /// Its bytes are not those that were written; the reason completes "the file …".
    Damaged(String),
}

pub(crate) fn encode_offsets(offsets: &Offsets) -> (Vec<u8>, Checksum) {
    let next = offsets.partitions.iter().map(|(p, marks)| (*p, marks.next));
    let line = OffsetsLine {
        epoch: offsets.epoch,
        run_id: offsets.run_id.clone(),
        previous: offsets.previous,
        next: next.collect(),
        checksum: UNSEALED.to_owned(),
    };
    let settled = offsets.partitions.iter();
    let settled: BTreeMap<u32, u64> = settled.map(|(p, marks)| (*p, marks.settled)).collect();
    seal(VERSION_LINE, &json(&line), &format!("\n{}", json(&settled)))
}

pub(crate) fn parse_offsets(bytes: &[u8]) -> Result<(Offsets, Checksum), Flaw> {
    let start = after_version_line(bytes)?;
    let Some(length) = bytes[start..].iter().position(|&byte| byte == b'\n') else {
        return Err(damaged("ends before its third line"));
    };
    let end = start + length;
    let checksum = verify(bytes, end)?;
    let line: OffsetsLine = from_json(&bytes[start..end])?;
    let settled: BTreeMap<u32, u64> = from_json(&bytes[end + 1..])?;
    if !line.next.keys().eq(settled.keys()) {
        return Err(damaged("has other partitions in `next` than in its offset"));
    }
    let mut partitions = BTreeMap::new();
    for ((partition, next), settled) in line.next.into_iter().zip(settled.into_values()) {
        if settled > next {
            let what = format!("says that partition {partition} settled {settled} of {next}");
            return Err(Flaw::Damaged(what));
        }
        partitions.insert(partition, Marks { next, settled });
    }
    let offsets = Offsets {
        epoch: line.epoch,
        run_id: line.run_id,
        previous: line.previous,
        partitions,
    };
    Ok((offsets, checksum))
}

pub(crate) fn encode_commit(commit: &Commit) -> Vec<u8> {
    let line = CommitLine {
        epoch: commit.epoch,
        offsets: commit.offsets.digits(),
        checksum: UNSEALED.to_owned(),
    };
    seal(VERSION_LINE, &json(&line), "").0
}

pub(crate) fn parse_commit(bytes: &[u8]) -> Result<Commit, Flaw> {
    let start = after_version_line(bytes)?;
    verify(bytes, bytes.len())?;
    let line: CommitLine = from_json(&bytes[start..])?;
    let offsets = Checksum::parse(line.offsets.as_bytes());
    let offsets = offsets.ok_or_else(|| damaged("names no checksum of its offsets"))?;
    let epoch = line.epoch;
    Ok(Commit { epoch, offsets })
}

pub(crate) fn encode_identity(identity: &Identity) -> Vec<u8> {
    let line = IdentityLine {
        id: identity.query_id.to_string(),
        service: identity.service.clone(),
        version: VERSION.to_owned(),
        checksum: UNSEALED.to_owned(),
    };
    seal("", &json(&line), "").0
}

pub(crate) fn parse_identity(bytes: &[u8]) -> Result<Identity, Flaw> {
    // Its version stands in the JSON, since Spark's metadata has no version line.
    let version: VersionMember = from_json(bytes)?;
    match version.version {
        None => return Err(damaged("has no version; it may be one of Spark's own")),
        Some(version) => check_version(version.as_bytes())?,
    }
    verify(bytes, bytes.len())?;
    let line: IdentityLine = from_json(bytes)?;
    let query_id = Uuid::try_parse(&line.id);
    let query_id = query_id.map_err(|_| damaged("has an id that is no UUID"))?;
    let service = line.service;
    Ok(Identity { query_id, service })
}

const VERSION: &str = "v1";
const VERSION_LINE: &str = "v1\n";
const UNSEALED: &str = "00000000";
const BEFORE_DIGITS: &[u8] = b"\"checksum\":\"";
const AFTER_DIGITS: &[u8] = b"\"}";

// In each of these the checksum is the last member, which its place in the file depends on.

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OffsetsLine {
    epoch: u64,
    run_id: String,
    previous: Option<u64>,
    next: BTreeMap<u32, u64>,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
struct CommitLine {
    epoch: u64,
    offsets: String,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
struct IdentityLine {
    id: String,
    service: String,
    version: String,
    checksum: String,
}

#[derive(Deserialize)]
struct VersionMember {
    version: Option<String>,
}

impl Checksum {
    fn digits(self) -> String {
        format!("{:08x}", self.0)
    }

    /// Upper-case digits are refused: the same value in other bytes is a changed file.
    fn parse(digits: &[u8]) -> Option<Checksum> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != UNSEALED.len() || !digits.iter().all(is_digit) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok().map(Checksum)
    }
}

/// Puts the file together and writes its checksum over the zeros at the end of `line`.
fn seal(head: &str, line: &str, rest: &str) -> (Vec<u8>, Checksum) {
    let mut bytes = [head, line, rest].concat().into_bytes();
    let checksum = Checksum(crc32c::crc32c(&bytes));
    let end = head.len() + line.len() - AFTER_DIGITS.len();
    bytes[end - UNSEALED.len()..end].copy_from_slice(checksum.digits().as_bytes());
    debug_assert_eq!(verify(&bytes, head.len() + line.len()), Ok(checksum));
    (bytes, checksum)
}

/// Checks the file against the checksum at the end of its line that ends at `line_end`.
fn verify(bytes: &[u8], line_end: usize) -> Result<Checksum, Flaw> {
    let written = bytes[..line_end]
        .strip_suffix(AFTER_DIGITS)
        .and_then(|line| line.split_last_chunk::<{ UNSEALED.len() }>())
        .filter(|(line, _)| line.ends_with(BEFORE_DIGITS))
        .and_then(|(line, digits)| Some((line, Checksum::parse(digits)?)));
    let Some((before, written)) = written else {
        return Err(damaged("has no checksum at the end of its metadata"));
    };
    let after = &bytes[before.len() + UNSEALED.len()..];
    let found = crc32c::crc32c(before);
    let found = crc32c::crc32c_append(found, UNSEALED.as_bytes());
    let found = Checksum(crc32c::crc32c_append(found, after));
    if found != written {
        let (written, found) = (written.digits(), found.digits());
        let what = format!("carries the checksum {written}, but its bytes give {found}");
        return Err(Flaw::Damaged(what));
    }
    Ok(written)
}

fn after_version_line(bytes: &[u8]) -> Result<usize, Flaw> {
    if bytes.is_empty() {
        return Err(damaged("is empty"));
    }
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return Err(damaged("ends before its second line"));
    };
    check_version(&bytes[..end])?;
    Ok(end + 1)
}

fn check_version(version: &[u8]) -> Result<(), Flaw> {
    if version == VERSION.as_bytes() {
        return Ok(());
    }
    let digits = version.strip_prefix(b"v").unwrap_or_default();
    // A version of more digits than this is noise.
    let is_number = (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if is_number && digits[0] != b'0' {
        return Err(Flaw::Newer(String::from_utf8_lossy(version).into_owned()));
    }
    Err(damaged("has no version line `v1`"))
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings, numbers and maps of them are always JSON")
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Flaw> {
    serde_json::from_slice(bytes)
        .map_err(|error| Flaw::Damaged(format!("is not the JSON that it should be: {error}")))
}

fn damaged(reason: &str) -> Flaw {
    Flaw::Damaged(reason.to_owned())
}
