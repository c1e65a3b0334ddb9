//! The value of one field of one row, whatever its Rust type: what filters compare, diffs look at and the wire shows.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde_json::Value as Json;

/// A field's value, borrowed from the model where it can be.
///
/// A value of an enum is the [`Text`](Value::Text) that serde writes for its variant.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// SQL `NULL`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of any width up to 64 bits.
    Int(i64),
    /// A double; NaN equals itself and orders last.
    Float(f64),
    /// Text, or the name of an enum's variant.
    Text(Cow<'a, str>),
    /// A point in time in UTC. A timestamp without a zone is one in UTC.
    Timestamp(DateTime<Utc>),
    /// A day of the calendar.
    Date(NaiveDate),
    /// A time of day.
    Time(NaiveTime),
    /// Bytes; on the wire in base64.
    Bytes(Cow<'a, [u8]>),
    /// A UUID.
    Uuid(uuid::Uuid),
    /// A decimal number; on the wire a string. Equal numbers may have different places.
    Decimal(rust_decimal::Decimal),
    /// JSON, which has no order.
    Json(Cow<'a, Json>),
}

impl<'a> Value<'a> {
    /// Is this SQL `NULL`?
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The bytes that its text takes beside it, about.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Json(json) => json_weight(json),
            _ => 0,
        }
    }

    /// The same value, owning its text.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(value) => Value::Text(Cow::Owned(value.into_owned())),
            Self::Timestamp(value) => Value::Timestamp(value),
            Self::Date(value) => Value::Date(value),
            Self::Time(value) => Value::Time(value),
            Self::Bytes(value) => Value::Bytes(Cow::Owned(value.into_owned())),
            Self::Uuid(value) => Value::Uuid(value),
            Self::Decimal(value) => Value::Decimal(value),
            Self::Json(value) => Value::Json(Cow::Owned(value.into_owned())),
        }
    }

    /// The same value, borrowing its text from this one.
    pub fn as_borrowed(&self) -> Value<'_> {
        match self {
            Self::Text(value) => Value::Text(Cow::Borrowed(value)),
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Timestamp(value) => Value::Timestamp(*value),
            Self::Date(value) => Value::Date(*value),
            Self::Time(value) => Value::Time(*value),
            Self::Bytes(value) => Value::Bytes(Cow::Borrowed(value)),
            Self::Uuid(value) => Value::Uuid(*value),
            Self::Decimal(value) => Value::Decimal(*value),
            Self::Json(value) => Value::Json(Cow::Borrowed(value)),
        }
    }

    /// Would both be written as the same JSON?
    ///
    /// Finer than [`Value::compare`]: `-0.0` and `0.0`, and the decimals `12.5` and `12.50`, compare as equal but are
    /// written differently, so a diff must tell them apart. JSON is the same if its structure is.
    pub fn is_same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Float(left), Value::Float(right)) => {
                left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
            }
            (Self::Null, Value::Null) => true,
            (Self::Decimal(left), Value::Decimal(right)) => left == right && left.scale() == right.scale(),
            (Self::Json(left), Value::Json(right)) => is_same_json(left, right),
            (Self::Null, Value::Json(json)) | (Self::Json(json), Value::Null) => json.is_null(),
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// Orders two values of one kind; `None` where either is `NULL` or the kinds differ.
    ///
    /// Text is ordered by code point, `NaN` is greater than every other number and equal to itself.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            (Self::Int(left), Value::Int(right)) => Some(left.cmp(right)),
            (Self::Float(left), Value::Float(right)) => Some(compare_floats(*left, *right)),
            // UTF-8 compares bytewise as its code points do.
            (Self::Text(left), Value::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
            (Self::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
            (Self::Date(left), Value::Date(right)) => Some(left.cmp(right)),
            (Self::Time(left), Value::Time(right)) => Some(left.cmp(right)),
            (Self::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
            (Self::Uuid(left), Value::Uuid(right)) => Some(left.cmp(right)),
            (Self::Decimal(left), Value::Decimal(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// Appends the value as JSON.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Float(value) => write_float(*value, out),
            Self::Text(value) => write_text(value, out),
            Self::Timestamp(value) => {
                out.push('"');
                out.push_str(&value.to_rfc3339_opts(SecondsFormat::AutoSi, true));
                out.push('"');
            }
            // Neither has a character that JSON would escape.
            Self::Date(value) => {
                let _ = write!(out, "\"{value}\"");
            }
            Self::Time(value) => {
                let _ = write!(out, "\"{value}\"");
            }
            Self::Bytes(value) => {
                out.push('"');
                STANDARD.encode_string(value, out);
                out.push('"');
            }
            Self::Uuid(value) => {
                let _ = write!(out, "\"{}\"", value.as_hyphenated());
            }
            Self::Decimal(value) => {
                let _ = write!(out, "\"{value}\"");
            }
            Self::Json(value) => {
                let _ = write!(out, "{value}");
            }
        }
    }

    /// The value as a JSON value: what [`Value::write_json`] writes, read back.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) if value.is_finite() => Json::from(*value),
            Self::Float(value) => Json::from(non_finite(*value)),
            Self::Text(value) => Json::from(value.as_ref()),
            Self::Timestamp(value) => Json::from(value.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Date(value) => Json::from(value.to_string()),
            Self::Time(value) => Json::from(value.to_string()),
            Self::Bytes(value) => Json::from(STANDARD.encode(value)),
            Self::Uuid(value) => Json::from(value.as_hyphenated().to_string()),
            Self::Decimal(value) => Json::from(value.to_string()),
            Self::Json(value) => value.as_ref().clone(),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// Total order of doubles as PostgreSQL has it: `-0.0 == 0.0`, `NaN == NaN`, `NaN` last.
pub(crate) fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// Structural equality in which `1` is not `1.0` and `-0.0` not `0.0`; the order of members does not count.
fn is_same_json(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) if left.is_f64() && right.is_f64() => {
            left.as_f64().map(f64::to_bits) == right.as_f64().map(f64::to_bits)
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same_json(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, left)| right.get(name).is_some_and(|right| is_same_json(left, right)))
        }
        _ => left == right,
    }
}

/// Is U+0000 in a text of it, or in a name?
pub(crate) fn json_has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(elements) => elements.iter().any(json_has_nul),
        Json::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || json_has_nul(value))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn write_float(value: f64, out: &mut String) {
    match serde_json::Number::from_f64(value) {
        Some(number) => {
            let _ = write!(out, "{number}");
        }
        // JSON has no such number; a database may hold one all the same.
        None => write_text(non_finite(value), out),
    }
}

