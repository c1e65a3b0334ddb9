//! Conditions on what lies at a path in a JSON field. SQLite is handed the condition as text and decides with this very
//! code, so that the two readings cannot differ.

#[cfg(feature = "sqlite")]
use std::cell::RefCell;
use std::cmp::Ordering;

use serde_json::{Number, Value as Json, json};

use super::{Regex, TextMatch};

/// A condition on what lies at a path.
#[derive(Clone, Debug)]
pub struct PathCondition {
    path: Vec<String>,
    test: Test,
    text: String,
}

/// What is asked of a value. One of another type than the argument's does not satisfy it.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// One of these scalars; sorted, each once.
    OneOf(Vec<Json>),
    /// Nothing lies there (`true`), or something does.
    IsMissing(bool),
    /// A number within the bounds.
    Between {
        lower: Option<(Number, bool)>,
        upper: Option<(Number, bool)>,
    },
    Text(TextMatch, String),
    Regex(Regex),
}

impl PathCondition {
    pub(super) fn new(path: Vec<String>, test: Test) -> Self {
        let (name, arguments) = match &test {
            Test::OneOf(values) => ("in", json!(values)),
            Test::IsMissing(yes) => ("isnull", json!(yes)),
            Test::Between { lower, upper } => ("between", json!([lower, upper])),
            Test::Text(how, pattern) => (how.name(), json!(pattern)),
            Test::Regex(regex) if regex.ignores_case() => ("iregex", json!(regex.pattern())),
            Test::Regex(regex) => ("regex", json!(regex.pattern())),
        };
        let text = json!([path, name, arguments]).to_string();
        Self { path, test, text }
    }

    /// Is a regular expression asked for?
    pub(super) fn has_regex(&self) -> bool {
        matches!(self.test, Test::Regex(_))
    }

    /// The condition as text: equal for conditions that mean the same.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The condition of a text that [`PathCondition::text`] gave.
    #[cfg(feature = "sqlite")]
    fn from_text(text: &str) -> Option<Self> {
        let (path, name, arguments): (Vec<String>, String, Json) = serde_json::from_str(text).ok()?;
        let test = match (name.as_str(), arguments) {
            ("in", Json::Array(values)) => Test::OneOf(values),
            ("isnull", Json::Bool(yes)) => Test::IsMissing(yes),
            ("between", bounds) => {
                let (lower, upper) = serde_json::from_value(bounds).ok()?;
                Test::Between { lower, upper }
            }
            // The filter compiled it within its limit, so it compiles within a larger one.
            ("regex" | "iregex", Json::String(pattern)) => {
                Test::Regex(Regex::new(&pattern, name == "iregex", usize::MAX / 8, usize::MAX).ok()?)
            }
            (name, Json::String(pattern)) => Test::Text(TextMatch::from_name(name)?, pattern),
            _ => return None,
        };
        Some(Self { path, test, text: text.to_owned() })
    }

    /// Does a field satisfy it? `None` is `NULL`, in which nothing lies anywhere.
    pub fn holds(&self, field: Option<&Json>) -> bool {
        let found =
            field.and_then(|field| self.path.iter().try_fold(field, |value, step| child(value, step)));
        match (&self.test, found) {
            (Test::IsMissing(yes), found) => found.is_none() == *yes,
            (Test::OneOf(_), Some(Json::Array(_) | Json::Object(_))) => false,
            (Test::OneOf(values), Some(value)) => {
                values.binary_search_by(|candidate| compare_scalars(candidate, value)).is_ok()
            }
            (Test::Between { lower, upper }, Some(Json::Number(number))) => {
                let within = |bound: &Option<(Number, bool)>, wanted: Ordering| {
                    bound.as_ref().is_none_or(|(bound, included)| match compare_numbers(number, bound) {
                        Ordering::Equal => *included,
                        found => found == wanted,
                    })
                };
                within(lower, Ordering::Greater) && within(upper, Ordering::Less)
            }
            (Test::Text(how, pattern), Some(Json::String(text))) => how.holds(text, pattern),
            (Test::Regex(regex), Some(Json::String(text))) => regex.is_match(text),
            _ => false,
        }
    }
}

/// The member of an object, or the element of an array where the step is a number.
fn child<'a>(value: &'a Json, step: &str) -> Option<&'a Json> {
    match value {
        Json::Object(members) => members.get(step),
        Json::Array(elements) if step.bytes().all(|byte| byte.is_ascii_digit()) => {
            elements.get(step.parse::<usize>().ok()?)
        }
        _ => None,
    }
}

/// Decides for SQLite. A condition is read once for a statement rather than once for a row.
#[cfg(feature = "sqlite")]
pub(crate) fn holds_by_text(condition: &str, field: Option<&Json>) -> bool {
    /// A filter has few conditions, and a thread runs one statement at a time.
    const KEPT: usize = 32;
    thread_local! {
        static READ: RefCell<Vec<PathCondition>> = const { RefCell::new(Vec::new()) };
    }
    READ.with_borrow_mut(|read| {
        if let Some(known) = read.iter().find(|known| known.text == condition) {
            return known.holds(field);
        }
        // Only a filter writes such a text.
        let Some(new) = PathCondition::from_text(condition) else { return false };
        let holds = new.holds(field);
        if read.len() == KEPT {
            read.remove(0);
        }
        read.push(new);
        holds
    })
}

/// A total order of scalars, in which those of one type are together and equal numbers are equal.
pub(super) fn compare_scalars(left: &Json, right: &Json) -> Ordering {
    let rank = |value: &Json| match value {
        Json::Null => 0,
        Json::Bool(_) => 1,
        Json::Number(_) => 2,
        Json::String(_) => 3,
        Json::Array(_) | Json::Object(_) => 4,
    };
    match (left, right) {
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        (Json::Number(left), Json::Number(right)) => compare_numbers(left, right),
        (Json::String(left), Json::String(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}

/// Compares numbers as what they are: an integer beyond 2^53 is not rounded to the double that it is compared with.
fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(left), None) => compare_with_double(left, double(right)),
        (None, Some(right)) => compare_with_double(right, double(left)).reverse(),
        (None, None) => crate::value::compare_floats(double(left), double(right)),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates far beyond every integer of JSON")]
fn compare_with_double(integer: i128, double: f64) -> Ordering {
    if double.is_nan() {
        return Ordering::Less;
    }
    let whole = double.trunc();
    integer.cmp(&(whole as i128)).then_with(|| crate::value::compare_floats(whole, double))
}

/// The one spelling of a number: `1.0` is `1`, `-0.0` is `0`.
#[expect(clippy::cast_possible_truncation, reason = "within the range of 64 bits it is exact")]
pub(super) fn normal(number: Number) -> Number {
    let Some(double) =
        number.as_f64().filter(|double| !(number.is_i64() || number.is_u64()) && double.fract() == 0.0)
    else {
        return number;
    };
    let whole = double as i128;
    match (i64::try_from(whole), u64::try_from(whole)) {
        (Ok(whole), _) => whole.into(),
        (_, Ok(whole)) => whole.into(),
        _ => number,
    }
}
