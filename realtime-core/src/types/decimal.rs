//! Decimal numbers as fields.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
#[cfg(feature = "sqlite")]
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use diesel::{
    deserialize::{self, FromSql},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Text,
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
    #[cfg(feature = "sqlite")]
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

#[cfg(feature = "sqlite")]
impl FromSql<Text, Sqlite> for Decimal {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        <Self as FromSql<sql::DecimalNumber, Sqlite>>::from_sql(value)
    }
}

#[cfg(feature = "sqlite")]
impl ToSql<Text, Sqlite> for Decimal {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        <Self as ToSql<sql::DecimalNumber, Sqlite>>::to_sql(self, out)
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    //! PostgreSQL keeps four digits in sixteen bits, as many as are needed.

    use std::io::Write as _;

    use diesel::data_types::PgNumeric;
    use diesel::pg::{Pg, PgValue};
    use diesel::sql_types::Numeric;

    use super::*;

    /// Digits before the point and behind it of a number that cannot be kept with all its places.
    const DIGITS: usize = 28;

    /// A number of more digits than can be kept is rounded as `realtime_decimal` rounds it, half away from zero to
    /// twenty-eight digits; one that is too great is an error.
    fn from_numeric(numeric: &PgNumeric) -> Result<Decimal, NotADecimal> {
        let (is_negative, weight, scale, groups) = match numeric {
            PgNumeric::Positive { weight, scale, digits } => (false, *weight, *scale, digits),
            PgNumeric::Negative { weight, scale, digits } => (true, *weight, *scale, digits),
            PgNumeric::NaN => return Err(NotADecimal::Malformed),
        };
        let group = |power: i32| {
            let at = usize::try_from(i32::from(weight) - power).ok();
            at.and_then(|at| groups.get(at)).copied().unwrap_or(0)
        };
        let mut digits = String::new();
        for power in (0..=i32::from(weight)).rev() {
            digits.push_str(&format!("{:04}", group(power)));
        }
        let whole = digits.len();
        for power in 1..=i32::from(scale).div_euclid(4) + 1 {
            digits.push_str(&format!("{:04}", group(-power)));
        }
        digits.truncate(whole + usize::from(scale));
        from_digits(is_negative, &digits, whole)
    }

