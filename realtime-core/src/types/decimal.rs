//! Decimal numbers as fields.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
#[cfg(feature = "sqlite")]
use diesel::{
    deserialize::{self, FromSql},
    serialize::{self, IsNull, Output, ToSql},
    sqlite::{Sqlite, SqliteType, SqliteValue},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sql;

/// A decimal number of at most 28 places and 96 bits, which keeps the places it was written with: `12.50`.
///
/// Around `rust_decimal` rather than `bigdecimal`: a number is sixteen bytes without an allocation, however it was
/// written, so that no client's argument can make it large; every one has an image of the same length that is ordered
/// as the numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql::DecimalNumber)]
pub struct Decimal(pub rust_decimal::Decimal);

/// A text is no decimal number, or none that [`Decimal`] can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotADecimal {
    /// Something else than digits, perhaps with a sign and a point.
    #[error("not a decimal number")]
    Malformed,
    /// More digits than can be kept.
    #[error("a decimal number of more digits than can be kept")]
    OutOfRange,
}

impl Decimal {
    /// Reads a JSON number, which may have an exponent.
    ///
    /// # Errors
    /// Where the number cannot be kept exactly.
    pub fn from_number(number: &serde_json::Number) -> Result<Self, NotADecimal> {
        Self::from_any(&number.to_string())
    }

    /// Reads digits with or without an exponent, all of which must be kept.
    fn from_any(text: &str) -> Result<Self, NotADecimal> {
        if !text.contains(['e', 'E']) {
            return text.parse();
        }
        let number = rust_decimal::Decimal::from_scientific(text).map_err(|_| NotADecimal::OutOfRange)?;
        Ok(Self(Self(number).without_negative_zero()))
    }

    /// Twenty-five bytes that are ordered as the numbers are, the same for `12.5` and `12.50`.
    pub(crate) fn comparable(self) -> Vec<u8> {
        let magnitude = self.0.abs();
        let whole = magnitude.trunc();
        let mut fraction = magnitude.fract();
        // Below one, so there is room for all places.
        fraction.rescale(28);
        let is_negative = self.0.is_sign_negative() && !self.0.is_zero();
        let mut bytes = vec![u8::from(!is_negative)];
        for part in [whole, fraction] {
            // Twelve bytes hold any mantissa.
            bytes.extend_from_slice(&part.mantissa().to_be_bytes()[4..]);
        }
        if is_negative {
            for byte in &mut bytes[1..] {
                *byte = !*byte;
            }
        }
        bytes
    }

    /// The same number; a negative zero is zero.
    pub(crate) fn without_negative_zero(self) -> rust_decimal::Decimal {
        if self.0.is_zero() { self.0.abs() } else { self.0 }
    }
}

impl Deref for Decimal {
    type Target = rust_decimal::Decimal;

    fn deref(&self) -> &rust_decimal::Decimal {
        &self.0
    }
}

impl From<rust_decimal::Decimal> for Decimal {
    fn from(number: rust_decimal::Decimal) -> Self {
        Self(number)
    }
}

impl From<Decimal> for rust_decimal::Decimal {
    fn from(number: Decimal) -> Self {
        number.0
    }
}

/// Plain digits with as many places as the number was given.
impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.without_negative_zero().fmt(formatter)
    }
}

/// The form on the wire: `-12.50`. No exponent, no `+`, digits on both sides of the point.
impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // The crate's own parser also takes "1_000", ".5" and "5.".
        if !is_number(whole) || !is_number(fraction) {
            return Err(NotADecimal::Malformed);
        }
        let number = rust_decimal::Decimal::from_str_exact(text).map_err(|_| NotADecimal::OutOfRange)?;
        Ok(Self(Self(number).without_negative_zero()))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Other programs may store numbers. Places that cannot be kept are rounded; a number that is too great is an error.
#[cfg(feature = "sqlite")]
impl FromSql<sql::DecimalNumber, Sqlite> for Decimal {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let text = match value.value_type() {
            Some(SqliteType::Long) => return Ok(Self(value.read_long().into())),
            // The shortest digits that lead back to the double: 0.1 is 0.1.
            Some(SqliteType::Double) => value.read_double().to_string(),
            _ => value.read_text().to_owned(),
        };
        let number = match Self::from_any(&text) {
            Ok(number) => number.0,
            Err(NotADecimal::OutOfRange) => text.parse::<rust_decimal::Decimal>()?,
            Err(error) => return Err(error.into()),
        };
        Ok(Self(Self(number).without_negative_zero()))
    }
}

#[cfg(feature = "sqlite")]
impl ToSql<sql::DecimalNumber, Sqlite> for Decimal {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.to_string());
        Ok(IsNull::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_ordered_as_the_numbers_are() {
        let texts = [
            "-79228162514264337593543950335",
            "-12.51",
            "-12.5",
            "-1",
            "-0.0000000000000000000000000001",
            "0",
            "0.0000000000000000000000000001",
            "0.9999999999999999999999999999",
            "1",
            "7.9228162514264337593543950335",
            "10",
            "79228162514264337593543950335",
        ];
        let images: Vec<Vec<u8>> =
            texts.iter().map(|text| text.parse::<Decimal>().expect(text).comparable()).collect();
        assert!(images.is_sorted_by(|left, right| left < right), "{images:?}");
        for (left, right) in [("12.5", "12.50"), ("0", "-0.000"), ("-3", "-3.0")] {
            let image = |text: &str| text.parse::<Decimal>().expect(text).comparable();
            assert_eq!(image(left), image(right));
        }
    }

    #[test]
    fn only_the_form_of_the_wire_is_read() {
        for text in ["", "-", "+1", ".5", "5.", "1_000", "1e3", " 1", "1 ", "NaN", "0x1", "--1", "1.2.3", "١"]
        {
            assert_eq!(text.parse::<Decimal>(), Err(NotADecimal::Malformed), "{text:?}");
        }
        for text in ["79228162514264337593543950336", "0.00000000000000000000000000001"] {
            assert_eq!(text.parse::<Decimal>(), Err(NotADecimal::OutOfRange), "{text:?}");
        }
        assert_eq!("-0.00".parse::<Decimal>().expect("zero").to_string(), "0.00");
        assert_eq!("012.50".parse::<Decimal>().expect("a number").to_string(), "12.50");
    }
}
