//! Options as texts: `option("maxFilesPerTrigger", 10)`.

use super::source::Source;

/// Where the checkpoint lies.
const CHECKPOINT_LOCATION: &str = "checkpointLocation";

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamOptionError {
    /// Neither the stream nor its source has such an option.
    #[error(
        "the stream has no option `{key}`{}; it has {}",
        nearest.map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default(),
        known.join(", ")
    )]
    Unknown {
        /// The key as it was given.
        key: String,
        /// The one that is most likely meant.
        nearest: Option<&'static str>,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The option cannot have this value.
    #[error("the option `{key}` cannot be `{value}`: it is {allowed}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as it was given.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

/// Gives options to the stream and its source, in their order; a later value replaces an earlier one. Keys
/// are matched without regard to case, as Spark does.
pub(super) fn set(
    options: &[(String, String)],
    source: &mut dyn Source,
    checkpoint_location: &mut Option<String>,
) -> Result<(), StreamOptionError> {
    let mut known = vec![CHECKPOINT_LOCATION];
    known.extend(source.options());
    for (key, value) in options {
        let found = known.iter().find(|its| its.eq_ignore_ascii_case(key));
        let Some(&found) = found else {
            return Err(StreamOptionError::Unknown {
                key: key.clone(),
                nearest: nearest(key, &known),
                known,
            });
        };
        if found == CHECKPOINT_LOCATION {
            *checkpoint_location = Some(value.clone());
            continue;
        }
        let set = source.set(found, value);
        set.map_err(|allowed| StreamOptionError::BadValue {
            key: found,
            value: value.clone(),
            allowed,
        })?;
    }
    Ok(())
}

/// The key that a misspelled one most likely means: at most a third of its letters differ.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let distance =
        |its: &&'static str| strsim::damerau_levenshtein(&its.to_ascii_lowercase(), &key);
    let nearest = known.iter().copied().min_by_key(distance)?;
    (distance(&nearest) <= (nearest.len() / 3).max(1)).then_some(nearest)
}
