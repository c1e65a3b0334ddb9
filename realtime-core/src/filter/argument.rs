//! From what a client sent to a value of a field's kind.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use serde_json::Value as Json;

use crate::error::{clipped, shown};
use crate::field::Kind;
use crate::types::{Decimal, NotADecimal, Uuid};
use crate::value::Value;

/// A filter's argument: a value, or an integer that no row of the column can have.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Value(Value<'static>),
    /// Below every value of the column.
    Below,
    /// Above every value of the column.
    Above,
}

/// Reads a filter's argument. Strings of the type's form are accepted, so that a query string and JSON mean the same.
///
/// The error is a sentence about the value.
pub(super) fn parse_operand(kind: Kind, json: &Json) -> Result<Operand, String> {
    if let Kind::Integer { min, max } = kind {
        return integer(json).map(|number| match i64::try_from(number) {
            Ok(number) if number < min => Operand::Below,
            Ok(number) if number > max => Operand::Above,
            Ok(number) => Operand::Value(Value::Int(number)),
            Err(_) if number < 0 => Operand::Below,
            Err(_) => Operand::Above,
        });
    }
    lenient(kind, json).map(Operand::Value)
}

/// `true`, or `"true"`.
pub(super) fn boolean(json: &Json) -> Result<bool, String> {
    match json {
        Json::Bool(yes) => Ok(*yes),
        Json::String(text) if text == "true" || text == "false" => Ok(text == "true"),
        _ => Err("Must be a valid boolean; the choices are true, false.".into()),
    }
}

fn lenient(kind: Kind, json: &Json) -> Result<Value<'static>, String> {
    match (kind, json) {
        (Kind::Bool, json) => boolean(json).map(Value::Bool),
        (Kind::Float, Json::String(text)) => match text.as_str() {
            "NaN" => Ok(Value::Float(f64::NAN)),
            "Infinity" => Ok(Value::Float(f64::INFINITY)),
            "-Infinity" => Ok(Value::Float(f64::NEG_INFINITY)),
            // Rust's parser would also take "inf", "nan" and "+1": only what the type's form on the wire is counts.
            text => match serde_json::from_str::<f64>(text) {
                Ok(number) if number.is_finite() => Ok(Value::Float(number)),
                _ => Err("A valid number is required.".into()),
            },
        },
        (Kind::Decimal, Json::Number(number)) => {
            // Up to fifteen digits a double keeps what was written; of more it may be another number.
            let digits = number.to_string();
            let digits = digits.split('e').next().unwrap_or_default().trim_start_matches(['-', '0', '.']);
            if number.is_f64() && digits.bytes().filter(u8::is_ascii_digit).count() > 15 {
                return Err("A decimal number of more than 15 digits is to be given as text.".into());
            }
            Decimal::from_number(number).map(|number| Value::Decimal(number.0)).map_err(decimal_refused)
        }
        _ => parse_value(kind, json),
    }
}

fn decimal_refused(reason: NotADecimal) -> String {
    match reason {
        NotADecimal::Malformed => "A decimal number is required as text, such as \"12.50\".".into(),
        NotADecimal::OutOfRange => "A decimal number has at most 28 digits.".into(),
    }
}

/// Reads a value of a payload, where `"5"` is no integer. Integers are checked against the column's range.
///
/// # Errors
/// A sentence about the value.
pub(crate) fn parse_value(kind: Kind, json: &Json) -> Result<Value<'static>, String> {
    match kind {
        Kind::Bool => json.as_bool().map(Value::Bool).ok_or_else(|| "Must be a valid boolean.".into()),
        Kind::Integer { min, max } => {
            if json.is_string() {
                return Err(NOT_AN_INTEGER.into());
            }
            let number = integer(json)?;
            if number < i128::from(min) {
                return Err(format!("Ensure this value is greater than or equal to {min}."));
            }
            match i64::try_from(number) {
                Ok(number) if number <= max => Ok(Value::Int(number)),
                _ => Err(format!("Ensure this value is less than or equal to {max}.")),
            }
        }
        Kind::Float => json
            .as_f64()
            .filter(|number| number.is_finite())
            .map(Value::Float)
            .ok_or_else(|| "A valid number is required.".into()),
        Kind::Text => match json {
            Json::String(text) => Ok(Value::Text(Cow::Owned(text.clone()))),
            _ => Err("Not a valid string.".into()),
        },
        Kind::Date => json
            .as_str()
            .and_then(date)
            .map(Value::Date)
            .ok_or_else(|| "A date is required, such as 2026-01-31.".into()),
        Kind::Time => json
            .as_str()
            .and_then(time)
            .map(Value::Time)
            .ok_or_else(|| "A time is required, such as 12:30:00.".into()),
        Kind::Bytes => json
            .as_str()
            .and_then(|text| STANDARD.decode(text).ok())
            .map(|bytes| Value::Bytes(Cow::Owned(bytes)))
            .ok_or_else(|| "Bytes are required in base64, padded.".into()),
        Kind::Uuid => json
            .as_str()
            .and_then(|text| text.parse::<Uuid>().ok())
            .map(|uuid| Value::Uuid(uuid.0))
            .ok_or_else(|| "A UUID is required, such as 67e55044-10b1-426f-9247-bb680e5fe0c8.".into()),
        Kind::Decimal => match json {
            Json::String(text) => {
                text.parse::<Decimal>().map(|number| Value::Decimal(number.0)).map_err(decimal_refused)
            }
            _ => Err(decimal_refused(NotADecimal::Malformed)),
        },
        Kind::Json => Ok(Value::Json(Cow::Owned(json.clone()))),
        Kind::Timestamp | Kind::NaiveTimestamp => json
            .as_str()
            .and_then(timestamp)
            .map(Value::Timestamp)
            .ok_or_else(|| "A timestamp of RFC 3339 is required, such as 2026-01-31T12:00:00Z.".into()),
        Kind::Enum(names) => match json {
            Json::String(text) if names().contains(&text.as_str()) => {
                Ok(Value::Text(Cow::Owned(text.clone())))
            }
            _ => {
                let said = json.as_str().map_or_else(|| clipped(json.to_string()), shown);
                Err(format!("{said} is not a valid choice; the choices are {}.", names().join(", ")))
            }
        },
    }
}

