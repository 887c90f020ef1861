//! What a pipeline takes and answers, told by its operators before it serves.

mod asker;
mod schema;

use serde_json::{Value, json};

pub use schema::schema_of;

/// What a pipeline takes and answers: each operator adds what it knows of it
/// ([`Operator::describe`](crate::Operator::describe)). The runtime makes an OpenAPI document of it.
///
/// Schemas are JSON Schemas (2020-12), as OpenAPI 3.1 takes them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// What is done with the body; `None` while no operator has said it.
    pub body: Option<Body>,
    /// Query parameters and header fields.
    pub parameters: Vec<Parameter>,
    /// The replies of status 200 by their content type; none where the body is always empty.
    pub replies: Vec<Content>,
    /// A row may leave the pipeline without a reply, to be answered `unansweredReply`.
    pub may_be_unanswered: bool,
    /// An operator may refuse with any status, by a problem document.
    pub refuses_freely: bool,
    /// An operator may answer with any status and any body.
    pub answers_freely: bool,
}

/// What a pipeline does with the body of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// It looks at none: parameters say everything.
    Unread,
    /// It takes this; one that does not fit, or is empty where it is required, is refused.
    Taken {
        /// What it must be.
        content: Content,
        /// An empty one does not do.
        is_required: bool,
    },
}

/// A body of one content type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Content {
    /// A media type, or a range of them.
    pub content_type: &'static str,
    /// What the body is, as JSON or as text; `{}` is anything.
    pub schema: Value,
}

impl Content {
    /// A body of this content type, described by a JSON Schema.
    pub fn new(content_type: &'static str, schema: Value) -> Self {
        Content {
            content_type,
            schema,
        }
    }

    /// A body in JSON.
    pub fn json(schema: Value) -> Self {
        Content::new("application/json", schema)
    }

    /// A body of text, as a reply has it.
    pub fn text() -> Self {
        Content::new("text/plain; charset=utf-8", json!({ "type": "string" }))
    }

    /// A body of bytes.
    pub fn bytes() -> Self {
        Content::new("application/octet-stream", json!({}))
    }
}

/// A query parameter or a header field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// A request without it is refused.
    pub is_required: bool,
    /// What its text must be.
    pub schema: Value,
}

impl Parameter {
    /// A parameter whose text is described by a JSON Schema.
    pub fn new(place: Place, name: String, is_required: bool, schema: Value) -> Self {
        Parameter {
            place,
            name,
            is_required,
            schema,
        }
    }
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the query of the target.
    Query,
    /// In a header field.
    Header,
}

/// What `make_reply` answers with rows of the family `R`. Only a few types can be told apart without
/// a value: of any other it is only known that serde writes it.
pub(crate) fn replies_of<R: 'static>() -> Vec<Content> {
    use std::any::TypeId;
    use std::borrow::Cow;

    use crate::row::Owned;

    macro_rules! is_one_of {
        ($($type:ty),+) => {
            [$(TypeId::of::<Owned<$type>>(), TypeId::of::<Owned<Option<$type>>>()),+]
                .contains(&TypeId::of::<R>())
        };
    }
    macro_rules! number {
        ($($type:ty),+) => {$(
            if is_one_of!($type) {
                return vec![Content::json(schema_of::<$type>())];
            }
        )+};
    }
    if is_one_of!(String, &'static str, Cow<'static, str>, char) {
        return vec![Content::text()];
    }
    if TypeId::of::<R>() == TypeId::of::<Owned<Vec<u8>>>() {
        return vec![Content::bytes()];
    }
    if TypeId::of::<R>() == TypeId::of::<Owned<()>>() {
        return Vec::new();
    }
    number!(bool, i8, i16, i32, i64, u8, u16, u32, u64, usize, isize);
    // A float that is no number is null in JSON.
    if is_one_of!(f32, f64) {
        return vec![Content::json(json!({ "type": ["number", "null"] }))];
    }
    vec![Content::json(json!({})), Content::text(), Content::bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Owned;

    #[test]
    fn replies_of_plain_types_are_known() {
        struct Own;
        let content_types = |replies: Vec<Content>| {
            let types = replies.iter().map(|content| content.content_type);
            types.collect::<Vec<_>>().join(", ")
        };
        for (replies, expected) in [
            (replies_of::<Owned<String>>(), "text/plain; charset=utf-8"),
            (
                replies_of::<Owned<Option<&'static str>>>(),
                "text/plain; charset=utf-8",
            ),
            (replies_of::<Owned<Vec<u8>>>(), "application/octet-stream"),
            (replies_of::<Owned<()>>(), ""),
            (replies_of::<Owned<usize>>(), "application/json"),
            (replies_of::<Owned<f32>>(), "application/json"),
            (
                replies_of::<Owned<Own>>(),
                "application/json, text/plain; charset=utf-8, application/octet-stream",
            ),
        ] {
            assert_eq!(content_types(replies), expected);
        }
    }
}
