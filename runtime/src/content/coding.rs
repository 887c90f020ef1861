//! The names of the codings, and what a request asks for.

use std::fmt;

use arrayvec::ArrayVec;

use super::{Fault, MAX_CODINGS};

/// A content coding in which request bodies may be sent (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentCoding {
    /// RFC 1952; `x-gzip` is another name of it.
    Gzip,
    /// zlib (RFC 1950); bare deflate data (RFC 1951), which some clients send, is taken as well.
    Deflate,
    /// Brotli, RFC 7932.
    Br,
    /// Zstandard, RFC 8878 with the window of RFC 9659.
    Zstd,
}

impl ContentCoding {
    /// All of them.
    pub const ALL: [ContentCoding; 4] = [Self::Gzip, Self::Deflate, Self::Br, Self::Zstd];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            ContentCoding::Gzip => "gzip",
            ContentCoding::Deflate => "deflate",
            ContentCoding::Br => "br",
            ContentCoding::Zstd => "zstd",
        }
    }

    /// The coding of a name, in upper or lower case.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(ContentCoding::Gzip);
        }
        let is_named = |coding: &Self| name.eq_ignore_ascii_case(coding.name().as_bytes());
        Self::ALL.into_iter().find(is_named)
    }
}

impl fmt::Display for ContentCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The codings of a body in the order in which they were applied.
pub(crate) type Codings = ArrayVec<ContentCoding, MAX_CODINGS>;

/// Reads the `Content-Encoding` lines of a request, which are one list. `identity` says nothing, and
/// neither does an empty element.
///
/// # Errors
///
/// [`Fault::Unknown`] for a coding that is not `accepted`, [`Fault::TooManyCodings`].
pub(crate) fn codings_of<'v>(
    lines: impl Iterator<Item = &'v [u8]>,
    accepted: &[ContentCoding],
) -> Result<Codings, Fault> {
    let mut codings = Codings::new();
    let elements = lines.flat_map(|line| line.split(|byte| *byte == b','));
    for name in elements.map(<[u8]>::trim_ascii) {
        if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        let coding = ContentCoding::from_name(name).filter(|coding| accepted.contains(coding));
        let coding = coding.ok_or_else(|| unknown(name))?;
        codings
            .try_push(coding)
            .map_err(|_| Fault::TooManyCodings)?;
    }
    Ok(codings)
}

/// How much of a name a message shows.
const SHOWN_BYTES: usize = 32;

#[cold]
fn unknown(name: &[u8]) -> Fault {
    let shown = name[..name.len().min(SHOWN_BYTES)].escape_ascii();
    Fault::Unknown {
        coding: shown.to_string().into(),
    }
}

/// What an `Accept-Encoding` says of these codings (RFC 9110, section 12.5.3).
pub(crate) fn names_of(codings: &[ContentCoding]) -> String {
    if codings.is_empty() {
        return "identity".to_owned();
    }
    let names: Vec<_> = codings.iter().map(|coding| coding.name()).collect();
    names.join(", ")
}
