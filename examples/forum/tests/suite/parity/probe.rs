//! Filters, and what each means, said once more without a line of the library's.

use std::cmp::Ordering;

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};
use serde_json::{Value as Json, json};

use super::model::{Kind, Object};

/// One entry of a filter.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    field: &'static str,
    kind: Kind,
    lookup: &'static str,
    negated: bool,
    argument: Json,
}

const TEXTS: &[&str] = &[
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "range",
    "isnull",
    "regex",
    "iregex",
];
const ORDERED: &[&str] = &["exact", "in", "isnull", "gt", "gte", "lt", "lte", "range"];
const PLAIN: &[&str] = &["exact", "in", "isnull"];
const DATE_PARTS: &[&str] = &["year", "month", "day", "week_day", "quarter", "year__gte", "month__lt"];
const TIME_PARTS: &[&str] = &["hour", "minute", "hour__lte", "minute__range"];

impl Kind {
    pub(super) fn lookups(self) -> Vec<&'static str> {
        match self {
            Self::Text => TEXTS.to_vec(),
            Self::Int | Self::Float | Self::Decimal => ORDERED.to_vec(),
            Self::Date => [ORDERED, DATE_PARTS].concat(),
            Self::Time => [ORDERED, DATE_PARTS, TIME_PARTS].concat(),
            Self::Bool | Self::Choice | Self::Uuid => PLAIN.to_vec(),
            Self::Json => Vec::new(),
        }
    }

    /// How two values that are there compare.
    pub(super) fn compare(self, left: &Json, right: &Json) -> Ordering {
        let text = |json: &Json| json.as_str().expect("a text").to_owned();
        let number =
            |json: &Json| -> f64 { json.as_f64().or_else(|| json.as_str()?.parse().ok()).expect("a number") };
        match self {
            Self::Int | Self::Float | Self::Decimal => number(left).total_cmp(&number(right)),
            Self::Time => time(left).cmp(&time(right)),
            Self::Bool => left.as_bool().cmp(&right.as_bool()),
            Self::Text | Self::Choice | Self::Date | Self::Uuid => text(left).cmp(&text(right)),
            Self::Json => panic!("no order"),
        }
    }
}

fn time(json: &Json) -> DateTime<Utc> {
    json.as_str().expect("a text").parse().expect("RFC 3339")
}

fn part(kind: Kind, value: &Json, part: &str) -> i64 {
    let date: NaiveDate = match kind {
        Kind::Time => time(value).date_naive(),
        _ => value.as_str().expect("a text").parse().expect("a date"),
    };
    let number = match part {
        "year" => return date.year().into(),
        "month" => date.month(),
        "day" => date.day(),
        "week_day" => date.weekday().num_days_from_sunday() + 1,
        "quarter" => date.month0() / 3 + 1,
        "hour" => time(value).hour(),
        "minute" => time(value).minute(),
        _ => panic!("{part} is no part"),
    };
    number.into()
}