/// Appends a JSON string, quotes included.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[start..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        start = at + 1;
    }
    out.push_str(&text[start..]);
    out.push('"');
}

/// The bytes that a JSON value takes, about.
fn json_weight(json: &Json) -> usize {
    size_of::<Json>()
        + match json {
            Json::String(text) => text.len(),
            Json::Array(values) => values.iter().map(json_weight).sum(),
            Json::Object(members) => {
                members.iter().map(|(name, value)| name.len() + json_weight(value)).sum()
            }
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_as_serde_json_writes_it() {
        for text in ["", "plain", "q\"b\\", "\u{0}\u{1}\u{8}\t\n\u{c}\r\u{1f} \u{7f} é ß 😀", "\u{2028}"]
        {
            let mut out = String::new();
            Value::Text(text.into()).write_json(&mut out);
            assert_eq!(out, serde_json::to_string(text).expect("a string is JSON"));
        }
    }

    #[test]
    fn numbers_survive_the_wire_bit_for_bit() {
        for number in [0.0, -0.0, 0.1, 1.0, 1e300, 5e-324, f64::MAX, 2f64.powi(60), 1.0 / 3.0] {
            let mut out = String::new();
            Value::Float(number).write_json(&mut out);
            let back: f64 = serde_json::from_str(&out).expect("a number");
            assert_eq!(back.to_bits(), number.to_bits(), "{out}");
        }
        for (number, text) in
            [(f64::NAN, "\"NaN\""), (f64::INFINITY, "\"Infinity\""), (f64::NEG_INFINITY, "\"-Infinity\"")]
        {
            let mut out = String::new();
            Value::Float(number).write_json(&mut out);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn a_diff_tells_zeros_apart_and_an_order_does_not() {
        assert!(!Value::Float(0.0).is_same(&Value::Float(-0.0)));
        assert_eq!(Value::Float(0.0).compare(&Value::Float(-0.0)), Some(Ordering::Equal));
        assert!(Value::Float(f64::NAN).is_same(&Value::Float(f64::NAN)));
        assert!(Value::Null.is_same(&Value::Null));
        assert_eq!(Value::Null.compare(&Value::Null), None);
    }
}
