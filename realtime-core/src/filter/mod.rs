//! A filter: which rows of a resource somebody asks for. One form with two readings that agree, [`Filter::matches`] in
//! memory and the condition that `sql` writes.

mod argument;
mod matches;
mod parse;
mod path;
mod regex;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::mem::discriminant;

pub use argument::parse_key;
pub(crate) use argument::parse_value;
pub use parse::{RawArgument, parse};
pub(crate) use parse::{between, one_of, parted, too_many_entries, too_many_regexes};
pub use path::PathCondition;
#[cfg(feature = "sqlite")]
pub(crate) use path::holds_by_text;
pub use regex::Regex;

use crate::lookup::Lookup;
use crate::part::Part;
use crate::resource::Descriptor;
use crate::value::Value;
use crate::zone::Zone;

/// Terms all of which must hold, in canonical form: filters that are written differently and mean the same by the rules
/// of [`Filter::of_terms`] are equal texts, and so one group.
///
/// What clients write is a conjunction of optionally negated lookups; alternatives come from the application, for
/// instance from what a principal may see. A negation is always one of a lookup: those of whole filters are moved
/// inwards when they are made, which two-valued lookups allow.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    terms: Vec<Term>,
    canonical: Box<str>,
    /// Where in it the text of each term but the last one ends.
    ends: Box<[usize]>,
}

/// Some of a filter's terms, none of which is beyond the 32nd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TermSet(u32);

impl TermSet {
    /// The term of a number alone; none where the number is too great.
    pub(crate) fn of(at: usize) -> Self {
        Self(u32::try_from(at).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or_default())
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn contains(self, at: usize) -> bool {
        self.0 & Self::of(at).0 != 0
    }
}

impl FromIterator<Self> for TermSet {
    fn from_iter<T: IntoIterator<Item = Self>>(sets: T) -> Self {
        Self(sets.into_iter().fold(0, |all, set| all | set.0))
    }
}

/// A part of a conjunction.
#[derive(Clone, Debug)]
pub enum Term {
    /// A lookup must hold.
    Is(Predicate),
    /// At least one of the filters must; with none, nothing does.
    Any(Vec<Filter>),
}

/// One lookup on one field, or its negation.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// The index of the field.
    pub field: usize,
    /// The part of the field that is compared; `None` for the field itself.
    pub part: Option<Part>,
    /// The zone in which the part of a timestamp is read; `None` for UTC.
    pub zone: Option<&'static Zone>,
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
        lower: Bound,
        /// The upper bound and whether it is included.
        upper: Bound,
    },
    /// The text compares so with the argument.
    Text(TextMatch, String),
    /// The regular expression matches somewhere in the text.
    Regex(Regex),
    /// What lies at a path in JSON is so. `NULL` has nothing at any path.
    Path(PathCondition),
}