impl Probe {
    /// One that asks for what a row has, or for something beside it. The row may be one that whoever asks does not see.
    pub(super) fn of(
        (field, kind): (&'static str, Kind),
        lookup: &'static str,
        negated: bool,
        row: &Object,
        other: &Object,
    ) -> Option<Self> {
        let value = &row[field];
        if lookup == "isnull" {
            return Some(Self { field, kind, lookup, negated, argument: value.is_null().into() });
        }
        if value.is_null() {
            return None;
        }
        let text = || value.as_str().expect("a text");
        let piece = |text: &str, from: usize, to: usize| {
            let characters: Vec<char> = text.chars().collect();
            characters[from.min(characters.len())..to.min(characters.len())].iter().collect::<String>()
        };
        let argument = match (lookup, kind) {
            ("iexact", _) => text().to_uppercase().into(),
            ("contains", _) => piece(text(), 1, 7).into(),
            ("icontains", _) => piece(text(), 2, 7).to_uppercase().into(),
            ("startswith", _) => piece(text(), 0, 7).into(),
            ("istartswith", _) => piece(text(), 0, 7).to_uppercase().into(),
            ("endswith", _) => piece(text(), 1, usize::MAX).into(),
            ("iendswith", _) => piece(text(), 1, usize::MAX).to_uppercase().into(),
            ("regex", _) => format!("^{}", piece(text(), 0, 7)).into(),
            ("iregex", _) => format!("^{}", piece(text(), 0, 7).to_uppercase()).into(),
            ("in", _) => Json::Array(
                [value, &other[field]].into_iter().filter(|one| !one.is_null()).cloned().collect(),
            ),
            ("range", _) => match &other[field] {
                Json::Null => json!([value, value]),
                other if kind.compare(value, other) == Ordering::Greater => json!([other, value]),
                other => json!([value, other]),
            },
            ("minute__range", _) => json!([0, part(kind, value, "minute")]),
            ("exact" | "gt" | "gte" | "lt" | "lte", _) => value.clone(),
            (part, _) => self::part(kind, value, part.split("__").next().expect("a name")).into(),
        };
        Some(Self { field, kind, lookup, negated, argument })
    }

    /// Does a row match?
    pub(super) fn holds(&self, row: &Object) -> bool {
        let value = &row[self.field];
        let is = match self.lookup {
            "isnull" => self.argument == value.is_null(),
            _ if value.is_null() => false,
            _ => self.is(value),
        };
        is != self.negated
    }

    fn is(&self, value: &Json) -> bool {
        let argument = &self.argument;
        let compared = || self.kind.compare(value, argument);
        let texts = || (value.as_str().expect("a text"), argument.as_str().expect("a text"));
        let folded = || (texts().0.to_lowercase(), texts().1.to_lowercase());
        let between = |value: &Json, kind: Kind| {
            kind.compare(value, &argument[0]) != Ordering::Less
                && kind.compare(value, &argument[1]) != Ordering::Greater
        };
        let of_part = |name| Json::from(part(self.kind, value, name));
        match self.lookup {
            "exact" => compared() == Ordering::Equal,
            "gt" => compared() == Ordering::Greater,
            "gte" => compared() != Ordering::Less,
            "lt" => compared() == Ordering::Less,
            "lte" => compared() != Ordering::Greater,
            "in" => {
                argument.as_array().expect("a list").iter().any(|one| self.kind.compare(value, one).is_eq())
            }
            "range" => between(value, self.kind),
            "iexact" => folded().0 == folded().1,
            "contains" => texts().0.contains(texts().1),
            "icontains" => folded().0.contains(&folded().1),
            "startswith" => texts().0.starts_with(texts().1),
            "istartswith" => folded().0.starts_with(&folded().1),
            "endswith" => texts().0.ends_with(texts().1),
            "iendswith" => folded().0.ends_with(&folded().1),
            // Only such with an anchor and a text are made.
            "regex" => texts().0.starts_with(&texts().1[1..]),
            "iregex" => folded().0.starts_with(&folded().1[1..]),
            "minute__range" => between(&of_part("minute"), Kind::Int),
            lookup => {
                let (name, comparison) = lookup.split_once("__").unwrap_or((lookup, "exact"));
                let ordering = Kind::Int.compare(&of_part(name), argument);
                match comparison {
                    "exact" => ordering.is_eq(),
                    "gte" => ordering.is_ge(),
                    "lte" => ordering.is_le(),
                    "lt" => ordering.is_lt(),
                    _ => panic!("{comparison} is no comparison"),
                }
            }
        }
    }

    /// The topics that it names, where it selects by nothing else.
    pub(super) fn named_topics(&self) -> Option<Vec<Json>> {
        match (self.field, self.lookup, self.negated) {
            ("topic_id", "exact", false) => Some(vec![self.argument.clone()]),
            ("topic_id", "in", false) => self.argument.as_array().cloned(),
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn key(&self) -> String {
        let negation = if self.negated { "not__" } else { "" };
        format!("{negation}{}__{}", self.field, self.lookup)
    }

    /// As the payload of a message.
    pub(super) fn payload(&self) -> Json {
        json!({ self.key(): self.argument })
    }

    /// As a query string, in which no value stands as it is.
    pub(super) fn query(&self) -> String {
        let encoded = |json: &Json| -> String {
            let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
            text.bytes().map(|byte| format!("%{byte:02X}")).collect()
        };
        let argument = match &self.argument {
            Json::Array(values) => values.iter().map(encoded).collect::<Vec<_>>().join(","),
            value => encoded(value),
        };
        format!("{}={argument}", self.key())
    }
}
