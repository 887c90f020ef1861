//! Decimals: exact or refused, never rounded.

use datafusion::arrow::datatypes::{DataType, i256};
use simd_json::{Node, StaticNode};

/// How many significant digits a JSON number keeps on its way through a double.
const EXACT_DIGITS: u32 = 15;

/// How many digits are read, of whatever type.
const MOST_DIGITS: u32 = 38;

/// A decimal from a number or from a text.
///
/// A JSON number with a fraction has been read as a double, which keeps 15 digits. One that shows
/// more may not be what was sent: it does not fit, and is to be sent as text.
pub(super) fn read(node: &Node<'_>, data_type: &DataType) -> Option<i128> {
    let (DataType::Decimal32(precision, scale)
    | DataType::Decimal64(precision, scale)
    | DataType::Decimal128(precision, scale)
    | DataType::Decimal256(precision, scale)) = data_type
    else {
        return None;
    };
    let scale = u32::try_from(*scale).ok()?;
    let parts = match node {
        Node::Static(StaticNode::I64(value)) => Parts::integer(i128::from(*value)),
        Node::Static(StaticNode::U64(value)) => Parts::integer(i128::from(*value)),
        Node::Static(StaticNode::F64(value)) if value.is_finite() => {
            let parts = Parts::parse(zmij::Buffer::new().format_finite(*value))?;
            (parts.significant() <= EXACT_DIGITS).then_some(parts)?
        }
        Node::String(text) => Parts::parse(text)?,
        _ => return None,
    };
    parts.scaled(u32::from(*precision).min(MOST_DIGITS), scale)
}

/// The same where the type has fewer bits; what has its precision has room.
pub(super) fn narrow<N: TryFrom<i128>>(node: &Node<'_>, data_type: &DataType) -> Option<N> {
    N::try_from(read(node, data_type)?).ok()
}

/// The same where the type has more; beyond 38 digits, its scale included, nothing fits.
pub(super) fn wide(node: &Node<'_>, data_type: &DataType) -> Option<i256> {
    read(node, data_type).map(i256::from_i128)
}

/// `digits * 10^exponent`.
struct Parts {
    digits: i128,
    exponent: i32,
}

impl Parts {
    fn integer(digits: i128) -> Self {
        let exponent = 0;
        Parts { digits, exponent }
    }

    /// Of `-12.50e3`. More than 38 significant digits are too many for any decimal.
    fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, unsigned) = match number.as_bytes().first()? {
            b'-' => (true, &number[1..]),
            b'+' => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        // Zeros at the end of the fraction say nothing, and there may be any number of them.
        let fraction = fraction.trim_end_matches('0');
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
            digits = digits.checked_mul(10)?.checked_add(digit)?;
        }
        let fraction_digits = i32::try_from(fraction.len()).ok()?;
        Some(Parts {
            digits: if negative { -digits } else { digits },
            exponent: exponent.checked_sub(fraction_digits)?,
        })
    }

    /// How many digits there are between the first and the last that is not zero.
    fn significant(&self) -> u32 {
        let mut digits = self.digits;
        while digits != 0 && digits % 10 == 0 {
            digits /= 10;
        }
        digits
            .checked_abs()
            .and_then(i128::checked_ilog10)
            .map_or(0, |log| log + 1)
    }

    /// The decimal in units of `10^-scale`, when it is one of at most `precision` digits, exactly.
    fn scaled(mut self, precision: u32, scale: u32) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        let shift = self.exponent.checked_add(i32::try_from(scale).ok()?)?;
        if shift < 0 {
            for _ in 0..shift.unsigned_abs() {
                if self.digits % 10 != 0 {
                    return None;
                }
                self.digits /= 10;
            }
        } else {
            let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
            self.digits = self.digits.checked_mul(factor)?;
        }
        let bound = 10_i128.checked_pow(precision)?;
        (-bound < self.digits && self.digits < bound).then_some(self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let big = "99999999999999999999999999999999999999";
        let negative = format!("-{big}");
        let max = 10_i128.pow(38) - 1;
        for (text, precision, scale, expected) in [
            ("5", 5, 2, Some(500)),
            ("5.00", 5, 2, Some(500)),
            ("-5.25", 5, 2, Some(-525)),
            ("+.5", 5, 2, Some(50)),
            ("5.", 5, 2, Some(500)),
            ("1e2", 5, 2, Some(10_000)),
            ("125e-2", 5, 2, Some(125)),
            (
                "1.230000000000000000000000000000000000000000000000",
                5,
                2,
                Some(123),
            ),
            ("0e999999999", 5, 2, Some(0)),
            ("999.99", 5, 2, Some(99_999)),
            ("1000", 5, 2, None),
            ("0.001", 5, 2, None),
            ("1e999999999", 5, 2, None),
            ("1e-999999999", 5, 2, None),
            ("1e99999999999", 5, 2, None),
            (big, 38, 0, Some(max)),
            (negative.as_str(), 38, 0, Some(-max)),
            ("100000000000000000000000000000000000000", 38, 0, None),
            ("", 5, 2, None),
            (".", 5, 2, None),
            ("-", 5, 2, None),
            ("1 ", 5, 2, None),
            ("١", 5, 2, None),
            ("0x1", 5, 2, None),
        ] {
            let decimal = DataType::Decimal128(precision, scale);
            assert_eq!(read(&Node::String(text), &decimal), expected, "{text:?}");
        }
    }

    #[test]
    fn a_number_with_more_digits_than_a_double_keeps_is_refused() {
        let decimal = DataType::Decimal128(38, 20);
        let read = |value| read(&Node::Static(StaticNode::F64(value)), &decimal);
        assert_eq!(read(0.1), Some(10_i128.pow(19)));
        assert_eq!(read(1.5e10), Some(15 * 10_i128.pow(29)));
        assert_eq!(read(0.123_456_789_012_345_67), None);
        assert_eq!(read(f64::NAN), None);
    }
}