const NOT_AN_INTEGER: &str = "A valid integer is required.";

const NOT_EXACT: &str = "An integer from 2^53 on is to be written without a fraction or an exponent, one beyond 64 bits as a string.";

/// An integer of any size: `5`, `5.0`, `5e0`, and the same as text. Larger ones than an `i128` keep their side of every
/// column.
fn integer(json: &Json) -> Result<i128, String> {
    match json {
        Json::Number(number) => integer_of_number(number),
        Json::String(text) => {
            let whole = match text.split_once('.') {
                Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
                _ => text,
            };
            let digits = whole.strip_prefix('-').unwrap_or(whole);
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                let bound = if whole.starts_with('-') { i128::MIN } else { i128::MAX };
                return Ok(whole.parse().unwrap_or(bound));
            }
            // With an exponent, as JSON has it.
            match serde_json::from_str(text) {
                Ok(Json::Number(number)) if text.trim() == text => integer_of_number(&number),
                _ => Err(NOT_AN_INTEGER.into()),
            }
        }
        _ => Err(NOT_AN_INTEGER.into()),
    }
}

fn integer_of_number(number: &serde_json::Number) -> Result<i128, String> {
    if let Some(number) = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)) {
        return Ok(number);
    }
    let double = number.as_f64().filter(|double| double.fract() == 0.0).ok_or(NOT_AN_INTEGER)?;
    // Between them are integers that are read as the same double: it is not known which was meant. What is greater has
    // its side of every column all the same.
    if (9_007_199_254_740_992.0..=9_223_372_036_854_775_808.0).contains(&double.abs()) {
        return Err(NOT_EXACT.into());
    }
    Ok(saturate(double))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
fn saturate(float: f64) -> i128 {
    float as i128
}

/// A timestamp of RFC 3339; without an offset it is in UTC, a bare date is its midnight.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    // Completed rather than parsed by formats of our own: those would also take " 1" for "01", and years of five digits.
    let instant = ["", "Z", "T00:00:00Z"]
        .iter()
        .find_map(|rest| DateTime::parse_from_rfc3339(&format!("{text}{rest}")).ok())?
        .with_timezone(&Utc);
    // An offset may lead out of the years that can be written back.
    (0..=9999).contains(&instant.year()).then_some(instant)
}

/// A date of RFC 3339.
fn date(text: &str) -> Option<NaiveDate> {
    DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")).ok().map(|midnight| midnight.date_naive())
}

/// A time of day of RFC 3339, without an offset; the seconds may be left out.
fn time(text: &str) -> Option<NaiveTime> {
    ["Z", ":00Z"]
        .iter()
        .find_map(|rest| DateTime::parse_from_rfc3339(&format!("2000-01-01T{text}{rest}")).ok())
        .filter(|_| text.len() >= 5 && !text.contains(['Z', 'z', '+', '-']))
        .map(|instant| instant.time())
}

/// The key that a client named; `None` where no row can have it, be it of the wrong type or out of range.
pub fn parse_key(kind: Kind, json: &Json) -> Option<Value<'static>> {
    match parse_operand(kind, json) {
        Ok(Operand::Value(Value::Text(text))) if text.contains('\0') => None,
        Ok(Operand::Value(value)) => Some(value),
        _ => None,
    }
}
