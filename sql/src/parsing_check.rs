//! How strictly a body is held against its schema.

use std::str::FromStr;

/// What becomes of a body that does not fit the schema: Spark Serving's `parsingCheck`, whose
/// default was `none`. Here it is `full`, since a null that nobody sent is found late.
///
/// ```
/// use snapback_sql::ParsingCheck;
///
/// assert_eq!("Partial".parse(), Ok(ParsingCheck::Partial));
/// assert!("strict".parse::<ParsingCheck>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParsingCheck {
    /// What does not fit, or is missing, is null; a body that is no JSON object is a row of nulls.
    None,
    /// As `None`, but a body of which no field fits is answered 400.
    Partial,
    /// A body that lacks a field, has one twice or has one of another type is answered 400. A null
    /// fits a column that is not declared `NOT NULL`; further fields are ignored.
    #[default]
    Full,
}

/// The text names no [`ParsingCheck`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parsingCheck cannot be `{0}`: it must be none, partial or full")]
pub struct UnknownParsingCheck(pub String);

impl FromStr for ParsingCheck {
    type Err = UnknownParsingCheck;

    /// In any case, as Spark Serving takes it.
    fn from_str(text: &str) -> Result<Self, UnknownParsingCheck> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(ParsingCheck::None),
            "partial" => Ok(ParsingCheck::Partial),
            "full" => Ok(ParsingCheck::Full),
            _ => Err(UnknownParsingCheck(text.to_owned())),
        }
    }
}
