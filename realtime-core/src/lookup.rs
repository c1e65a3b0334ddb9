//! The lookups: what a filter may ask of one field.

use crate::field::Kind;
use crate::part::Part;

/// One comparison of a field with an argument. `not__` is not one of them: it belongs to the predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lookup {
    /// Equal; `null` as the argument asks for `NULL`.
    Exact,
    /// Equal without regard to case.
    IExact,
    /// Contains the text.
    Contains,
    /// Contains the text without regard to case.
    IContains,
    /// Begins with the text.
    StartsWith,
    /// Begins with the text without regard to case.
    IStartsWith,
    /// Ends with the text.
    EndsWith,
    /// Ends with the text without regard to case.
    IEndsWith,
    /// Equal to one of a list.
    In,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Gte,
    /// Less than.
    Lt,
    /// Less than or equal.
    Lte,
    /// Between two values, both included.
    Range,
    /// Is `NULL` (`true`) or is not (`false`).
    IsNull,
    /// Matches the regular expression somewhere.
    Regex,
    /// Matches the regular expression somewhere without regard to case.
    IRegex,
}

impl Lookup {
    /// Every lookup, in the order in which errors list them.
    pub const ALL: &'static [Self] = &[
        Self::Exact,
        Self::IExact,
        Self::Contains,
        Self::IContains,
        Self::StartsWith,
        Self::IStartsWith,
        Self::EndsWith,
        Self::IEndsWith,
        Self::In,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::Range,
        Self::IsNull,
        Self::Regex,
        Self::IRegex,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::IExact => "iexact",
            Self::Contains => "contains",
            Self::IContains => "icontains",
            Self::StartsWith => "startswith",
            Self::IStartsWith => "istartswith",
            Self::EndsWith => "endswith",
            Self::IEndsWith => "iendswith",
            Self::In => "in",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Range => "range",
            Self::IsNull => "isnull",
            Self::Regex => "regex",
            Self::IRegex => "iregex",
        }
    }

    /// The lookup of a name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|lookup| lookup.name() == name)
    }

    /// Does the argument consist of several values?
    pub const fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Range)
    }
}

/// Where the bits of the parts begin in a [`LookupSet`].
const FIRST_PART: u32 = 24;

/// The bit of key paths in a [`LookupSet`].
const PATH: u32 = 1 << 23;

/// A set of lookups, of the parts of a date or a timestamp that may stand before one, and perhaps of the key paths of
/// JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupSet(u32);

impl LookupSet {
    /// No lookup at all.
    pub const NONE: Self = Self(0);

    /// The given lookups.
    pub const fn of(lookups: &[Lookup]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < lookups.len() {
            set |= 1 << lookups[at] as u32;
            at += 1;
        }
        Self(set)
    }

    /// The same lookups, and the given parts.
    #[must_use]
    pub const fn with_parts(mut self, parts: &[Part]) -> Self {
        let mut at = 0;
        while at < parts.len() {
            self.0 |= 1 << (FIRST_PART + parts[at] as u32);
            at += 1;
        }
        self
    }

    /// The same lookups, and key paths.
    #[must_use]
    pub const fn with_paths(self) -> Self {
        Self(self.0 | PATH)
    }

    /// Are key paths in the set?
    pub const fn contains_paths(self) -> bool {
        self.0 & PATH != 0
    }

    /// Every lookup and part that makes sense for a kind of field.
    pub const fn of_kind(kind: Kind) -> Self {
        use Lookup::{Exact, Gt, Gte, In, IsNull, Lt, Lte, Range};
        let ordered = Self::of(&[Exact, In, Gt, Gte, Lt, Lte, Range, IsNull]);
        match kind {
            Kind::Bool | Kind::Enum(_) | Kind::Bytes => Self::of(&[Exact, In, IsNull]),
            Kind::Integer { .. } | Kind::Float | Kind::Time => ordered,
            Kind::Date => {
                ordered.with_parts(&[Part::Year, Part::Month, Part::Day, Part::WeekDay, Part::Quarter])
            }
            Kind::Timestamp | Kind::NaiveTimestamp => ordered.with_parts(Part::ALL),
            Kind::Text => Self::of(Lookup::ALL),
            Kind::Uuid => Self::of(&[Exact, In, IsNull]),
            Kind::Decimal => ordered,
            Kind::Json => Self::of(&[IsNull]).with_paths(),
        }
    }

