//! What becomes of several rows of one request.

use std::str::FromStr;

/// What a request is answered with when the plan makes several rows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// The first row.
    #[default]
    First,
    /// A JSON array of all rows, each as it would be in JSON by itself. A single row is an array too.
    Array,
}

/// A text that names no [`ReplyMode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown replyMode `{text}`; it is `first` or `array`")]
pub struct UnknownReplyMode {
    text: String,
}

impl FromStr for ReplyMode {
    type Err = UnknownReplyMode;

    fn from_str(text: &str) -> Result<Self, UnknownReplyMode> {
        match text.trim().to_ascii_lowercase().as_str() {
            "first" => Ok(ReplyMode::First),
            "array" => Ok(ReplyMode::Array),
            _ => Err(UnknownReplyMode {
                text: text.to_owned(),
            }),
        }
    }
}
