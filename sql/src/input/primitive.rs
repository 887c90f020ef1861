//! Columns of values of a fixed width.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, NullBufferBuilder,
    PrimitiveArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use simd_json::{Node, StaticNode};

use super::column::{Column, Fit};
use super::fault::Fault;
use super::tape::Value;
use super::{decimal, time};

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// How a value is read from its node; `None` when it does not fit the type.
type Read<T> = fn(&Node<'_>, &DataType) -> Option<<T as ArrowPrimitiveType>::Native>;

struct PrimitiveColumn<T: ArrowPrimitiveType> {
    data_type: DataType,
    read: Read<T>,
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> PrimitiveColumn<T> {
    fn boxed(data_type: &DataType, read: Read<T>) -> Box<dyn Column> {
        Box::new(PrimitiveColumn::<T> {
            data_type: data_type.clone(),
            read,
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        })
    }
}

impl<T: ArrowPrimitiveType> Column for PrimitiveColumn<T> {
    fn push(&mut self, value: Value<'_, '_>, _how: Fit) -> Result<(), Fault> {
        let read = value
            .first()
            .and_then(|node| (self.read)(node, &self.data_type));
        let read = read.ok_or_else(|| Fault::unfit(&self.data_type, value))?;
        self.values.push(read);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn is_null(&self, row: usize) -> bool {
        !self.nulls.is_valid(row)
    }

    fn finish(&mut self) -> ArrayRef {
        let next = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, next);
        let array = PrimitiveArray::<T>::new(values.into(), self.nulls.finish());
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}

/// Bits, which are no primitive to Arrow.
pub(super) struct BooleanColumn {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for BooleanColumn {
    fn default() -> Self {
        BooleanColumn {
            values: BooleanBufferBuilder::new(0),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl Column for BooleanColumn {
    fn push(&mut self, value: Value<'_, '_>, _how: Fit) -> Result<(), Fault> {
        let [Node::Static(StaticNode::Bool(bit)), ..] = value else {
            return Err(Fault::unfit(&DataType::Boolean, value));
        };
        self.values.append(*bit);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn is_null(&self, row: usize) -> bool {
        !self.nulls.is_valid(row)
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}

/// A column of numbers, dates or times.
pub(super) fn column(data_type: &DataType) -> Box<dyn Column> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};

    fn new<T: ArrowPrimitiveType>(data_type: &DataType, read: Read<T>) -> Box<dyn Column> {
        PrimitiveColumn::<T>::boxed(data_type, read)
    }

    match data_type {
        DataType::Int8 => new::<Int8Type>(data_type, integer),
        DataType::Int16 => new::<Int16Type>(data_type, integer),
        DataType::Int32 => new::<Int32Type>(data_type, integer),
        DataType::Int64 => new::<Int64Type>(data_type, integer),
        DataType::UInt8 => new::<UInt8Type>(data_type, integer),
        DataType::UInt16 => new::<UInt16Type>(data_type, integer),
        DataType::UInt32 => new::<UInt32Type>(data_type, integer),
        DataType::UInt64 => new::<UInt64Type>(data_type, integer),
        DataType::Float16 => new::<Float16Type>(data_type, float16),
        DataType::Float32 => new::<Float32Type>(data_type, float32),
        DataType::Float64 => new::<Float64Type>(data_type, float64),
        DataType::Decimal32(..) => new::<Decimal32Type>(data_type, decimal::narrow),
        DataType::Decimal64(..) => new::<Decimal64Type>(data_type, decimal::narrow),
        DataType::Decimal128(..) => new::<Decimal128Type>(data_type, decimal::read),
        DataType::Decimal256(..) => new::<Decimal256Type>(data_type, decimal::wide),
        DataType::Date32 => new::<Date32Type>(data_type, time::date),
        DataType::Date64 => new::<Date64Type>(data_type, time::date_in_ms),
        DataType::Time32(Second) => new::<Time32SecondType>(data_type, time::second_of_day),
        DataType::Time32(_) => new::<Time32MillisecondType>(data_type, time::ms_of_day),
        DataType::Time64(Nanosecond) => new::<Time64NanosecondType>(data_type, time::ns_of_day),
        DataType::Time64(_) => new::<Time64MicrosecondType>(data_type, time::us_of_day),
        DataType::Timestamp(Second, _) => new::<TimestampSecondType>(data_type, time::timestamp),
        DataType::Timestamp(Millisecond, _) => {
            new::<TimestampMillisecondType>(data_type, time::timestamp)
        }
        DataType::Timestamp(Microsecond, _) => {
            new::<TimestampMicrosecondType>(data_type, time::timestamp)
        }
        DataType::Timestamp(Nanosecond, _) => {
            new::<TimestampNanosecondType>(data_type, time::timestamp)
        }
        other => unreachable!("the schema let {other} pass, which has no column"),
    }
}

/// An integer within the bounds of its type; `1.0` is none, and neither is `"1"`.
fn integer<N: TryFrom<i64> + TryFrom<u64>>(node: &Node<'_>, _: &DataType) -> Option<N> {
    match node {
        Node::Static(StaticNode::I64(value)) => N::try_from(*value).ok(),
        Node::Static(StaticNode::U64(value)) => N::try_from(*value).ok(),
        _ => None,
    }
}

/// A number, or one of the three that JSON has no number for, as Spark writes them.
fn float64(node: &Node<'_>, _: &DataType) -> Option<f64> {
    match node {
        Node::Static(StaticNode::F64(value)) => Some(*value),
        #[expect(clippy::cast_precision_loss, reason = "the nearest float, as of `1e3`")]
        Node::Static(StaticNode::I64(value)) => Some(*value as f64),
        #[expect(clippy::cast_precision_loss, reason = "the nearest float, as of `1e3`")]
        Node::Static(StaticNode::U64(value)) => Some(*value as f64),
        Node::String("NaN") => Some(f64::NAN),
        Node::String("Infinity") => Some(f64::INFINITY),
        Node::String("-Infinity") => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The nearest single; a number beyond the largest is not infinite, it does not fit.
fn float32(node: &Node<'_>, data_type: &DataType) -> Option<f32> {
    let wide = float64(node, data_type)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the nearest float is meant"
    )]
    let narrow = wide as f32;
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}

/// The nearest half; as with [`float32`], a number beyond the largest does not fit.
fn float16(node: &Node<'_>, data_type: &DataType) -> Option<Half> {
    let wide = float64(node, data_type)?;
    let narrow = Half::from_f64(wide);
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}
