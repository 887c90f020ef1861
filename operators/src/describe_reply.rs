//! `describe_reply`: what a reply looks like, for who reads about the service.

use std::marker::PhantomData;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::describe::{Content, Description, schema_of};
use crate::operator::{Operator, Then};
use crate::pipeline::Pipeline;
use crate::row::Replied;

/// Says what the replies are. It does nothing with them.
#[derive(Debug)]
pub struct DescribeReply<T>(PhantomData<fn() -> T>);

impl<T> Clone for DescribeReply<T> {
    fn clone(&self) -> Self {
        DescribeReply(PhantomData)
    }
}

impl<T: Deserialize<'static> + 'static> Operator<Replied> for DescribeReply<T> {
    type Out = Replied;

    #[inline]
    fn apply<'r>(&mut self, _cx: &mut Context<'_, 'r>, (): ()) -> Option<()> {
        Some(())
    }

    fn describe(&self, description: &mut Description) {
        let mut schema = schema_of::<T>();
        admit_null_for_floats(&mut schema);
        let is_text = schema.get("type").is_some_and(|name| name == "string");
        description.replies = vec![match is_text {
            true => Content::new(Content::text().content_type, schema),
            false => Content::json(schema),
        }];
    }
}

/// serde_json writes `null` for a float that is no number or infinite.
fn admit_null_for_floats(schema: &mut Value) {
    if schema.get("type").is_some_and(|name| name == "number") {
        schema["type"] = json!(["number", "null"]);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(admit_null_for_floats),
        Value::Array(elements) => elements.iter_mut().for_each(admit_null_for_floats),
        _ => {}
    }
}

impl<S, O> Pipeline<S, Replied, O> {
    /// Says in the service's OpenAPI document that its replies are what serde reads as a `T`. Without
    /// it they are any JSON, text or bytes there, for of a type that can only be written nobody can
    /// tell what it writes. Nothing changes for requests, and nothing is checked.
    ///
    /// ```
    /// # extern crate snapback_operators as snapback;
    /// # use serde::{Deserialize, Serialize};
    /// # use snapback_operators::Pipeline;
    /// #[derive(Serialize, Deserialize)]
    /// struct Length { bytes: usize }
    ///
    /// let pipeline = Pipeline::detached()
    ///     .map(|request| Length { bytes: request.body().len() })
    ///     .make_reply()
    ///     .describe_reply::<Length>();
    /// let replies = pipeline.into_chain().describe().replies;
    /// assert_eq!(replies[0].schema["required"][0], "bytes");
    /// ```
    pub fn describe_reply<T>(self) -> Pipeline<S, Replied, Then<O, DescribeReply<T>>>
    where
        T: Deserialize<'static> + 'static,
    {
        self.then(DescribeReply(PhantomData))
    }
}
