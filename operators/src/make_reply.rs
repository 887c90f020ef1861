//! `make_reply`: the row becomes the reply.

use serde::ser::{Serialize, Serializer};

use crate::context::Context;
use crate::describe::{Description, replies_of};
use crate::operator::Operator;
use crate::reply::{ContentType, Reply};
use crate::row::{Replied, Row};

/// Answers each request with its row.
///
/// | row | body | content type |
/// |---|---|---|
/// | string, `char` | as it is | `text/plain; charset=utf-8` |
/// | `Vec<u8>`, or what serializes as bytes | as it is | `application/octet-stream` |
/// | `None`, `()`: a null reply | empty, status 200 | none |
/// | anything else | JSON | `application/json` |
#[derive(Clone, Copy, Debug)]
pub struct MakeReply;

impl<In: SerializeRow> Operator<In> for MakeReply {
    type Out = Replied;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<()> {
        In::reply(&row, cx.reply());
        Some(())
    }

    fn describe(&self, description: &mut Description) {
        description.replies = replies_of::<In>();
    }
}

/// Answers each request as a closure writes it, which has the whole reply in hand.
#[derive(Clone, Debug)]
pub struct MakeReplyWith<F> {
    pub(crate) f: F,
}

impl<In, F> Operator<In> for MakeReplyWith<F>
where
    In: Row,
    F: for<'x, 'c, 'r> FnMut(In::At<'r>, &'x mut Reply<'c>) + Clone + Send + 'static,
{
    type Out = Replied;

    #[inline]
    fn apply<'r>(&mut self, cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<()> {
        (self.f)(row, cx.reply());
        Some(())
    }

    fn describe(&self, description: &mut Description) {
        description.answers_freely = true;
    }
}

/// Rows that can become a reply: every row whose type implements [`serde::Serialize`].
#[diagnostic::on_unimplemented(
    message = "the row `{Self}` cannot become a reply",
    label = "the row before `make_reply` is not `Serialize`",
    note = "derive `serde::Serialize` for the row, or write the reply with `make_reply_with(|row, reply| …)`"
)]
pub trait SerializeRow: Row {
    /// Writes the reply.
    fn reply(row: &Self::At<'_>, reply: &mut Reply<'_>);
}

impl<R: Row> SerializeRow for R
where
    for<'r> R::At<'r>: Serialize,
{
    #[inline]
    fn reply(row: &R::At<'_>, reply: &mut Reply<'_>) {
        // serde takes a `Vec<u8>` for a list of numbers; nobody means that by a reply.
        match castaway::cast!(row, &Vec<u8>) {
            Ok(bytes) => reply.bytes(bytes),
            Err(row) => reply.value(row),
        }
    }
}

type Json<'a> = serde_json::Serializer<&'a mut Vec<u8>>;
type Compound<'a> =
    serde_json::ser::Compound<'a, &'a mut Vec<u8>, serde_json::ser::CompactFormatter>;

/// serde_json's serializer but for the outermost value, which is written raw when it is text,
/// bytes or nothing.
pub(crate) struct ReplySerializer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    /// Where the JSON serializer lives while a struct, list or map is written.
    pub(crate) json: &'a mut Option<Json<'a>>,
    pub(crate) content_type: &'a mut ContentType,
}

impl<'a> ReplySerializer<'a> {
    fn raw(self, content_type: ContentType, bytes: &[u8]) -> Result<(), serde_json::Error> {
        *self.content_type = content_type;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn json(self) -> &'a mut Json<'a> {
        self.json.insert(serde_json::Serializer::new(self.out))
    }
}

macro_rules! as_json {
    ($($method:ident($type:ty)),* $(,)?) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), serde_json::Error> {
            self.json().$method(value)
        }
    )*};
}

impl<'a> Serializer for ReplySerializer<'a> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    as_json! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_i128(i128), serialize_u8(u8), serialize_u16(u16),
        serialize_u32(u32), serialize_u64(u64), serialize_u128(u128), serialize_f32(f32),
        serialize_f64(f64),
    }

    fn serialize_char(self, value: char) -> Result<(), Self::Error> {
        self.raw(ContentType::Text, value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn serialize_str(self, value: &str) -> Result<(), Self::Error> {
        self.raw(ContentType::Text, value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Self::Error> {
        self.raw(ContentType::Bytes, value)
    }

    fn serialize_none(self) -> Result<(), Self::Error> {
        self.raw(ContentType::None, &[])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Self::Error> {
        self.raw(ContentType::None, &[])
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Self::Error> {
        self.raw(ContentType::None, &[])
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Self::Error> {
        self.raw(ContentType::Text, variant.as_bytes())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        self.json()
            .serialize_newtype_variant(name, index, variant, value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a>, Self::Error> {
        self.json().serialize_seq(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Compound<'a>, Self::Error> {
        self.json().serialize_tuple(len)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Compound<'a>, Self::Error> {
        self.json().serialize_tuple_struct(name, len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'a>, Self::Error> {
        self.json()
            .serialize_tuple_variant(name, index, variant, len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a>, Self::Error> {
        self.json().serialize_map(len)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Compound<'a>, Self::Error> {
        self.json().serialize_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'a>, Self::Error> {
        self.json()
            .serialize_struct_variant(name, index, variant, len)
    }
}