/// A bound and whether it is included; `None` where there is none.
pub type Bound = Option<(Value<'static>, bool)>;

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

    #[cfg(feature = "sqlite")]
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

    /// The filter that selects no row.
    pub fn nothing() -> Self {
        Self { terms: vec![Term::Any(Vec::new())], canonical: NOTHING.into(), ends: Box::default() }
    }

    /// The conjunction of the predicates. Their order and repetition do not matter.
    pub fn new(descriptor: &Descriptor, predicates: Vec<Predicate>) -> Self {
        Self::of_terms(descriptor, predicates.into_iter().map(Term::Is).collect())
    }

    /// The conjunction of terms. Their order and repetition do not matter; one alternative alone is as good as its
    /// terms, and alternatives one of which selects every row are no condition.
    pub fn of_terms(descriptor: &Descriptor, terms: Vec<Term>) -> Self {
        let mut texts: Vec<(String, Term)> = Vec::with_capacity(terms.len());
        for term in terms {
            match term {
                Term::Any(filters) if filters.iter().any(Self::is_all) => {}
                Term::Any(mut filters) if filters.len() == 1 => {
                    let terms = filters.remove(0).terms;
                    texts.extend(terms.into_iter().map(|term| (term.canonical(descriptor), term)));
                }
                term => texts.push((term.canonical(descriptor), term)),
            }
        }
        if texts.iter().any(|(text, _)| text == NOTHING) {
            return Self::nothing();
        }
        texts.sort_by(|(left, _), (right, _)| left.cmp(right));
        texts.dedup_by(|(left, _), (right, _)| left == right);
        let mut canonical = String::new();
        let mut kept = Vec::with_capacity(texts.len());
        let mut ends = Vec::with_capacity(texts.len());
        for (text, term) in texts {
            if !canonical.is_empty() {
                canonical.push('&');
            }
            canonical.push_str(&text);
            ends.push(canonical.len());
            kept.push(term);
        }
        ends.pop();
        Self { terms: kept, canonical: canonical.into(), ends: ends.into() }
    }

    /// What both select.
    pub fn and(self, descriptor: &Descriptor, other: Self) -> Self {
        if other.is_all() {
            return self;
        }
        if self.is_all() {
            return other;
        }
        let mut terms = self.terms;
        terms.extend(other.terms);
        Self::of_terms(descriptor, terms)
    }

    /// What at least one of them selects.
    pub fn or(self, descriptor: &Descriptor, other: Self) -> Self {
        Self::any(descriptor, [self, other])
    }

    /// What at least one of the filters selects.
    pub fn any(descriptor: &Descriptor, filters: impl IntoIterator<Item = Self>) -> Self {
        let mut alternatives: Vec<Self> = Vec::new();
        for filter in filters {
            match <[Term; 1]>::try_from(filter.terms) {
                Ok([Term::Any(filters)]) => alternatives.extend(filters),
                Ok(terms) => alternatives.push(Self { terms: terms.into(), ..filter }),
                Err(terms) => alternatives.push(Self { terms, ..filter }),
            }
        }
        alternatives.retain(|filter| *filter.canonical != *NOTHING);
        alternatives.sort_by(|left, right| left.canonical.cmp(&right.canonical));
        alternatives.dedup_by(|left, right| left.canonical == right.canonical);
        Self::of_terms(descriptor, vec![Term::Any(alternatives)])
    }

    /// What it does not select.
    pub fn not(self, descriptor: &Descriptor) -> Self {
        let negated = self.terms.into_iter().map(|term| match term {
            Term::Is(predicate) => {
                Self::new(descriptor, vec![Predicate { negated: !predicate.negated, ..predicate }])
            }
            Term::Any(filters) => {
                let terms = filters.into_iter().flat_map(|filter| filter.not(descriptor).terms);
                Self::of_terms(descriptor, terms.collect())
            }
        });
        Self::any(descriptor, negated)
    }

    /// What exactly one of them selects. What both ask for is asked once.
    pub fn xor(self, descriptor: &Descriptor, other: Self) -> Self {
        let texts = |filter: &Self| -> HashSet<String> {
            filter.terms.iter().map(|term| term.canonical(descriptor)).collect()
        };
        let (of_self, of_other) = (texts(&self), texts(&other));
        let (common, own): (Vec<Term>, Vec<Term>) =
            self.terms.into_iter().partition(|term| of_other.contains(&term.canonical(descriptor)));
        let others =
            other.terms.into_iter().filter(|term| !of_self.contains(&term.canonical(descriptor))).collect();
        let (own, others) = (Self::of_terms(descriptor, own), Self::of_terms(descriptor, others));
        let apart = own
            .clone()
            .and(descriptor, others.clone().not(descriptor))
            .or(descriptor, others.and(descriptor, own.not(descriptor)));
        Self::of_terms(descriptor, common).and(descriptor, apart)
    }

    /// The terms, all of which a row must satisfy.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The lookups among the terms.
    pub fn predicates(&self) -> impl Iterator<Item = &Predicate> {
        self.terms.iter().filter_map(|term| match term {
            Term::Is(predicate) => Some(predicate),
            Term::Any(_) => None,
        })
    }

    /// The texts of some terms, by which equal terms are recognised.
    pub(crate) fn texts(&self, terms: TermSet) -> impl Iterator<Item = &str> {
        // Between two texts is a `&`.
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 1));
        let ends = self.ends.iter().copied().chain([self.canonical.len()]);
        let texts = starts.zip(ends).map(|(start, end)| &self.canonical[start..end]);
        texts.enumerate().filter(move |(at, _)| terms.contains(*at)).map(|(_, text)| text)
    }

    /// Are some terms of it the same as some of another filter of the resource, so that a row satisfies both or neither?
    ///
    /// The texts do not say of which kind a value is: those of a decimal number and of the text of its digits are one. A
    /// client asks for one kind of a field only; an application that asks for both with nothing beside it has one group.
    pub(crate) fn is_alike(&self, terms: TermSet, (other, others): (&Self, TermSet)) -> bool {
        fn chosen(filter: &Filter, set: TermSet) -> impl Iterator<Item = &Term> {
            filter.terms.iter().enumerate().filter(move |(at, _)| set.contains(*at)).map(|(_, term)| term)
        }
        self.texts(terms).eq(other.texts(others))
            && chosen(self, terms).zip(chosen(other, others)).all(|(term, other)| term.has_kinds_of(other))
    }

    /// How many of the lookups have a regular expression.
    pub(crate) fn regexes(&self) -> usize {
        let has_one = |predicate: &&Predicate| match &predicate.condition {
            Condition::Regex(_) => true,
            Condition::Path(path) => path.has_regex(),
            _ => false,
        };
        self.predicates().filter(has_one).count()
    }

    /// The indexes of the fields that it looks at.
    pub fn fields(&self) -> Vec<usize> {
        let mut fields = Vec::new();
        for term in &self.terms {
            match term {
                Term::Is(predicate) => fields.push(predicate.field),
                Term::Any(filters) => fields.extend(filters.iter().flat_map(Self::fields)),
            }
        }
        fields
    }

    /// Does it select every row, whatever is in it?
    pub fn is_all(&self) -> bool {
        self.terms.is_empty()
    }

    /// The text by which equal filters are recognised. It names fields, not their indexes, so that it outlives a build.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// The canonical text of what selects no row.
