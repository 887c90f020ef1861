//! Keys by the hashes of their tokens.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthKeysError, LineFault};

/// The longest name of a key.
pub(super) const MAX_NAME_BYTES: usize = 64;
/// A token of fewer characters could be guessed.
pub(super) const MIN_TOKEN_BYTES: usize = 16;
/// The longest token.
pub(super) const MAX_TOKEN_BYTES: usize = 512;
/// How many keys a service may have.
pub(super) const MAX_KEYS: usize = 65_536;

type Hash = [u8; 32];

/// Where a list of keys rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// In a file: hashes only.
    OnDisk,
    /// In an environment variable, which may have tokens as they are.
    InMemory,
}

/// The keys of a service, by the hashes of their tokens.
///
/// Invariant: the hashes of `by_hash` grow, so none is there twice.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    by_hash: Vec<(Hash, Box<str>)>,
}

impl Keys {
    /// Adds the keys of a text: one a line, or separated by white space or commas. An empty line says
    /// nothing, and neither does what follows a `#`.
    pub(super) fn add(
        &mut self,
        text: &str,
        origin: &str,
        rest: Rest,
    ) -> Result<(), AuthKeysError> {
        let separates = |c: char| c == ',' || c.is_whitespace();
        let lines = (1..).zip(text.lines());
        let entries = lines.flat_map(|(number, line)| {
            let line = line.split('#').next().unwrap_or_default();
            line.split(separates).map(move |entry| (number, entry))
        });
        let mut known: HashMap<Hash, Box<str>> = mem::take(&mut self.by_hash).into_iter().collect();
        for (line, entry) in entries.filter(|(_, entry)| !entry.is_empty()) {
            let fault = |fault| AuthKeysError::Line {
                origin: origin.to_owned(),
                line,
                fault,
            };
            let (hash, name) = key_of(entry, rest).map_err(fault)?;
            if known.get(&hash).is_some_and(|other| *other != name) {
                return Err(fault(LineFault::Repeated));
            }
            known.insert(hash, name);
            if known.len() > MAX_KEYS {
                return Err(fault(LineFault::TooMany));
            }
        }
        self.by_hash = known.into_iter().collect();
        self.by_hash.sort();
        Ok(())
    }

    /// These keys and those of a file.
    pub(super) fn with_file(&self, path: &Path, text: &str) -> Result<Keys, AuthKeysError> {
        let mut keys = self.clone();
        keys.add(text, &path.display().to_string(), Rest::OnDisk)?;
        Ok(keys)
    }

    /// The keys, of which there must be one.
    pub(super) fn sealed(self) -> Result<Keys, AuthKeysError> {
        if self.by_hash.is_empty() {
            return Err(AuthKeysError::NoKeys);
        }
        Ok(self)
    }

    /// The name of the key that this token is. Allocates nothing.
    pub(crate) fn name_of(&self, token: &[u8]) -> Option<&str> {
        let hash: Hash = Sha256::digest(token).into();
        let first = self
            .by_hash
            .partition_point(|(known, _)| prefix(known) < prefix(&hash));
        let candidates = self.by_hash[first..].iter();
        candidates
            .take_while(|(known, _)| prefix(known) == prefix(&hash))
            .find(|(known, _)| known.ct_eq(&hash).into())
            .map(|(_, name)| &**name)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_hash.len()
    }
}

/// Shows how many there are, and neither names nor hashes.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.len())
    }
}

/// By what a hash is looked up.
fn prefix(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn key_of(entry: &str, rest: Rest) -> Result<(Hash, Box<str>), LineFault> {
    let mut parts = entry.splitn(3, ':');
    let (Some(name), Some(kind), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(LineFault::Form);
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(fits) {
        return Err(LineFault::Name);
    }
    let hash = match (kind, rest) {
        ("sha256", _) => hash_of(value).ok_or(LineFault::Hash)?,
        ("token", Rest::InMemory) if is_token(value) => Sha256::digest(value).into(),
        ("token", Rest::InMemory) => return Err(LineFault::Token),
        ("token", Rest::OnDisk) => return Err(LineFault::TokenInFile),
        _ => return Err(LineFault::Form),
    };
    Ok((hash, name.into()))
}

/// The `b64token` of RFC 6750, section 2.1.
fn is_token(value: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&value.len()) && value.bytes().all(fits)
}

fn hash_of(digits: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
