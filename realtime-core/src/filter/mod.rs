//! A filter: which rows of a resource somebody asks for. One parsed form with two readings that agree,
//! [`Filter::matches`] in memory and the predicate that `sql` writes.

mod argument;
mod matches;
mod parse;
mod path;
mod regex;

use std::fmt::Write as _;

pub use argument::parse_key;
pub(crate) use argument::parse_value;
pub use parse::{RawArgument, parse};
pub use path::PathCondition;
#[cfg(feature = "sqlite")]
pub(crate) use path::holds_by_text;
pub use regex::Regex;

use crate::lookup::Lookup;
use crate::part::Part;
use crate::resource::{Descriptor, Record};
use crate::value::Value;

/// A conjunction of optionally negated lookups, in canonical form: filters that are written differently and mean the
/// same by the rules of [`Filter::new`] are equal texts, and so one group.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    predicates: Vec<Predicate>,
    canonical: String,
}

/// One lookup on one field, or its negation.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// The index of the field.
    pub field: usize,
    /// The part of the field that is compared; `None` for the field itself.
    pub part: Option<Part>,
    /// Does it select the rows that the lookup does not?
    pub negated: bool,
    /// The condition.
    pub condition: Condition,
}

/// A lookup with its argument, reduced to what both readings need.
///
/// `NULL` satisfies [`IsNull`](Condition::IsNull) only; the arguments of the `I…` conditions are folded.
#[derive(Clone, Debug)]
pub enum Condition {
    /// One of the values; sorted, each once. The empty list is satisfied by no row.
    OneOf(Vec<Value<'static>>),
    /// `NULL` (`true`) or not (`false`).
    IsNull(bool),
    /// Within the bounds; a missing bound is open. Satisfied by no `NULL`.
    Between {
        /// The lower bound and whether it is included.
        lower: Option<(Value<'static>, bool)>,
        /// The upper bound and whether it is included.
        upper: Option<(Value<'static>, bool)>,
    },
    /// The text compares so with the argument.
    Text(TextMatch, String),
    /// The regular expression matches somewhere in the text.
    Regex(Regex),
    /// What lies at a path in JSON is so. `NULL` has nothing at any path.
    Path(PathCondition),
}

/// How a text compares with a pattern. The `I…` forms compare folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// Equal but for case.
    IExact,
    /// The pattern occurs.
    Contains,
    /// The pattern occurs but for case.
    IContains,
    /// The text begins so.
    StartsWith,
    /// The text begins so but for case.
    IStartsWith,
    /// The text ends so.
    EndsWith,
    /// The text ends so but for case.
    IEndsWith,
}

impl TextMatch {
    pub(crate) const fn of(lookup: Lookup) -> Option<Self> {
        Some(match lookup {
            Lookup::IExact => Self::IExact,
            Lookup::Contains => Self::Contains,
            Lookup::IContains => Self::IContains,
            Lookup::StartsWith => Self::StartsWith,
            Lookup::IStartsWith => Self::IStartsWith,
            Lookup::EndsWith => Self::EndsWith,
            Lookup::IEndsWith => Self::IEndsWith,
            _ => return None,
        })
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::of(Lookup::from_name(name)?)
    }

    /// Is the text compared folded?
    pub const fn folds(self) -> bool {
        matches!(self, Self::IExact | Self::IContains | Self::IStartsWith | Self::IEndsWith)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::IExact => "iexact",
            Self::Contains => "contains",
            Self::IContains => "icontains",
            Self::StartsWith => "startswith",
            Self::IStartsWith => "istartswith",
            Self::EndsWith => "endswith",
            Self::IEndsWith => "iendswith",
        }
    }
}

impl Filter {
    /// The filter that selects every row.
    pub fn all() -> Self {
        Self::default()
    }

    /// The conjunction of the predicates. Their order and repetition do not matter.
    pub fn new(descriptor: &Descriptor, predicates: Vec<Predicate>) -> Self {
        let mut texts: Vec<(String, Predicate)> =
            predicates.into_iter().map(|predicate| (predicate.canonical(descriptor), predicate)).collect();
        texts.sort_by(|(left, _), (right, _)| left.cmp(right));
        texts.dedup_by(|(left, _), (right, _)| left == right);
        let mut canonical = String::new();
        let mut kept = Vec::with_capacity(texts.len());
        for (text, predicate) in texts {
            if !canonical.is_empty() {
                canonical.push('&');
            }
            canonical.push_str(&text);
            kept.push(predicate);
        }
        Self { predicates: kept, canonical }
    }

    /// The lookups, all of which a row must satisfy.
    pub fn predicates(&self) -> &[Predicate] {
        &self.predicates
    }

    /// The text by which equal filters are recognised. It names fields, not their indexes, so that it outlives a build.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Does the row satisfy every predicate?
    pub fn matches(&self, row: &dyn Record) -> bool {
        self.predicates.iter().all(|predicate| predicate.matches(row))
    }
}

impl Predicate {
    fn canonical(&self, descriptor: &Descriptor) -> String {
        let mut out = String::new();
        if self.negated {
            out.push('!');
        }
        out.push_str(descriptor.fields[self.field].name);
        if let Some(part) = self.part {
            out.push('.');
            out.push_str(part.name());
        }
        match &self.condition {
            Condition::OneOf(values) => {
                out.push_str("=[");
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value.write_json(&mut out);
                }
                out.push(']');
            }
            Condition::IsNull(yes) => {
                let _ = write!(out, "?{yes}");
            }
            Condition::Between { lower, upper } => {
                for (sign, bound) in [('>', lower), ('<', upper)] {
                    if let Some((value, included)) = bound {
                        out.push(sign);
                        if *included {
                            out.push('=');
                        }
                        value.write_json(&mut out);
                    }
                }
            }
            Condition::Text(how, pattern) => {
                out.push('~');
                out.push_str(how.name());
                crate::value::write_text(pattern, &mut out);
            }
            Condition::Path(path) => out.push_str(path.text()),
            Condition::Regex(regex) => {
                out.push_str(if regex.ignores_case() { "~iregex" } else { "~regex" });
                crate::value::write_text(regex.pattern(), &mut out);
            }
        }
        out
    }
}
