//! What is asked of a value before it is written, beside its type: `#[realtime(validate(..))]` as data, so that schemas
//! can tell it as well.

use std::sync::OnceLock;

use garde::rules::email::parse_email;
use garde::rules::url::Url;
use regex::Regex;
use rust_decimal::Decimal;

use crate::field::{Field, Kind};
use crate::filter;
use crate::value::Value;

/// What is asked of a value of one field. `NULL` is never asked anything.
#[derive(Debug)]
#[non_exhaustive]
pub enum Check {
    /// How long it is: characters of a text, bytes, members of a JSON array or object. Other JSON has no length.
    Length {
        /// The least.
        min: Option<usize>,
        /// The most.
        max: Option<usize>,
    },
    /// Between which values it lies, both included.
    Range {
        /// The least.
        min: Option<Literal>,
        /// The greatest.
        max: Option<Literal>,
    },
    /// A regular expression finds something in the text. A function, because constants hold nothing that is filled later.
    Pattern(fn() -> &'static Pattern),
    /// The text is an e-mail address.
    Email,
    /// The text is a URL of the web: with `http`, `https`, `ftp` or `ftps`, and a host.
    Url,
    /// How many digits a decimal has. One with fewer places is filled up with zeros.
    Digits {
        /// Digits in all, at most.
        digits: Option<u32>,
        /// Digits behind the point.
        places: Option<u32>,
    },
    /// A function of the application's says why it is not acceptable.
    Custom(fn(&Value<'_>) -> Result<(), String>),
}

/// A value that an attribute states, such as the bound of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// `5`
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// `"12.50"`
    Decimal(&'static str),
    /// `"2026-01-31"`
    Date(&'static str),
    /// `"12:30:00"`
    Time(&'static str),
    /// `"2026-01-31T12:30:00Z"`
    Timestamp(&'static str),
}

impl Literal {
    /// The value of a field of this kind; `Null` where it is not one of them, which the derive refuses.
    pub fn value(self, kind: Kind) -> Value<'static> {
        let json = match (self, kind) {
            (Self::Integer(number), Kind::Decimal) => return Value::Decimal(number.into()),
            #[expect(clippy::cast_precision_loss, reason = "what an integer means as a bound of doubles")]
            (Self::Integer(number), Kind::Float) => return Value::Float(number as f64),
            (Self::Integer(number), _) => number.into(),
            (Self::Float(number), _) => number.into(),
            (Self::Decimal(text) | Self::Date(text) | Self::Time(text) | Self::Timestamp(text), _) => {
                text.into()
            }
        };
        filter::parse_value(kind, &json).unwrap_or(Value::Null)
    }

    pub(crate) const fn fits(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Integer(number), Kind::Integer { min, max }) => number >= min && number <= max,
            (Self::Integer(_) | Self::Float(_), Kind::Float)
            | (Self::Integer(_) | Self::Decimal(_), Kind::Decimal)
            | (Self::Date(_), Kind::Date)
            | (Self::Time(_), Kind::Time)
            | (Self::Timestamp(_), Kind::Timestamp | Kind::NaiveTimestamp) => true,
            _ => false,
        }
    }
}

/// A regular expression, compiled when it is asked for the first time.
#[derive(Debug)]
pub struct Pattern {
    source: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// A regular expression in the syntax of the crate `regex`.
    pub const fn new(source: &'static str) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    /// How it is written.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Does it find something in the text? Nothing is found by one that cannot be compiled.
    pub fn finds(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(self.source).ok());
        // `find` and not `is_match`, which may miss a match that `find` finds (regex 1.13.2: `(?-u:\B)|\u{200d}`).
        compiled.as_ref().is_some_and(|regex| regex.find(text).is_some())
    }
}

impl Check {
    /// Looks at a value, and brings it into the form in which it is stored.
    ///
    /// # Errors
    /// A sentence about the value.
    pub fn apply(&self, kind: Kind, value: &mut Value<'static>) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        match self {
            Self::Length { min, max } => check_length(value, *min, *max),
            Self::Range { min, max } => check_range(kind, value, *min, *max),
            Self::Pattern(pattern) => {
                text(value, |text| pattern().finds(text), "This value does not match the required pattern.")
            }
            Self::Email => text(value, |text| parse_email(text).is_ok(), "Enter a valid email address."),
            Self::Url => text(value, is_url, "Enter a valid URL."),
            Self::Digits { digits, places } => match value {
                Value::Decimal(number) => check_digits(number, *digits, *places),
                _ => Ok(()),
            },
            Self::Custom(function) => function(value),
        }
    }
}

fn text(value: &Value<'_>, is_good: impl FnOnce(&str) -> bool, message: &str) -> Result<(), String> {
    match value {
        Value::Text(text) if !is_good(text) => Err(message.to_owned()),
        _ => Ok(()),
    }
}

/// A page can be asked for: the host is there, and it is no script.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https" | "ftp" | "ftps"))
        && !text.contains(char::is_whitespace)
        && text.validate_url().is_ok()
}

pub(crate) fn check_length(value: &Value<'_>, min: Option<usize>, max: Option<usize>) -> Result<(), String> {
    let (length, what) = match value {
        Value::Text(text) => (text.chars().count(), "character"),
        Value::Bytes(bytes) => (bytes.len(), "byte"),
        Value::Json(json) => match json.as_ref() {
            serde_json::Value::Array(members) => (members.len(), "element"),
            serde_json::Value::Object(members) => (members.len(), "element"),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let many = |number: usize| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    match (min, max) {
        (Some(min), _) if length == 0 && min > 0 && what == "character" => {
            Err("This field may not be blank.".to_owned())
        }
        (Some(min), _) if length < min => Err(format!("Ensure this field has at least {}.", many(min))),
        (_, Some(max)) if length > max => Err(format!("Ensure this field has no more than {}.", many(max))),
        _ => Ok(()),
    }
}

fn check_range(
    kind: Kind,
    value: &Value<'_>,
    min: Option<Literal>,
    max: Option<Literal>,
) -> Result<(), String> {
    // A value that cannot be compared with its bound is outside of it.
    let beyond = |bound: Option<Literal>, outside: fn(std::cmp::Ordering) -> bool| {
        let bound = bound?.value(kind);
        value.compare(&bound).is_none_or(outside).then(|| shown(&bound))
    };
    if let Some(min) = beyond(min, std::cmp::Ordering::is_lt) {
        return Err(format!("Ensure this value is greater than or equal to {min}."));
    }
    if let Some(max) = beyond(max, std::cmp::Ordering::is_gt) {
        return Err(format!("Ensure this value is less than or equal to {max}."));
    }
    Ok(())
}

/// As on the wire, without quotes.
fn shown(value: &Value<'_>) -> String {
    match value.to_json() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

fn check_digits(number: &mut Decimal, digits: Option<u32>, places: Option<u32>) -> Result<(), String> {
    let many = |number: u32, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    if let Some(places) = places
        && number.scale() > places
    {
        return Err(format!("Ensure that there are no more than {}.", many(places, "decimal place")));
    }
    // Zeros in front of the point are no digits, those behind it are.
    let whole =
        decimal_digits(number.trunc().mantissa().unsigned_abs() / 10_u128.pow(number.trunc().scale()));
    if let Some(digits) = digits {
        let most = digits.saturating_sub(places.unwrap_or_default());
        if places.is_some() && whole > most {
            let most = many(most, "digit");
            return Err(format!("Ensure that there are no more than {most} before the decimal point."));
        }
        if whole + number.scale() > digits {
            return Err(format!("Ensure that there are no more than {} in total.", many(digits, "digit")));
        }
    }
    if let Some(places) = places {
        number.rescale(places);
    }
    Ok(())
}

fn decimal_digits(number: u128) -> u32 {
    number.checked_ilog10().map_or(0, |digits| digits + 1)
}

/// Calls the function given to `validate(custom = ..)`.
///
/// # Errors
/// What the function says.
pub fn custom<T: Field, M: Into<String>>(
    value: &Value<'_>,
    function: impl FnOnce(&T::Plain) -> Result<(), M>,
) -> Result<(), String> {
    match T::Plain::from_value(value.clone()) {
        Some(value) => function(&value).map_err(Into::into),
        None => Ok(()),
    }
}

/// Stops the build where a field's type has no length.
#[track_caller]
pub const fn has_length(kind: Kind) {
    if !matches!(kind, Kind::Text | Kind::Bytes | Kind::Json) {
        panic!(
            "only texts, bytes and JSON have a length; numbers and dates have `range(min = .., max = ..)`"
        );
    }
}

/// Stops the build where a field's type is no text.
#[track_caller]
pub const fn is_text(kind: Kind) {
    if !matches!(kind, Kind::Text) {
        panic!("only a text can be checked so");
    }
}

/// Stops the build where a field's type is no decimal.
#[track_caller]
pub const fn is_decimal(kind: Kind) {
    if !matches!(kind, Kind::Decimal) {
        panic!("only a decimal has `digits(..)`");
    }
}

/// Stops the build where the bound of a range is no value of the field's type.
#[track_caller]
pub const fn is_bound(kind: Kind, bound: Literal) {
    if bound.fits(kind) {
        return;
    }
    match kind {
        Kind::Integer { .. } => panic!("the bound must be an integer that the field's type can hold"),
        Kind::Float => panic!("the bound of a float is a number: `range(min = 0.5)`"),
        Kind::Decimal => panic!("the bound of a decimal is an integer or a text: `range(min = \"0.50\")`"),
        Kind::Date => panic!("the bound of a date is a text: `range(min = \"2026-01-31\")`"),
        Kind::Time => panic!("the bound of a time is a text: `range(min = \"08:00:00\")`"),
        Kind::Timestamp | Kind::NaiveTimestamp => {
            panic!("the bound of a timestamp is a text: `range(min = \"2026-01-31T00:00:00Z\")`")
        }
        _ => panic!("only numbers, dates, times and timestamps have a range; a text has `length(..)`"),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn checked(check: &Check, kind: Kind, mut value: Value<'static>) -> Result<Value<'static>, String> {
        check.apply(kind, &mut value).map(|()| value)
    }

    const INTEGER: Kind = Kind::Integer { min: i64::MIN, max: i64::MAX };

    #[test]
    fn a_length_is_counted_in_characters_bytes_or_elements() {
        let check = Check::Length { min: Some(2), max: Some(3) };
        for (value, message) in [
            (Value::from("größ"), "Ensure this field has no more than 3 characters."),
            (Value::from("g"), "Ensure this field has at least 2 characters."),
            (Value::from(""), "This field may not be blank."),
            (Value::Bytes(vec![1; 4].into()), "Ensure this field has no more than 3 bytes."),
            (Value::Json(Cow::Owned(serde_json::json!([1]))), "Ensure this field has at least 2 elements."),
        ] {
            assert_eq!(checked(&check, Kind::Text, value.into_owned()).expect_err("it is refused"), message);
        }
        for value in [Value::from("grö"), Value::Null, Value::Json(Cow::Owned(serde_json::json!(5)))] {
            assert!(checked(&check, Kind::Text, value.into_owned()).is_ok());
        }
        let one = Check::Length { min: None, max: Some(1) };
        let message = "Ensure this field has no more than 1 character.";
        assert_eq!(checked(&one, Kind::Text, Value::from("ab")).expect_err("it is refused"), message);
    }

    #[test]
    fn a_range_includes_its_ends_whatever_its_type() {
        let cases = [
            (INTEGER, Literal::Integer(1), Literal::Integer(5), ["0", "1", "5", "6"]),
            (Kind::Float, Literal::Integer(1), Literal::Float(5.5), ["0.5", "1.0", "5.5", "5.6"]),
            (
                Kind::Decimal,
                Literal::Integer(1),
                Literal::Decimal("5.50"),
                ["\"0.99\"", "\"1\"", "\"5.5\"", "\"5.501\""],
            ),
            (
                Kind::Date,
                Literal::Date("2026-01-31"),
                Literal::Date("2026-02-28"),
                ["\"2026-01-30\"", "\"2026-01-31\"", "\"2026-02-28\"", "\"2026-03-01\""],
            ),
            (
                Kind::Time,
                Literal::Time("08:00:00"),
                Literal::Time("20:00:00"),
                ["\"07:59:59\"", "\"08:00:00\"", "\"20:00:00\"", "\"20:00:01\""],
            ),
            (
                Kind::Timestamp,
                Literal::Timestamp("2026-01-31T00:00:00Z"),
                Literal::Timestamp("2026-02-01T00:00:00Z"),
                [
                    "\"2026-01-31T00:59:59+01:00\"",
                    "\"2026-01-31T01:00:00+01:00\"",
                    "\"2026-02-01T00:00:00Z\"",
                    "\"2026-02-01T00:00:01Z\"",
                ],
            ),
        ];
        for (kind, min, max, values) in cases {
            assert!(min.fits(kind) && max.fits(kind));
            let check = Check::Range { min: Some(min), max: Some(max) };
            let verdicts = values.map(|json| {
                let json = serde_json::from_str(json).expect("well-formed");
                checked(&check, kind, filter::parse_value(kind, &json).expect("well-formed")).is_ok()
            });
            assert_eq!(verdicts, [false, true, true, false], "{kind:?}");
        }
        let check = Check::Range { min: None, max: Some(Literal::Decimal("5.50")) };
        let message = checked(&check, Kind::Decimal, Value::Decimal(6.into())).expect_err("it is refused");
        assert_eq!(message, "Ensure this value is less than or equal to 5.50.");
    }

    #[test]
    fn texts_are_looked_at_as_patterns_addresses_and_urls() {
        static LETTERS: Pattern = Pattern::new("^[a-z]+$");
        let pattern = Check::Pattern(|| &LETTERS);
        let cases: [(&Check, &[&str], &[&str]); 3] = [
            (&pattern, &["abc"], &["", "aB", "abc1", "abc\n"]),
            (
                &Check::Email,
                &["a@b.example", "a.b+c@localhost", "a@[127.0.0.1]"],
                &["", "a", "@b", "a@", "a b@c.example", "a@b@c", "a@-b.example"],
            ),
            (
                &Check::Url,
                &["http://a.example", "HTTPS://a.example:8080/p?q#f", "ftp://a.example/x", "http://[::1]/"],
                &[
                    "",
                    "a.example",
                    "javascript:alert(1)",
                    "mailto:a@b.example",
                    "http://",
                    "http:a.example",
                    "http://a b/",
                ],
            ),
        ];
        for (check, good, bad) in cases {
            for text in good {
                assert!(checked(check, Kind::Text, Value::from(*text)).is_ok(), "{check:?} {text:?}");
            }
            for text in bad {
                assert!(checked(check, Kind::Text, Value::from(*text)).is_err(), "{check:?} {text:?}");
            }
        }
    }

    #[test]
    fn a_decimal_has_its_digits_and_is_filled_up_with_zeros() {
        let check = Check::Digits { digits: Some(5), places: Some(2) };
        for (given, expected) in [
            ("1.5", Ok("1.50")),
            ("-999.99", Ok("-999.99")),
            ("0", Ok("0.00")),
            ("0.005", Err("Ensure that there are no more than 2 decimal places.")),
            ("1000", Err("Ensure that there are no more than 3 digits before the decimal point.")),
        ] {
            let value = Value::Decimal(given.parse().expect("well-formed"));
            let shown = checked(&check, Kind::Decimal, value).map(|value| shown(&value));
            assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{given}");
        }
        let total = Check::Digits { digits: Some(3), places: None };
        assert!(checked(&total, Kind::Decimal, Value::Decimal("1.25".parse().expect("well-formed"))).is_ok());
        let message = checked(&total, Kind::Decimal, Value::Decimal("12.25".parse().expect("well-formed")))
            .expect_err("it is refused");
        assert_eq!(message, "Ensure that there are no more than 3 digits in total.");
    }
}