    /// Is the part one of the set?
    pub const fn contains_part(self, part: Part) -> bool {
        self.0 & (1 << (FIRST_PART + part as u32)) != 0
    }

    /// The parts of the set, in the order of [`Part::ALL`].
    pub fn parts(self) -> impl Iterator<Item = Part> {
        Part::ALL.iter().copied().filter(move |part| self.contains_part(*part))
    }

    /// The names of the lookups and parts of the set, as errors list them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let paths = self.contains_paths().then_some("key paths");
        self.iter().map(Lookup::name).chain(self.parts().map(Part::name)).chain(paths)
    }

    /// Is the lookup one of the set?
    pub const fn contains(self, lookup: Lookup) -> bool {
        self.0 & (1 << lookup as u32) != 0
    }

    /// Is the set empty?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lookups of the set, in the order of [`Lookup::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Lookup> {
        Lookup::ALL.iter().copied().filter(move |lookup| self.contains(*lookup))
    }
}

/// Stops the build where a resource names a lookup that the field's type does not have.
///
/// The derive calls it in a constant that is spanned on the user's own token.
#[track_caller]
pub const fn check_lookup(kind: Kind, lookup: Lookup) {
    if LookupSet::of_kind(kind).contains(lookup) {
        return;
    }
    match kind {
        Kind::Bool => panic!("a boolean field has the lookups `exact`, `in` and `isnull`"),
        Kind::Enum(_) => panic!("an enum field has the lookups `exact`, `in` and `isnull`"),
        Kind::Integer { .. } => panic!(
            "an integer field has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte`, `range` and `isnull`"
        ),
        Kind::Float => {
            panic!(
                "a float field has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte`, `range` and `isnull`"
            )
        }
        Kind::Timestamp | Kind::NaiveTimestamp => panic!(
            "a timestamp field has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte`, `range` and `isnull`, and its parts"
        ),
        Kind::Date => panic!(
            "a date field has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte`, `range` and `isnull`, and its parts"
        ),
        Kind::Time => {
            panic!(
                "a time field has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte`, `range` and `isnull`"
            )
        }
        Kind::Bytes => panic!("a field of bytes has the lookups `exact`, `in` and `isnull`"),
        Kind::Text => panic!("a text field does not have this lookup"),
        Kind::Uuid => panic!("a UUID field has the lookups `exact`, `in` and `isnull`"),
        Kind::Decimal => panic!(
            "a decimal field has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte`, `range` and `isnull`"
        ),
        Kind::Json => panic!("a JSON field has the lookup `isnull`, and key paths as `path`"),
    }
}

/// Stops the build where a resource allows key paths of a field that has none.
#[track_caller]
pub const fn check_path(kind: Kind) {
    if !kind.is_json() {
        panic!("only JSON fields have key paths");
    }
}

/// Stops the build where a field makes groups whose values nobody can name.
#[track_caller]
pub const fn check_group(kind: Kind) {
    if kind.is_json() {
        panic!("JSON makes no groups: two documents are never compared");
    }
}

/// Stops the build where a resource names a part that the field's type does not have.
#[track_caller]
pub const fn check_part(kind: Kind, part: Part) {
    if LookupSet::of_kind(kind).contains_part(part) {
        return;
    }
    match kind {
        Kind::Date => panic!("a date has the parts `year`, `month`, `day`, `week_day` and `quarter`"),
        _ => panic!("only dates and timestamps have parts"),
    }
}

/// Stops the build where a resource names a lookup that a part does not have.
#[track_caller]
pub const fn check_part_lookup(lookup: Lookup) {
    if !Part::LOOKUPS.contains(lookup) {
        panic!("a part has the lookups `exact`, `in`, `gt`, `gte`, `lt`, `lte` and `range`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_lookups() {
        for lookup in Lookup::ALL {
            assert_eq!(Lookup::from_name(lookup.name()), Some(*lookup));
        }
        assert_eq!(Lookup::from_name("EXACT"), None);
    }
}
