//! A reader that asks a type what it wants, instead of giving it a document.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// How deep a type may be nested, newtypes included.
const MOST_STEPS: usize = 64;

/// From a value to one inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Field(&'static str),
    /// What an `Option` has if it is not `None`.
    Some,
    Element(usize),
    /// Any value of a map.
    Value,
    Variant(usize),
}

/// What a type asked its reader for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Any,
    Bool,
    /// With its name in OpenAPI's registry of formats.
    Integer(&'static str, i128, i128),
    Float(&'static str),
    Char,
    Text,
    Bytes,
    Option,
    Unit,
    Seq,
    Tuple(usize),
    Map,
    Struct(&'static str, &'static [&'static str]),
    Enum(&'static str, &'static [&'static str]),
    UnitVariant,
}

/// A value that stands in for one of a type.
#[derive(Clone, Debug)]
pub(super) enum Sample {
    /// For what takes any value, and for nothing.
    Unit,
    Bool,
    Integer(u64),
    Float,
    Text(&'static str),
    Bytes,
    Nothing,
    Elements(usize),
    Fields(Vec<&'static str>),
    Variant(usize),
}

/// One reading: where it goes, what it does there, and what came of it.
pub(super) struct Reading<'k> {
    pub(super) target: &'k [Step],
    /// What is given to the type at the target; without it, the type is only asked.
    pub(super) given: Option<Sample>,
    /// What is given to types that are read on the way.
    pub(super) known: &'k HashMap<Vec<Step>, Sample>,
    pub(super) kind: Option<Kind>,
    pub(super) outcome: Option<Result<(), Fault>>,
}

/// Why a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was at its target.
    Done,
    Missing(&'static str),
    Duplicate(&'static str),
    UnknownField,
    Other,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Fault::Other
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::Missing(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Fault::Duplicate(field)
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Fault::UnknownField
    }
}

/// The reader at one place.
#[derive(Clone)]
pub(super) struct Asker<'a, 'k> {
    reading: &'a RefCell<Reading<'k>>,
    path: Vec<Step>,
    steps: usize,
}

impl<'a, 'k> Asker<'a, 'k> {
    pub(super) fn new(reading: &'a RefCell<Reading<'k>>) -> Self {
        Asker {
            reading,
            path: Vec::new(),
            steps: 0,
        }
    }

    fn at(&self, step: Step) -> Self {
        let mut inside = self.clone();
        inside.path.push(step);
        inside.steps += 1;
        inside
    }

    /// The next step to the target, where this is on the way there.
    fn next_step(&self) -> Option<Step> {
        let rest = self.reading.borrow().target.strip_prefix(&*self.path)?;
        rest.first().copied()
    }

    fn is_target(&self) -> bool {
        self.reading.borrow().target == self.path
    }

    fn ask<V: Visitor<'static>>(self, kind: Kind, visitor: V) -> Result<V::Value, Fault> {
        if self.steps > MOST_STEPS {
            return Err(Fault::Other);
        }
        if self.is_target() {
            let given = {
                let mut reading = self.reading.borrow_mut();
                reading.kind = Some(kind);
                reading.given.clone()
            };
            if let Some(given) = given {
                let outcome = self.give(&given, visitor).map(drop);
                self.reading.borrow_mut().outcome = Some(outcome);
            }
            return Err(Fault::Done);
        }
        match self.next_step() {
            Some(Step::Some) => visitor.visit_some(self.at(Step::Some)),
            Some(Step::Field(name)) => self.give_fields(vec![name], visitor),
            Some(Step::Value) => visitor.visit_map(Entries {
                keys: vec!["0"],
                given: 0,
                step: |_| Step::Value,
                asker: &self,
            }),
            Some(Step::Element(index)) => self.give(&Sample::Elements(index + 1), visitor),
            Some(Step::Variant(index)) => self.give_variant(kind, index, visitor),
            // Beside the way. Whatever is wrong here is not the target's fault.
            None => {
                let sample = self.reading.borrow().known.get(&self.path).cloned();
                let sample = sample.ok_or(Fault::Other)?;
                let read = match sample {
                    Sample::Variant(index) => self.give_variant(kind, index, visitor),
                    sample => self.give(&sample, visitor),
                };
                read.map_err(|fault| match fault {
                    Fault::Done => Fault::Done,
                    _ => Fault::Other,
                })
            }
        }
    }

    fn give<V: Visitor<'static>>(&self, sample: &Sample, visitor: V) -> Result<V::Value, Fault> {
        match sample {
            Sample::Unit => visitor.visit_unit(),
            Sample::Bool => visitor.visit_bool(false),
            Sample::Integer(value) => visitor.visit_u64(*value),
            Sample::Float => visitor.visit_f64(0.0),
            Sample::Text(text) => visitor.visit_borrowed_str(text),
            Sample::Bytes => visitor.visit_borrowed_bytes(&[]),
            Sample::Nothing => visitor.visit_none(),
            Sample::Elements(count) => visitor.visit_seq(Elements {
                next: 0,
                count: *count,
                asker: self,
            }),
            Sample::Fields(names) => self.give_fields(names.clone(), visitor),
            // It is given where the variants are known.
            Sample::Variant(_) => Err(Fault::Other),
        }
    }

    fn give_fields<V: Visitor<'static>>(
        &self,
        names: Vec<&'static str>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(Entries {
            keys: names,
            given: 0,
            step: Step::Field,
            asker: self,
        })
    }

    fn give_variant<V: Visitor<'static>>(
        &self,
        kind: Kind,
        index: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Kind::Enum(_, variants) = kind else {
            return Err(Fault::Other);
        };
        let name = variants.get(index).copied().ok_or(Fault::Other)?;
        let content = self.at(Step::Variant(index));
        visitor.visit_enum(VariantOf { name, content })
    }
}

struct Entries<'e, 'a, 'k> {
    keys: Vec<&'static str>,
    given: usize,
    step: fn(&'static str) -> Step,
    asker: &'e Asker<'a, 'k>,
}

impl MapAccess<'static> for Entries<'_, '_, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'static>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let key = self.keys.get(self.given);
        self.given += 1;
        let key = key.map(|key| seed.deserialize(BorrowedStrDeserializer::new(key)));
        key.transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let key = self.keys.get(self.given.wrapping_sub(1));
        let key = key.copied().ok_or(Fault::Other)?;
        seed.deserialize(self.asker.at((self.step)(key)))
    }
}