    /// As PostgreSQL casts text to `numeric`: other programs may store exponents.
    fn from_text(text: &str) -> Result<Decimal, NotADecimal> {
        /// Beyond it every number is too great or nothing.
        const FAR: i32 = 1_000;
        let text = text.trim();
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.parse::<i32>().map_err(|_| NotADecimal::Malformed)?)
            }
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(NotADecimal::Malformed);
        }
        let shift = usize::try_from(exponent.clamp(-FAR, FAR).unsigned_abs()).unwrap_or_default();
        let mut point = whole.len();
        if exponent < 0 {
            digits.insert_str(0, &"0".repeat(shift));
        } else {
            digits.push_str(&"0".repeat(shift.saturating_sub(fraction.len())));
            point += shift;
        }
        from_digits(is_negative, &digits, point)
    }

    /// The number of decimal digits, so many of them before the point.
    fn from_digits(is_negative: bool, digits: &str, whole: usize) -> Result<Decimal, NotADecimal> {
        let leading = digits[..whole].len() - digits[..whole].trim_start_matches('0').len();
        let (digits, whole) = (&digits[leading..], whole - leading);
        let number = |digits: &str, places: usize| {
            let mantissa: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
            let mantissa = if is_negative { -mantissa } else { mantissa };
            rust_decimal::Decimal::try_from_i128_with_scale(mantissa, u32::try_from(places).ok()?).ok()
        };
        // A number of this length at most can be kept, unless zeros are at its end.
        let shortest = digits.trim_end_matches('0').len().max(whole);
        let longest = digits.len().min(whole + DIGITS).max(shortest);
        let kept = (shortest..=longest).rev().find_map(|end| number(&digits[..end], end - whole));
        let kept = kept.or_else(|| {
            let end = DIGITS.max(whole);
            let rounds_up = digits.as_bytes().get(end).is_some_and(|digit| *digit >= b'5');
            let mantissa: u128 = digits.get(..end)?.parse().ok()?;
            number(&(mantissa + u128::from(rounds_up)).to_string(), end - whole)
        });
        kept.map(|number| Decimal(Decimal(number).without_negative_zero())).ok_or(NotADecimal::OutOfRange)
    }

    fn to_numeric(number: Decimal) -> PgNumeric {
        const BASE: u128 = 10_000;
        let places = number.0.scale();
        // Groups of four begin at the point. At most 96 bits, so there is room for three digits more.
        let mut rest = number.0.mantissa().unsigned_abs() * 10_u128.pow((4 - places % 4) % 4);
        let mut digits = Vec::new();
        while rest > 0 {
            digits.push(i16::try_from(rest % BASE).unwrap_or_default());
            rest /= BASE;
        }
        digits.reverse();
        let length = i16::try_from(digits.len()).unwrap_or_default();
        let behind_the_point = i16::try_from(places.div_ceil(4)).unwrap_or_default();
        let weight = if digits.is_empty() { 0 } else { length - behind_the_point - 1 };
        let scale = u16::try_from(places).unwrap_or_default();
        if number.0.is_sign_negative() && !number.0.is_zero() {
            PgNumeric::Negative { weight, scale, digits }
        } else {
            PgNumeric::Positive { weight, scale, digits }
        }
    }

    impl FromSql<Numeric, Pg> for Decimal {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            Ok(from_numeric(&PgNumeric::from_sql(value)?)?)
        }
    }

    impl ToSql<Numeric, Pg> for Decimal {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            ToSql::<Numeric, Pg>::to_sql(&to_numeric(*self), &mut out.reborrow())
        }
    }

    impl FromSql<sql::DecimalNumber, Pg> for Decimal {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            <Self as FromSql<Numeric, Pg>>::from_sql(value)
        }
    }

    impl ToSql<sql::DecimalNumber, Pg> for Decimal {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            <Self as ToSql<Numeric, Pg>>::to_sql(self, out)
        }
    }

    impl FromSql<Text, Pg> for Decimal {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            Ok(from_text(std::str::from_utf8(value.as_bytes())?)?)
        }
    }

    impl ToSql<Text, Pg> for Decimal {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            write!(out, "{self}")?;
            Ok(IsNull::No)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// The groups of a number, as PostgreSQL would send it.
        fn numeric(text: &str) -> PgNumeric {
            let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let scale = u16::try_from(fraction.len()).expect("few places");
            let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
            let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
            let all = format!("{whole}{fraction}");
            let groups = all
                .as_bytes()
                .chunks(4)
                .map(|group| std::str::from_utf8(group).expect("digits").parse().expect("a group of digits"));
            let mut digits: Vec<i16> = groups.collect();
            let mut weight = i16::try_from(whole.len() / 4).expect("few groups") - 1;
            while digits.first() == Some(&0) {
                digits.remove(0);
                weight -= 1;
            }
            while digits.last() == Some(&0) {
                digits.pop();
            }
            if digits.is_empty() {
                weight = 0;
            }
            if is_negative {
                PgNumeric::Negative { weight, scale, digits }
            } else {
                PgNumeric::Positive { weight, scale, digits }
            }
        }

        #[track_caller]
        fn check(text: &str, expected: &str) {
            for read in [from_numeric(&numeric(text)), from_text(text)] {
                assert_eq!(read.map(|number| number.to_string()).as_deref(), Ok(expected), "{text}");
            }
        }

        #[test]
        fn what_can_be_kept_is_kept_and_written_back() {
            for text in [
                "0",
                "0.00",
                "1",
                "-1",
                "12.50",
                "-12.5",
                "0.0001",
                "0.00010",
                "10000",
                "9999.9999",
                "123456789.1",
                "-0.0000000000000000000000000001",
                "7.9228162514264337593543950335",
                "79228162514264337593543950335",
                "-79228162514264337593543950335",
                "100000000",
            ] {
                check(text, text);
                let number: Decimal = text.parse().expect(text);
                let back = from_numeric(&to_numeric(number)).expect(text);
                assert_eq!(back.to_string(), text);
                assert_eq!(to_numeric(number).clone(), trimmed(numeric(text)), "{text}");
            }
        }

        /// The server drops trailing groups of zeros, and does not need them dropped.
        fn trimmed(numeric: PgNumeric) -> PgNumeric {
            match numeric {
                PgNumeric::Positive { weight, scale, digits } => padded(false, weight, scale, digits),
                PgNumeric::Negative { weight, scale, digits } => padded(true, weight, scale, digits),
                PgNumeric::NaN => PgNumeric::NaN,
            }
        }

        fn padded(is_negative: bool, weight: i16, scale: u16, mut digits: Vec<i16>) -> PgNumeric {
            if !digits.is_empty() {
                let wanted = weight + 1 + i16::try_from(scale.div_ceil(4)).expect("few places");
                digits.resize(usize::try_from(wanted).expect("groups"), 0);
            }
            if is_negative {
                PgNumeric::Negative { weight, scale, digits }
            } else {
                PgNumeric::Positive { weight, scale, digits }
            }
        }

        #[test]
        fn what_cannot_be_kept_is_rounded_or_refused() {
            check("1.50000000000000000000000000000000", "1.5000000000000000000000000000");
            check("0.33333333333333333333333333333", "0.3333333333333333333333333333");
            check("0.66666666666666666666666666666", "0.6666666666666666666666666667");
            check("-0.00000000000000000000000000005", "-0.0000000000000000000000000001");
            check("0.00000000000000000000000000004", "0.0000000000000000000000000000");
            check("12.345678901234567890123456789012", "12.34567890123456789012345679");
            check("9.99999999999999999999999999999", "10.000000000000000000000000000");
            check("79228162514264337593543950334.5", "79228162514264337593543950335");
            for text in ["79228162514264337593543950336", "79228162514264337593543950335.5", &"9".repeat(40)]
            {
                assert_eq!(from_numeric(&numeric(text)), Err(NotADecimal::OutOfRange), "{text}");
            }
            assert_eq!(from_numeric(&PgNumeric::NaN), Err(NotADecimal::Malformed));
        }

        #[test]
        fn text_may_have_an_exponent() {
            for (text, expected) in [
                ("1e2", Ok("100")),
                ("-1.25E1", Ok("-12.5")),
                ("+12.5e-3", Ok("0.0125")),
                ("1.25e1", Ok("12.5")),
                (" 1e-9 ", Ok("0.000000001")),
                ("1e-99999", Ok("0.0000000000000000000000000000")),
                ("0e99999", Ok("0")),
                ("1e40", Err(NotADecimal::OutOfRange)),
                ("1e99999", Err(NotADecimal::OutOfRange)),
                ("NaN", Err(NotADecimal::Malformed)),
                ("", Err(NotADecimal::Malformed)),
                ("1e", Err(NotADecimal::Malformed)),
                ("1_0", Err(NotADecimal::Malformed)),
            ] {
                let read = from_text(text).map(|number| number.to_string());
                assert_eq!(read, expected.map(str::to_owned), "{text:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sqlite")]
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
