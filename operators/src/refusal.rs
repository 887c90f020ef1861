//! An error of the pipeline that becomes a reply.

use std::fmt;

/// Why a request is refused: the status and, for the caller, the detail of the problem document.
///
/// ```
/// use snapback_operators::{IntoRefusal, Refusal};
///
/// assert_eq!((404, "no zip code 00000").into_refusal(), Refusal::new(404, "no zip code 00000"));
/// let no_number = "x".parse::<i32>().map_err(|error| (422, error));
/// assert_eq!(no_number.unwrap_err().into_refusal().status, 422);
/// assert_eq!("say something".into_refusal().status, 422);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code, 400 to 599.
    pub status: u16,
    /// What the caller did wrong, and the way out.
    pub detail: String,
}

impl Refusal {
    /// A refusal with this status and detail.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Refusal {
            status,
            detail: detail.into(),
        }
    }
}

/// Errors that can become a reply.
///
/// A [`Refusal`] and a pair `(status, detail)` bring their own status, text alone is answered 422.
/// Errors of your own implement it in two lines; others are paired with a status by
/// `.map_err(|error| (422, error))`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot become an error reply",
    label = "not an error that has a reply",
    note = "return `Refusal::new(status, detail)`, or a pair `(status, detail)`: `.map_err(|error| (422, error))`"
)]
pub trait IntoRefusal {
    /// The reply to send.
    fn into_refusal(self) -> Refusal;
}

impl IntoRefusal for Refusal {
    fn into_refusal(self) -> Refusal {
        self
    }
}

impl<D: fmt::Display> IntoRefusal for (u16, D) {
    fn into_refusal(self) -> Refusal {
        Refusal {
            status: self.0,
            detail: self.1.to_string(),
        }
    }
}

impl IntoRefusal for String {
    fn into_refusal(self) -> Refusal {
        Refusal {
            status: 422,
            detail: self,
        }
    }
}

impl IntoRefusal for &str {
    fn into_refusal(self) -> Refusal {
        Refusal {
            status: 422,
            detail: self.to_owned(),
        }
    }
}