const NOTHING: &str = "()";

impl Term {
    /// Are the values in both of the same kinds, where their texts are the same?
    fn has_kinds_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(left), Self::Is(right)) => left.has_kinds_of(right),
            (Self::Any(left), Self::Any(right)) => {
                all_pairs(left, right, |left, right| all_pairs(&left.terms, &right.terms, Self::has_kinds_of))
            }
            (Self::Is(_), Self::Any(_)) | (Self::Any(_), Self::Is(_)) => false,
        }
    }

    fn canonical(&self, descriptor: &Descriptor) -> String {
        match self {
            Self::Is(predicate) => predicate.canonical(descriptor),
            // In their order: whoever puts them together sorts them.
            Self::Any(filters) => {
                let texts: Vec<&str> = filters.iter().map(|filter| &*filter.canonical).collect();
                format!("({})", texts.join("|"))
            }
        }
    }
}

fn all_pairs<T>(left: &[T], right: &[T], holds: impl Fn(&T, &T) -> bool) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| holds(left, right))
}

impl Predicate {
    fn has_kinds_of(&self, other: &Self) -> bool {
        let zone = |predicate: &Self| predicate.zone.map(std::ptr::from_ref);
        let is_same =
            |left: &Value<'static>, right: &Value<'static>| discriminant(left) == discriminant(right);
        let bounds = |left: &Bound, right: &Bound| match (left, right) {
            (Some((left, _)), Some((right, _))) => is_same(left, right),
            (left, right) => left.is_none() && right.is_none(),
        };
        self.field == other.field
            && zone(self) == zone(other)
            && match (&self.condition, &other.condition) {
                (Condition::OneOf(left), Condition::OneOf(right)) => all_pairs(left, right, is_same),
                (
                    Condition::Between { lower, upper },
                    Condition::Between { lower: other_lower, upper: other_upper },
                ) => bounds(lower, other_lower) && bounds(upper, other_upper),
                (left, right) => discriminant(left) == discriminant(right),
            }
    }

    /// The condition must hold of a field itself.
    pub(crate) fn of(field: usize, condition: Condition) -> Self {
        Self { field, part: None, zone: None, negated: false, condition }
    }

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
        if let Some(zone) = self.zone {
            out.push('@');
            out.push_str(zone.name());
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
