//! Where a checkpoint lies: the option `checkpointLocation`, parsed.

use std::path::{Path, PathBuf};

use super::CheckpointError;

/// A directory on local disk.
///
/// A `file:` URL is taken as Spark takes it: its path is literal, `%20` is not a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    path: PathBuf,
}

impl Location {
    /// Parses `file:///path`, `file:/path`, or a path; a relative one is made absolute against the
    /// working directory, so that errors name a place.
    pub(crate) fn parse(location: &str) -> Result<Location, CheckpointError> {
        let bad = |reason| CheckpointError::BadLocation {
            // A zero byte would cut the message short wherever C prints it.
            location: location.replace('\0', "\\0"),
            reason,
        };
        let path = match scheme(location) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                match rest.strip_prefix("//") {
                    None => rest,
                    Some(path) if path.starts_with('/') => path,
                    Some(_) => return Err(bad("names a host where its path should begin")),
                }
            }
            Some((scheme, _)) => {
                return Err(CheckpointError::UnknownScheme {
                    location: location.to_owned(),
                    scheme: scheme.to_owned(),
                });
            }
            None if location.starts_with("file:") => {
                return Err(bad("has no absolute path after `file:`"));
            }
            None => location,
        };
        if path.contains('\0') {
            return Err(bad("contains a zero byte"));
        }
        match std::path::absolute(path) {
            Ok(path) => Ok(Location { path }),
            Err(_) => Err(bad("is no path")),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The scheme (RFC 3986, section 3.1) and what follows its colon. A colon without a slash behind it
/// belongs to a file's name.
fn scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (is_scheme && rest.starts_with('/')).then_some((scheme, rest))
}
