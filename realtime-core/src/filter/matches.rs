//! A filter in memory.

use std::cmp::Ordering;

use super::{Bound, Condition, Filter, Predicate, Term, TermSet, TextMatch};
use crate::fold::{folded, with_folded};
use crate::resource::Record;
use crate::value::Value;
use crate::zone::Zone;

impl Filter {
    /// Does the row satisfy every term?
    pub fn matches(&self, row: &dyn Record) -> bool {
        self.terms.iter().all(|term| term.holds(row))
    }

    /// Does the row satisfy those of the terms?
    pub(crate) fn matches_in(&self, terms: TermSet, row: &dyn Record) -> bool {
        self.terms.iter().enumerate().all(|(at, term)| !terms.contains(at) || term.holds(row))
    }

    /// Does the row satisfy all terms but those?
    pub(crate) fn matches_outside(&self, terms: TermSet, row: &dyn Record) -> bool {
        self.terms.iter().enumerate().all(|(at, term)| terms.contains(at) || term.holds(row))
    }
}

impl Term {
    fn holds(&self, row: &dyn Record) -> bool {
        match self {
            Self::Is(predicate) => predicate.matches(row),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(row)),
        }
    }
}

impl Predicate {
    /// Does the row satisfy the lookup, or, negated, does it not?
    pub fn matches(&self, row: &dyn Record) -> bool {
        let value = row.value(self.field);
        let holds = match self.part {
            None => self.condition.holds(&value),
            Some(part) => self.condition.holds(&part.of(&value, self.zone.map(Zone::offsets))),
        };
        holds != self.negated
    }
}

impl Condition {
    /// Two-valued: `NULL` satisfies nothing but `IsNull`, and a negation is then true.
    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Self::IsNull(yes) => value.is_null() == *yes,
            Self::OneOf(values) => {
                !value.is_null()
                    && values
                        .binary_search_by(|candidate| candidate.compare(value).unwrap_or(Ordering::Less))
                        .is_ok()
            }
            Self::Between { lower, upper } => {
                let within = |bound: &Bound, wanted: Ordering| match bound {
                    None => true,
                    Some((bound, included)) => match value.compare(bound) {
                        Some(Ordering::Equal) => *included,
                        Some(found) => found == wanted,
                        None => false,
                    },
                };
                !value.is_null() && within(lower, Ordering::Greater) && within(upper, Ordering::Less)
            }
            Self::Text(how, pattern) => match value {
                Value::Text(text) => how.holds(text, pattern),
                _ => false,
            },
            Self::Path(path) => match value {
                Value::Json(json) => path.holds(Some(json)),
                _ => path.holds(None),
            },
            Self::Regex(regex) => match value {
                Value::Text(text) => regex.is_match(text),
                _ => false,
            },
        }
    }
}

impl TextMatch {
    pub(super) fn holds(self, text: &str, pattern: &str) -> bool {
        match self {
            Self::Contains => text.contains(pattern),
            Self::StartsWith => text.starts_with(pattern),
            Self::EndsWith => text.ends_with(pattern),
            Self::IExact if text.is_ascii() => is_folded(text.as_bytes(), pattern.as_bytes()),
            Self::IExact => folded(text).eq(pattern.chars()),
            Self::IStartsWith => match text.as_bytes().get(..pattern.len()) {
                Some(start) if start.is_ascii() => is_folded(start, pattern.as_bytes()),
                _ => {
                    let mut text = folded(text);
                    pattern.chars().all(|wanted| text.next() == Some(wanted))
                }
            },
            Self::IContains => with_folded(text, |text| text.contains(pattern)),
            Self::IEndsWith => {
                let before = text.len().checked_sub(pattern.len());
                match before.and_then(|before| text.as_bytes().get(before..)) {
                    Some(end) if end.is_ascii() => is_folded(end, pattern.as_bytes()),
                    _ => with_folded(text, |text| text.ends_with(pattern)),
                }
            }
        }
    }
}

/// Is the ASCII text, folded, this one? Each of its characters is folded to one, of one byte, whatever is around it.
fn is_folded(ascii: &[u8], folded: &[u8]) -> bool {
    ascii.len() == folded.len()
        && ascii.iter().zip(folded).all(|(byte, folded)| byte.to_ascii_lowercase() == *folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row whose every field is its number.
    struct Numbers;

    impl Record for Numbers {
        fn value(&self, field: usize) -> Value<'_> {
            Value::Int(i64::try_from(field).expect("few"))
        }
    }

    #[test]
    fn some_terms_and_the_others_are_all() {
        let is = |field: usize, value: i64| {
            Term::Is(Predicate::of(field, Condition::OneOf(vec![Value::Int(value)])))
        };
        let numbers = || (0..40_usize).zip(0_i64..);
        for wrong in numbers().map(|(at, _)| Some(at)).chain([None]) {
            let terms = numbers().map(|(at, number)| is(at, number + i64::from(Some(at) == wrong))).collect();
            let filter = Filter { terms, ..Filter::default() };
            assert_eq!(filter.matches(&Numbers), wrong.is_none());
            for at in 0..40 {
                let set = [at, 3].into_iter().map(TermSet::of).collect();
                let is_in = at < 32 && wrong == Some(at) || wrong == Some(3);
                assert_eq!(filter.matches_in(set, &Numbers), !is_in);
                assert_eq!(filter.matches_outside(set, &Numbers), wrong.is_none() || is_in);
            }
        }
    }
}
