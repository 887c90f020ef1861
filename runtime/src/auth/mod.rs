//! Who may send requests: bearer tokens and API keys.
//!
//! A key is a random token that somebody holds, and a name by which the pipeline knows them. The
//! server has the SHA-256 of each token and never the token itself. A hash that is slow on purpose,
//! as for passwords, would add nothing: a token has more random bits than anyone can try, and a
//! server that works for milliseconds on whatever a stranger sends is stopped by a few strangers.
//!
//! A presented token is hashed and looked up by the first eight bytes of its hash; the rest is
//! compared in constant time. What that lookup's time tells is which hashes exist near the hash of
//! the guess. Who cannot compute a token from its hash learns nothing by it, and a guess whose hash
//! lies where one wants it is as hard to find as the token.

mod error;
mod keys;
mod watch;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use arc_swap::{ArcSwap, Guard};
use snapback_operators::{Headers, Reply};

use crate::io::small_file;
use crate::options::Options;
use crate::reloads::Reloads;
pub use error::{AuthKeysError, LineFault};
pub(crate) use keys::Keys;
use keys::{MAX_TOKEN_BYTES, Rest};
use watch::Watched;

/// A file of keys may not be larger.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The keys of a service, which may be exchanged while it serves.
#[derive(Debug)]
pub(crate) struct Auth {
    keys: ArcSwap<Keys>,
    /// The header that has an API key, if there is one.
    api_key_header: Option<Box<str>>,
    /// The parameter of every challenge.
    realm: Box<str>,
    /// Ends the watch of the file when it is dropped.
    _watch: Option<Sender<()>>,
}

/// Why a request is not served. Which part of what it brought was wrong is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It brought neither a token nor a key.
    Missing,
    /// It brought one that is not on the list.
    Unknown,
    /// It brought several.
    Several,
}

impl Auth {
    /// The keys that the options name; `None` if they name none, and everybody is served. What becomes
    /// of their file when it is read again is noted in `reloads`.
    ///
    /// # Errors
    ///
    /// Keys that cannot be read, or are not well-formed; a service never starts without the keys
    /// that it was told to ask for.
    pub(crate) fn of(
        options: &Options,
        service: &str,
        reloads: &Arc<Reloads>,
    ) -> Result<Option<Arc<Auth>>, AuthKeysError> {
        let file = options.auth_keys_file.as_deref().map(PathBuf::from);
        let mut keys = Keys::default();
        if let Some(variable) = &options.auth_keys_env {
            let text = std::env::var(variable).map_err(|_| AuthKeysError::Variable {
                variable: variable.clone(),
            })?;
            keys.add(&text, variable, Rest::InMemory)?;
        }
        let from_env = keys.clone();
        let text = file.as_deref().map(read).transpose()?;
        if let (Some(path), Some(text)) = (&file, &text) {
            keys = from_env.with_file(path, text)?;
        }
        if file.is_none() && options.auth_keys_env.is_none() {
            return Ok(None);
        }
        let (watch, dropped) = mpsc::channel();
        let auth = Arc::new(Auth {
            keys: ArcSwap::from_pointee(keys.sealed()?),
            api_key_header: options.api_key_header.as_deref().map(Box::from),
            realm: realm(service),
            _watch: file.is_some().then_some(watch),
        });
        if let (Some(path), Some(text)) = (file, text) {
            let watched = Watched::new(from_env, path, text, Arc::clone(reloads));
            watch::spawn(Arc::downgrade(&auth), watched, dropped)?;
        }
        Ok(Some(auth))
    }

    /// The keys as they are now; they stay while this is held.
    #[inline]
    pub(crate) fn keys(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Exchanges the keys.
    fn set(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// The name of the key that a request brings.
    pub(crate) fn identify<'k>(
        &self,
        keys: &'k Keys,
        headers: Headers<'_>,
    ) -> Result<&'k str, Denial> {
        let bearers = headers.get_all("authorization").filter_map(bearer_token);
        let name = self.api_key_header.as_deref();
        let api_keys = name.into_iter().flat_map(|name| headers.get_all(name));
        let mut tokens = bearers.chain(api_keys);
        let token = tokens.next().ok_or(Denial::Missing)?;
        if tokens.next().is_some() {
            return Err(Denial::Several);
        }
        // A longer one is nobody's; it is not worth the time to hash it.
        let token = Some(token).filter(|token| token.len() <= MAX_TOKEN_BYTES);
        token
            .and_then(|token| keys.name_of(token))
            .ok_or(Denial::Unknown)
    }

    /// Answers a request that is not served (RFC 6750, section 3).
    #[cold]
    pub(crate) fn challenge(
        &self,
        denial: Denial,
        reply: &mut Reply<'_>,
        members: &[(&str, &str)],
    ) {
        let (status, error, detail) = match denial {
            Denial::Missing => (
                401,
                "",
                "this service asks for a key: send it as a bearer token in Authorization",
            ),
            Denial::Unknown => (
                401,
                ", error=\"invalid_token\"",
                "the key is not one that this service knows",
            ),
            Denial::Several => (
                400,
                ", error=\"invalid_request\"",
                "the request has several keys; send one",
            ),
        };
        let challenge = format!("Bearer realm=\"{}\"{error}", self.realm);
        reply.header("www-authenticate", &challenge);
        reply.problem_with(status, detail, members);
    }
}

/// The token of an `Authorization: Bearer …`; `None` for another scheme, which is not ours to judge.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|byte| *byte == b' ');
    let (scheme, token) = value.split_at(end.unwrap_or(value.len()));
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer");
    is_bearer.then(|| token.trim_ascii())
}

/// The service's name as a quoted string may hold it.
fn realm(service: &str) -> Box<str> {
    let fits = |c: &char| (' '..='~').contains(c) && !matches!(c, '"' | '\\');
    service.chars().filter(fits).collect::<String>().into()
}

fn read(path: &Path) -> Result<String, AuthKeysError> {
    small_file::read(path, MAX_FILE_BYTES).map_err(|source| AuthKeysError::File {
        path: path.to_owned(),
        source: Arc::new(source),
    })
}