struct Elements<'e, 'a, 'k> {
    next: usize,
    count: usize,
    asker: &'e Asker<'a, 'k>,
}

impl SeqAccess<'static> for Elements<'_, '_, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'static>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        if self.next == self.count {
            return Ok(None);
        }
        self.next += 1;
        let element = self.asker.at(Step::Element(self.next - 1));
        seed.deserialize(element).map(Some)
    }
}

struct VariantOf<'a, 'k> {
    name: &'static str,
    content: Asker<'a, 'k>,
}

impl<'a, 'k> EnumAccess<'static> for VariantOf<'a, 'k> {
    type Error = Fault;
    type Variant = Asker<'a, 'k>;

    fn variant_seed<V: DeserializeSeed<'static>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Fault> {
        let variant = seed.deserialize(BorrowedStrDeserializer::new(self.name))?;
        Ok((variant, self.content))
    }
}

impl VariantAccess<'static> for Asker<'_, '_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        if !self.is_target() {
            return Ok(());
        }
        self.reading.borrow_mut().kind = Some(Kind::UnitVariant);
        Err(Fault::Done)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'static>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'static>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.ask(Kind::Tuple(len), visitor)
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.ask(Kind::Struct("", fields), visitor)
    }
}

macro_rules! ask {
    ($($method:ident: $kind:expr),+ $(,)?) => {$(
        fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.ask($kind, visitor)
        }
    )+};
}

macro_rules! ask_for_integer {
    ($($method:ident: $type:ty, $format:literal),+ $(,)?) => { ask! {$(
        $method: Kind::Integer($format, <$type>::MIN as i128, <$type>::MAX as i128),
    )+} };
}

impl Deserializer<'static> for Asker<'_, '_> {
    type Error = Fault;

    ask_for_integer! {
        deserialize_i8: i8, "int8",
        deserialize_i16: i16, "int16",
        deserialize_i32: i32, "int32",
        deserialize_i64: i64, "int64",
        deserialize_u8: u8, "uint8",
        deserialize_u16: u16, "uint16",
        deserialize_u32: u32, "uint32",
        deserialize_u64: u64, "uint64",
    }

    ask! {
        deserialize_any: Kind::Any,
        deserialize_bool: Kind::Bool,
        deserialize_i128: Kind::Integer("", 0, 0),
        deserialize_u128: Kind::Integer("", 0, 0),
        deserialize_f32: Kind::Float("float"),
        deserialize_f64: Kind::Float("double"),
        deserialize_char: Kind::Char,
        deserialize_str: Kind::Text,
        deserialize_string: Kind::Text,
        deserialize_bytes: Kind::Bytes,
        deserialize_byte_buf: Kind::Bytes,
        deserialize_option: Kind::Option,
        deserialize_unit: Kind::Unit,
        deserialize_seq: Kind::Seq,
        deserialize_map: Kind::Map,
        deserialize_identifier: Kind::Text,
    }

    fn deserialize_ignored_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.ask(Kind::Unit, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        mut self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(Fault::Other);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'static>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.ask(Kind::Tuple(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.ask(Kind::Tuple(len), visitor)
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.ask(Kind::Struct(name, fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.ask(Kind::Enum(name, variants), visitor)
    }
}
