//! What can be wrong with an encoded body, and with which status it is answered.

use super::{ContentCoding, MAX_CODINGS};

/// Why a body is not decoded. The request is answered, and its connection goes on: where the body
/// ends was known before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "the content coding \"{coding}\" is not accepted; send the body in one of those that \
         Accept-Encoding names, or plain"
    )]
    Unknown { coding: Box<str> },
    #[error("the body has more than {MAX_CODINGS} content codings; send it with one")]
    TooManyCodings,
    #[error(
        "the {coding} body needs a window of {window_bytes} bytes, and {limit_bytes} are served; \
         compress it with a smaller window"
    )]
    Window {
        coding: ContentCoding,
        window_bytes: u64,
        limit_bytes: u64,
    },
    #[error(
        "the decoded body is larger than {limit_bytes} bytes; send less, or raise maxRequestBytes"
    )]
    TooLarge { limit_bytes: usize },
    #[error("the {coding} body ends too early; send it whole")]
    Truncated { coding: ContentCoding },
    #[error("the {coding} body goes on behind its end; send nothing behind it")]
    Trailing { coding: ContentCoding },
    #[error("the body is not well-formed {coding}; correct it, or its Content-Encoding")]
    Malformed { coding: ContentCoding },
}

impl Fault {
    /// The status of the answer. This is the only place that decides it.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Fault::Truncated { .. } | Fault::Trailing { .. } | Fault::Malformed { .. } => 400,
            Fault::TooLarge { .. } => 413,
            Fault::Unknown { .. } | Fault::TooManyCodings | Fault::Window { .. } => 415,
        }
    }
}
