//! Which groups a row may concern, found without asking each of them.
//!
//! Every group is filed once, under its *access predicate*: the one of its conjunction that the fewest rows satisfy, or
//! those of all alternatives where the conjunction has nothing as good. A row leads from the values of its fields to the
//! groups that are filed under them, the candidates; whether one is really concerned, its whole filter says, of which what
//! led to it is decided once for all groups that have it in common. A group without an access predicate is in the scan
//! list, and is a candidate always.

mod affix;
mod interval;
mod key;
mod needle;
mod pieces;
mod posting;
mod shape;
mod shared;

use self::affix::Affixes;
use self::interval::Intervals;
pub(crate) use self::key::Hashes;
use self::key::ordered;
use self::needle::Needles;
pub(crate) use self::pieces::Pieces;
use self::posting::Posting;
pub(crate) use self::posting::{Slot, Table};
use self::shape::{Filed, Shapes};
use self::shared::Shared;
pub(crate) use self::shared::{Images, SharedTerms};
use crate::field::Kind;
use crate::filter::{Bound, Condition, Filter, Predicate, Term, TermSet, TextMatch};
use crate::fold::with_folded;
use crate::resource::{Descriptor, Record};
use crate::value::Value;

/// The groups of one resource, by what they ask for.
#[derive(Debug)]
pub(crate) struct Index {
    descriptor: &'static Descriptor,
    hashes: Hashes,
    /// Only the fields that a group has been filed under.
    fields: Vec<FieldIndex>,
    /// The groups that are filed under several fields.
    shapes: Shapes,
    scan: Posting,
    shared: Shared,
}

impl Index {
    pub(crate) fn new(descriptor: &'static Descriptor) -> Self {
        Self {
            descriptor,
            hashes: Hashes::default(),
            fields: Vec::new(),
            shapes: Shapes::default(),
            scan: Posting::default(),
            shared: Shared::default(),
        }
    }

    /// How many groups are candidates for every change.
    pub(crate) fn scanned(&self) -> usize {
        self.scan.len()
    }

    /// Files a group, and says what of its filter it has in common with others. `of` says what the others ask for, of
    /// which some may have to be filed anew, and what has been said of them.
    pub(crate) fn insert<'a>(
        &mut self,
        slot: Slot,
        filter: &Filter,
        of: impl Fn(Slot) -> Option<(&'a Filter, SharedTerms)>,
    ) -> SharedTerms {
        let access = Access::of(filter, self.descriptor);
        let shared = self.shared.insert(&self.hashes, slot, (filter, access.terms()), &of);
        let Some(fields) = self.file(slot, access) else { return shared };
        let moved = self.shapes.to_be_moved(&fields);
        // The group itself is none of the others yet.
        let filter_of =
            |other| if other == slot { Some(filter) } else { of(other).map(|(filter, _)| filter) };
        let filters = || moved.iter().filter_map(|slot| Some((*slot, filter_of(*slot)?)));
        for (slot, filter) in filters() {
            self.unfile(slot, Access::of(filter, self.descriptor));
        }
        self.shapes.tell_apart(fields);
        for (slot, filter) in filters() {
            // Whatever else would deserve a place now is given it when somebody asks for it again.
            self.file(slot, Access::of(filter, self.descriptor));
        }
        shared
    }

    /// Undoes an insertion of the same filter: its access predicate is found again, not remembered.
    pub(crate) fn remove(&mut self, slot: Slot, filter: &Filter) {
        let access = Access::of(filter, self.descriptor);
        self.shared.remove(&self.hashes, slot, (filter, access.terms()));
        self.unfile(slot, access);
    }

    /// The set of fields that deserves a place of its own now, if there is one.
    fn file(&mut self, slot: Slot, access: Access<'_>) -> Option<Vec<usize>> {
        let mut deserving = None;
        match access {
            Access::Never => {}
            Access::Scan => self.scan.insert(slot),
            Access::Under(Under { entries, .. }) => {
                for entry in entries {
                    let (number, key) = match entry {
                        Entry::Field(number, key) => (number, key),
                        Entry::Fields(lists) => match self.shapes.insert(&self.hashes, &lists, slot) {
                            Filed::Here => continue,
                            Filed::UnderOne => fewest(&lists),
                            Filed::UnderOneBut(fields) => {
                                deserving = Some(fields);
                                fewest(&lists)
                            }
                        },
                    };
                    let at =
                        self.fields.iter().position(|field| field.number == number).unwrap_or_else(|| {
                            self.fields.push(FieldIndex::new(number));
                            self.fields.len() - 1
                        });
                    self.fields[at].insert(&self.hashes, &key, slot);
                }
            }
        }
        deserving
    }

    fn unfile(&mut self, slot: Slot, access: Access<'_>) {
        match access {
            Access::Never => {}
            Access::Scan => {
                self.scan.remove(slot);
            }
            Access::Under(Under { entries, .. }) => {
                for entry in entries {
                    let (number, key) = match entry {
                        Entry::Field(number, key) => (number, key),
                        Entry::Fields(lists) if self.shapes.remove(&self.hashes, &lists, slot) => continue,
                        Entry::Fields(lists) => fewest(&lists),
                    };
                    if let Some(at) = self.fields.iter().position(|field| field.number == number) {
                        self.fields[at].remove(&self.hashes, &key, slot);
                        if self.fields[at].is_empty() {
                            self.fields.swap_remove(at);
                        }
                    }
                }
            }
        }
    }

    /// Appends the candidates for a change from one image to another, some of them perhaps twice.
    pub(crate) fn probe(
        &mut self,
        before: Option<&dyn Record>,
        after: Option<&dyn Record>,
        found: &mut Vec<Slot>,
    ) {
        self.shared.begin();
        self.scan.append_to(found);
        self.shapes.probe(&self.hashes, before, after, found);
        for field in &mut self.fields {
            let before = before.map(|row| row.value(field.number));
            let after = after.map(|row| row.value(field.number));
            if let Some(value) = &before {
                field.probe(&self.hashes, value, found);
            }
            if let Some(value) = &after
                && !before.as_ref().is_some_and(|before| leads_to_the_same(before, value))
            {
                field.probe(&self.hashes, value, found);
            }
        }
    }

    /// Which images of the change that was [probed](Self::probe) last satisfy the filter of a group.
    #[inline]
    pub(crate) fn decide(
        &mut self,
        shared: SharedTerms,
        filter: &Filter,
        before: Option<&dyn Record>,
        after: Option<&dyn Record>,
    ) -> Images {
        let terms = shared.terms();
        let common = self.shared.decide(shared, || Images {
            before: before.is_some_and(|row| filter.matches_in(terms, row)),
            after: after.is_some_and(|row| filter.matches_in(terms, row)),
        });
        Images {
            before: common.before && before.is_some_and(|row| filter.matches_outside(terms, row)),
            after: common.after && after.is_some_and(|row| filter.matches_outside(terms, row)),
        }
    }
}

/// Coarser than [`Value::is_same`] where filters are (`-0.0`), and finer where they are (`null` in JSON is no `NULL`).
fn leads_to_the_same(left: &Value<'_>, right: &Value<'_>) -> bool {
    (left.is_null() && right.is_null()) || left.compare(right).is_some_and(std::cmp::Ordering::is_eq)
}

/// Where a group is filed.
enum Access<'a> {
    /// Nowhere: no row satisfies the filter.
    Never,
    Under(Under<'a>),
    Scan,
}

/// Under keys of fields: one of them leads to every row that satisfies the filter.
struct Under<'a> {
    expected: Expected,
    /// The terms that have those keys.
    terms: TermSet,
    entries: Vec<Entry<'a>>,
}

enum Entry<'a> {
    Field(usize, Key<'a>),
    /// Under the values of several fields, each choice of them; by ascending field.
    Fields(Vec<(usize, &'a [Value<'static>])>),
}

/// The most choices of values of several fields that a group is filed under.
const CHOICES: usize = 16;

/// The field with the fewest values: what a group is filed under where it cannot be under all of them.
fn fewest<'a>(lists: &[(usize, &'a [Value<'static>])]) -> (usize, Key<'a>) {
    let fewest = lists.iter().min_by_key(|(_, values)| values.len());
    fewest.map_or((0, Key::OneOf(&[])), |(field, values)| (*field, Key::OneOf(values)))
}

/// What a group is filed under, of a field.
enum Key<'a> {
    Null,
    OneOf(&'a [Value<'static>]),
    /// Between two numbers of [`ordered`].
    Interval(u128, u128),
    Text(TextMatch, &'a str),
}

/// How many rows satisfy an access predicate, as far as its form says; the least first.
///
/// The number of groups under the same key does not count: a group costs as often as a row leads to it, no matter who
/// else is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Expected {
    /// So many rows.
    Keys(usize),
    /// The rows with so many choices of values of several fields.
    Choices(usize),
    /// The rows with one of so many values.
    Values(usize),
    /// The longer the text, the fewer rows.
    Affix(std::cmp::Reverse<usize>),
    Needle(std::cmp::Reverse<usize>),
    Range,
    /// A share of the rows.
    Variants(usize),
    HalfOpen,
    Null,
    Truth,
}

impl<'a> Access<'a> {
    fn of(filter: &'a Filter, descriptor: &Descriptor) -> Self {
        let mut best: Option<Under<'a>> = None;
        let is_best =
            |best: &Option<Under<'_>>, expected| best.as_ref().is_none_or(|best| expected < best.expected);
        let mut lists: Vec<(usize, &[Value<'static>])> = Vec::new();
        let mut listed: Vec<(usize, TermSet)> = Vec::new();
        for (at, term) in filter.terms().iter().enumerate() {
            let Term::Is(predicate) = term else { continue };
            if let Condition::OneOf(values) = &predicate.condition
                && values.is_empty()
                && !predicate.negated
            {
                return Self::Never;
            }
            if predicate.part.is_some() {
                continue;
            }
            let Some((expected, key)) = (match &predicate.condition {
                Condition::IsNull(yes) if *yes != predicate.negated => Some((Expected::Null, Key::Null)),
                _ if predicate.negated => None,
                Condition::OneOf(values) => {
                    if lists.iter().all(|(field, _)| *field != predicate.field) {
                        lists.push((predicate.field, values));
                        listed.push((predicate.field, TermSet::of(at)));
                    }
                    Some((one_of(predicate, values, descriptor), Key::OneOf(values)))
                }
                Condition::Between { .. } => match interval(filter, predicate.field) {
                    None => return Self::Never,
                    Some((0, u128::MAX)) => None,
                    Some((lower, upper)) => {
                        let is_open = lower == 0 || upper == u128::MAX;
                        let expected = if is_open { Expected::HalfOpen } else { Expected::Range };
                        Some((expected, Key::Interval(lower, upper)))
                    }
                },
                // Every text begins so, ends so and contains it.
                Condition::Text(how, pattern) if pattern.is_empty() && *how != TextMatch::IExact => None,
                Condition::Text(how, pattern) => {
                    let longest = std::cmp::Reverse(pattern.len());
                    let expected = match how {
                        TextMatch::IExact => Expected::Values(1),
                        TextMatch::Contains | TextMatch::IContains => Expected::Needle(longest),
                        _ => Expected::Affix(longest),
                    };
                    Some((expected, Key::Text(*how, pattern)))
                }
                Condition::IsNull(_) | Condition::Regex(_) | Condition::Path(_) => None,
            }) else {
                continue;
            };
            if is_best(&best, expected) {
                let terms = match key {
                    Key::Interval(..) => {
                        bounds(filter, predicate.field).map(|(at, _)| TermSet::of(at)).collect()
                    }
                    _ => TermSet::of(at),
                };
                best = Some(Under { expected, terms, entries: vec![Entry::Field(predicate.field, key)] });
            }
        }
        let choices = choose(&mut lists);
        if lists.len() > 1 && is_best(&best, Expected::Choices(choices)) {
            let is_chosen = |field: &usize| lists.iter().any(|(chosen, _)| chosen == field);
            let terms =
                listed.into_iter().filter(|(field, _)| is_chosen(field)).map(|(_, term)| term).collect();
            let expected = Expected::Choices(choices);
            best = Some(Under { expected, terms, entries: vec![Entry::Fields(lists)] });
        }
        for (at, term) in filter.terms().iter().enumerate() {
            let Term::Any(filters) = term else { continue };
            match Self::of_any(TermSet::of(at), filters, descriptor) {
                Self::Never => return Self::Never,
                Self::Under(under) if is_best(&best, under.expected) => best = Some(under),
                Self::Under(_) | Self::Scan => {}
            }
        }
        best.map_or(Self::Scan, Self::Under)
    }

    /// The terms that lead to the rows.
    fn terms(&self) -> TermSet {
        match self {
            Self::Under(under) => under.terms,
            Self::Never | Self::Scan => TermSet::default(),
        }
    }

    /// Alternatives, which are a term, are filed under the access predicates of each, and are as good as the worst of them.
    fn of_any(terms: TermSet, filters: &'a [Filter], descriptor: &Descriptor) -> Self {
        let mut any = Self::Never;
        for filter in filters {
            any = match (any, Self::of(filter, descriptor)) {
                (Self::Scan, _) | (_, Self::Scan) => return Self::Scan,
                (any, Self::Never) => any,
                (Self::Never, Self::Under(first)) => Self::Under(Under { terms, ..first }),
                (Self::Under(mut any), Self::Under(other)) => {
                    any.entries.extend(other.entries);
                    Self::Under(Under { expected: any.expected.max(other.expected), ..any })
                }
            };
        }
        any
    }
}

/// Leaves as many fields as have few choices of values together, and says how many.
fn choose(lists: &mut Vec<(usize, &[Value<'static>])>) -> usize {
    lists.sort_unstable_by_key(|(field, values)| (values.len(), *field));
    let mut choices = 1;
    lists.retain(|(_, values)| {
        let fits = choices * values.len() <= CHOICES;
        choices *= if fits { values.len() } else { 1 };
        fits
    });
    lists.sort_unstable_by_key(|(field, _)| *field);
    choices
}

fn one_of(predicate: &Predicate, values: &[Value<'static>], descriptor: &Descriptor) -> Expected {
    if predicate.field == descriptor.key {
        return Expected::Keys(values.len());
    }
    match descriptor.fields.get(predicate.field).map(|field| field.kind) {
        Some(Kind::Bool) => Expected::Truth,
        Some(Kind::Enum(_)) => Expected::Variants(values.len()),
        _ => Expected::Values(values.len()),
    }
}

/// The bounds of a field, each with the number of its term.
fn bounds(filter: &Filter, field: usize) -> impl Iterator<Item = (usize, (&Bound, &Bound))> {
    filter.terms().iter().enumerate().filter_map(move |(at, term)| match term {
        Term::Is(Predicate {
            field: of,
            part: None,
            negated: false,
            condition: Condition::Between { lower, upper },
            ..
        }) if *of == field => Some((at, (lower, upper))),
        _ => None,
    })
}

/// What all bounds of a field leave; `None` where that is nothing.
fn interval(filter: &Filter, field: usize) -> Option<(u128, u128)> {
    let (mut least, mut greatest) = (0, u128::MAX);
    for (_, (lower, upper)) in bounds(filter, field) {
        // Nothing compares with a bound that has no order.
        if let Some((bound, _)) = lower {
            least = least.max(ordered(bound)?);
        }
        if let Some((bound, _)) = upper {
            greatest = greatest.min(ordered(bound)?);
        }
    }
    (least <= greatest).then_some((least, greatest))
}

/// The groups that are filed under one field.
#[derive(Debug)]
struct FieldIndex {
    number: usize,
    values: Table,
    intervals: Intervals,
    exact: TextIndex,
    folded: TextIndex,
}

/// The groups that ask for a text, as it is or folded.
#[derive(Debug, Default)]
struct TextIndex {
    whole: Table,
    starts: Affixes,
    ends: Affixes,
    needles: Needles,
}

impl FieldIndex {
    fn new(number: usize) -> Self {
        Self {
            number,
            values: Table::default(),
            intervals: Intervals::default(),
            exact: TextIndex::default(),
            folded: TextIndex::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.intervals.is_empty() && self.exact.is_empty() && self.folded.is_empty()
    }

    fn text(&mut self, how: TextMatch) -> &mut TextIndex {
        if how.folds() { &mut self.folded } else { &mut self.exact }
    }

    fn insert(&mut self, hashes: &Hashes, key: &Key<'_>, slot: Slot) {
        match key {
            Key::Null => self.values.insert(hashes.value(&Value::Null), slot),
            Key::OneOf(values) => {
                for value in *values {
                    self.values.insert(hashes.value(value), slot);
                }
            }
            Key::Interval(lower, upper) => self.intervals.insert(*lower, *upper, slot),
            Key::Text(how, pattern) => {
                let index = self.text(*how);
                match how {
                    TextMatch::IExact => index.whole.insert(hashes.text(pattern), slot),
                    TextMatch::Contains | TextMatch::IContains => index.needles.insert(hashes, pattern, slot),
                    TextMatch::StartsWith | TextMatch::IStartsWith => {
                        index.starts.insert(hashes, pattern.bytes(), slot);
                    }
                    TextMatch::EndsWith | TextMatch::IEndsWith => {
                        index.ends.insert(hashes, pattern.bytes().rev(), slot);
                    }
                }
            }
        }
    }

    fn remove(&mut self, hashes: &Hashes, key: &Key<'_>, slot: Slot) {
        match key {
            Key::Null => {
                self.values.remove(hashes.value(&Value::Null), slot);
            }
            Key::OneOf(values) => {
                for value in *values {
                    self.values.remove(hashes.value(value), slot);
                }
            }
            Key::Interval(lower, upper) => self.intervals.remove(*lower, *upper, slot),
            Key::Text(how, pattern) => {
                let index = self.text(*how);
                match how {
                    TextMatch::IExact => {
                        index.whole.remove(hashes.text(pattern), slot);
                    }
                    TextMatch::Contains | TextMatch::IContains => index.needles.remove(hashes, pattern, slot),
                    TextMatch::StartsWith | TextMatch::IStartsWith => {
                        index.starts.remove(hashes, pattern.bytes(), slot);
                    }
                    TextMatch::EndsWith | TextMatch::IEndsWith => {
                        index.ends.remove(hashes, pattern.bytes().rev(), slot);
                    }
                }
            }
        }
    }

    fn probe(&mut self, hashes: &Hashes, value: &Value<'_>, found: &mut Vec<Slot>) {
        if !self.values.is_empty() {
            self.values.probe(hashes.value(value), found);
        }
        if !self.intervals.is_empty()
            && let Some(point) = ordered(value)
        {
            self.intervals.probe(point, found);
        }
        if let Value::Text(text) = value {
            if !self.exact.is_empty() {
                self.exact.probe(hashes, text, found);
            }
            if !self.folded.is_empty() && !self.folded.probe_as_ascii(hashes, text, found) {
                with_folded(text, |text| self.folded.probe(hashes, text, found));
            }
        }
    }
}

impl TextIndex {
    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.starts.is_empty() && self.ends.is_empty() && self.needles.is_empty()
    }

    /// False where that does not answer it: all of the text has to be folded.
    ///
    /// A text needs no folded copy where as much of it as is asked for is ASCII, of which every character is folded to
    /// one byte, whatever is beside it.
    fn probe_as_ascii(&self, hashes: &Hashes, text: &str, found: &mut Vec<Slot>) -> bool {
        if !self.needles.is_empty() {
            return false;
        }
        let text = text.as_bytes();
        let start = &text[..self.starts.longest().min(text.len())];
        let end = &text[text.len() - self.ends.longest().min(text.len())..];
        let is_ascii =
            if self.whole.is_empty() { start.is_ascii() && end.is_ascii() } else { text.is_ascii() };
        if is_ascii {
            if !self.whole.is_empty() {
                self.whole.probe(hashes.folded(text), found);
            }
            self.starts.probe(hashes, start.iter().map(u8::to_ascii_lowercase), found);
            self.ends.probe(hashes, end.iter().rev().map(u8::to_ascii_lowercase), found);
        }
        is_ascii
    }

    fn probe(&mut self, hashes: &Hashes, text: &str, found: &mut Vec<Slot>) {
        if !self.whole.is_empty() {
            self.whole.probe(hashes.text(text), found);
        }
        self.starts.probe(hashes, text.bytes(), found);
        self.ends.probe(hashes, text.bytes().rev(), found);
        if !self.needles.is_empty() {
            self.needles.probe(hashes, text, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::RawArgument;
    use crate::lookup::LookupSet;
    use crate::resource::{ActionSet, FieldDescriptor};

    const fn field(name: &'static str, kind: Kind) -> FieldDescriptor {
        FieldDescriptor {
            name,
            column: name,
            kind,
            nullable: true,
            read_only: false,
            write_only: false,
            required: false,
            default: None,
            example: None,
            checks: &[],
            message: None,
            computed: None,
            lookups: LookupSet::of_kind(kind),
            orderable: false,
            description: "",
        }
    }

    static DESCRIPTOR: Descriptor = Descriptor {
        stream: "rows",
        table: "rows",
        fields: &[
            field("id", Kind::Integer { min: i64::MIN, max: i64::MAX }),
            field("title", Kind::Text),
            field("done", Kind::Bool),
            field("a", Kind::Text),
            field("b", Kind::Text),
            field("c", Kind::Text),
            field("d", Kind::Text),
            field("e", Kind::Text),
            field("f", Kind::Text),
        ],
        key: 0,
        lookup: 0,
        custom: &[],
        throttle: &[],
        aliases: &[],
        bases: &[],
        actions: ActionSet::ALL,
        group_by: &[],
        lists: crate::resource::Lists::PLAIN,
        rules: crate::policy::Rules::OF_EVERYBODY,
        checks: &[],
        zone: None,
        description: "",
    };

    fn filter(json: &serde_json::Value) -> Filter {
        let members = json.as_object().expect("an object").clone().into_iter();
        let entries = members.map(|(key, json)| (key, RawArgument::Json(json)));
        crate::filter::parse(&DESCRIPTOR, entries, &crate::Limits::default()).expect("a filter")
    }

    /// Inserts one more group of those, whose slots are their places.
    fn insert(index: &mut Index, filters: &[Filter], shared: &mut Vec<SharedTerms>) {
        let slot = shared.len();
        let of = |slot: Slot| Some((&filters[slot as usize], shared.get(slot as usize).copied()?));
        let inserted = index.insert(Slot::try_from(slot).expect("few"), &filters[slot], of);
        shared.push(inserted);
    }

    fn insert_all(index: &mut Index, filters: &[Filter]) -> Vec<SharedTerms> {
        let mut shared = Vec::new();
        filters.iter().for_each(|_| insert(index, filters, &mut shared));
        shared
    }

    /// Without it, whoever subscribes and leaves again and again would fill the memory.
    #[test]
    fn a_removal_leaves_nothing_behind() {
        let mut index = Index::new(&DESCRIPTOR);
        let filters: Vec<Filter> = (0..200)
            .flat_map(|number| {
                let text = format!("T{number}");
                let mut filters = vec![
                    serde_json::json!({"id__in": [number, number + 1]}),
                    serde_json::json!({"id__range": [number, number + 9]}),
                    serde_json::json!({"title": null}),
                    serde_json::json!({"title__regex": text}),
                    serde_json::json!({"done": true, "not__id": number}),
                ];
                filters.extend(
                    [
                        "exact",
                        "iexact",
                        "startswith",
                        "istartswith",
                        "endswith",
                        "iendswith",
                        "contains",
                        "icontains",
                    ]
                    .map(|lookup| serde_json::json!({format!("title__{lookup}"): text})),
                );
                filters
            })
            .map(|json| filter(&json))
            .collect();
        insert_all(&mut index, &filters);
        assert_eq!((index.fields.len(), index.scanned()), (3, 200));
        for (slot, filter) in (0..).zip(&filters) {
            index.remove(slot, filter);
        }
        assert_eq!((index.fields.len(), index.scanned()), (0, 0));
        assert!(index.shared.is_empty());
    }

    struct Texts([&'static str; 9]);

    impl Record for Texts {
        fn value(&self, field: usize) -> Value<'_> {
            Value::Text(self.0[field].into())
        }
    }

    /// A filter that asks for a value of each of some of the fields from `a` on.
    fn of_set(set: u32, value: &str) -> Filter {
        let fields = ["a", "b", "c", "d", "e", "f"].into_iter().enumerate();
        let members = fields.filter(|(at, _)| set & 1 << at != 0);
        filter(&members.map(|(_, name)| (name.to_owned(), serde_json::json!(value))).collect())
    }

    /// Who has come first could otherwise take all the places, with a group each.
    #[test]
    fn the_sets_of_fields_that_most_ask_for_are_told_apart() {
        let all_sets = (0..1_u32 << 6).filter(|set| set.count_ones() > 1);
        let first: Vec<Filter> = all_sets.filter(|set| *set != 0b11).map(|set| of_set(set, "x")).collect();
        assert!(first.len() > 32);
        // Of one value of `a`, and another one of `b` each.
        let then = (0..500).map(|number| filter(&serde_json::json!({"a": "y", "b": number.to_string()})));
        let filters: Vec<Filter> = first.into_iter().chain(then).collect();
        let mut index = Index::new(&DESCRIPTOR);
        let mut shared = Vec::new();
        for slot in 0..filters.len() {
            insert(&mut index, &filters, &mut shared);
            let mut found = Vec::new();
            index.probe(None, Some(&Texts(["0", "", "", "y", "7", "", "", "", ""])), &mut found);
            assert!(found.len() < 4, "{} of {slot} are candidates", found.len());
        }
        let candidates = |index: &mut Index, row: Texts| {
            let mut found = Vec::new();
            index.probe(None, Some(&row), &mut found);
            found.sort_unstable();
            found.dedup();
            found.retain(|slot| filters[*slot as usize].matches(&row));
            found.len()
        };
        // Those that had to make room are found as well.
        assert_eq!(candidates(&mut index, Texts(["0", "", "", "x", "x", "x", "x", "x", "x"])), 56);
        assert_eq!(candidates(&mut index, Texts(["0", "", "", "y", "499", "", "", "", ""])), 1);
        for (slot, filter) in (0..).zip(&filters) {
            index.remove(slot, filter);
        }
        assert!(index.shapes.is_empty() && index.fields.is_empty());
    }

    #[test]
    fn the_predicate_that_the_fewest_rows_satisfy_is_chosen() {
        for (json, expected) in [
            (serde_json::json!({"done": true, "title": "x"}), &[1, 2][..]),
            (
                serde_json::json!({"done": true, "title__in": (0..9).map(|n| n.to_string()).collect::<Vec<_>>()}),
                &[1, 2],
            ),
            (
                serde_json::json!({"done": true, "title__in": (0..17).map(|n| n.to_string()).collect::<Vec<_>>()}),
                &[1],
            ),
            (serde_json::json!({"title": "x", "id": 1}), &[0]),
            (serde_json::json!({"id__gt": 1, "done": true}), &[0]),
            (serde_json::json!({"id__gt": 1, "id__lt": 9, "title__contains": "x"}), &[1]),
        ] {
            let filter = filter(&json);
            let Access::Under(Under { entries, .. }) = Access::of(&filter, &DESCRIPTOR) else {
                panic!("{json} can be looked up");
            };
            let fields: Vec<usize> = match &entries[0] {
                Entry::Field(field, _) => vec![*field],
                Entry::Fields(lists) => lists.iter().map(|(field, _)| *field).collect(),
            };
            assert_eq!(fields, expected, "{json}");
        }
    }

    #[test]
    fn a_folded_text_is_found_whatever_is_beside_it() {
        let patterns =
            ["k", "ka", "\u{212a}", "kaé", "é", "i", "i\u{307}", "İx", "ς", "ass", "a\u{307}", "abcde"];
        let texts = [
            "K",
            "KA",
            "\u{212a}a",
            "KAÉ",
            "É",
            "éka",
            "aİ",
            "İX",
            "xİ",
            "Σ",
            "aΣ",
            "ẞa",
            "aSS",
            "Kaéass",
            "ABCDEé",
            "éABCDE",
            "ABCDEFG",
            "xxABCDE",
            "ABCDÉ",
            "",
        ];
        for how in ["title__istartswith", "title__iendswith", "title__iexact"] {
            let filters: Vec<Filter> = patterns.map(|text| filter(&serde_json::json!({how: text}))).into();
            let mut index = Index::new(&DESCRIPTOR);
            insert_all(&mut index, &filters);
            for text in texts {
                let row = Texts(["", text, "", "", "", "", "", "", ""]);
                let mut found = Vec::new();
                index.probe(None, Some(&row), &mut found);
                found.sort_unstable();
                let matching = (0..).zip(&filters).filter(|(_, filter)| filter.matches(&row));
                assert_eq!(found, matching.map(|(slot, _)| slot).collect::<Vec<Slot>>(), "{how} {text}");
            }
        }
    }

    /// Else each group would have it decided anew: a text would be searched for a needle as often as there are groups.
    #[test]
    fn what_leads_to_several_groups_is_decided_once() {
        let filters = [
            serde_json::json!({"title__contains": "x"}),
            serde_json::json!({"title__contains": "x", "a__gt": "y"}),
            serde_json::json!({"title__contains": "x", "not__f": "z"}),
            serde_json::json!({"title__contains": "y"}),
            serde_json::json!({"a": "1", "b": "2"}),
            serde_json::json!({"a": "1", "b": "2", "title__contains": "x"}),
            serde_json::json!({"a": "1", "b": "3"}),
            serde_json::json!({"id__gt": 1, "id__lt": 9}),
            serde_json::json!({"id__gt": 1, "id__lt": 9, "done": true}),
            serde_json::json!({"id__gt": 1, "id__lt": 8}),
            serde_json::json!({"title__regex": "x"}),
            serde_json::json!({"title__regex": "y"}),
        ]
        .map(|json| filter(&json));
        let mut index = Index::new(&DESCRIPTOR);
        let shared = insert_all(&mut index, &filters);
        let alike: Vec<Option<usize>> =
            shared.iter().map(|one| shared.iter().position(|other| one.number() == other.number())).collect();
        assert_eq!(alike, [0, 0, 0, 3, 4, 4, 6, 7, 7, 9, 10, 10].map(Some));

        let mut count = 0;
        let mut decide = |index: &mut Index, at: usize| {
            index.shared.decide(shared[at], || {
                count += 1;
                Images { before: false, after: true }
            })
        };
        for _ in 0..3 {
            index.probe(None, None, &mut Vec::new());
            (0..filters.len()).for_each(|at| assert!(decide(&mut index, at).after));
        }
        assert_eq!(count, 3 * 7);
    }

    /// Hashes that all meet: no two things are told apart by what leads to them.
    #[test]
    fn what_has_one_hash_is_told_apart() {
        let lookups = [
            "title",
            "title__iexact",
            "title__startswith",
            "title__iendswith",
            "title__contains",
            "title__icontains",
            "title__regex",
        ];
        let mut filters = Vec::new();
        // With this base "yx" as a needle has the hash of "x", and is there before it.
        for text in ["yx", "x", "X", "xy"] {
            for lookup in lookups {
                // Each with something else beside it, and without.
                filters.push(filter(&serde_json::json!({lookup: text})));
                filters.push(filter(&serde_json::json!({lookup: text, "c__gte": "b"})));
            }
            filters.push(filter(&serde_json::json!({"a": text, "b__in": ["x", "yx"]})));
            filters.push(filter(&serde_json::json!({"a": text, "b__in": ["x", "X"], "c": null})));
            filters.push(filter(&serde_json::json!({"title__in": [text, "x"], "c__lt": "b"})));
            let either = [serde_json::json!({"title": text}), serde_json::json!({"a": text})];
            let either = || Filter::any(&DESCRIPTOR, either.iter().map(filter));
            filters.push(either());
            filters.push(either().and(&DESCRIPTOR, filter(&serde_json::json!({"c": "b"}))));
        }
        let mut index = Index { hashes: Hashes::all_the_same(), ..Index::new(&DESCRIPTOR) };
        let shared = insert_all(&mut index, &filters);
        let rows: &'static [Texts] = ["", "x", "X", "yx", "xyx"]
            .into_iter()
            .flat_map(|title| [["", "a"], ["x", "b"], ["yx", "b"]].map(|[a, c]| (title, a, c)))
            .map(|(title, a, c)| Texts(["0", title, "", a, "x", c, "", "", ""]))
            .collect::<Vec<_>>()
            .leak();
        let images = || std::iter::once(None).chain(rows.iter().map(Some));
        let mut told = 0;
        for (before, after) in images().flat_map(|before| images().map(move |after| (before, after))) {
            let row = |image: Option<&'static Texts>| image.map(|row| row as &dyn Record);
            let mut found = Vec::new();
            index.probe(row(before), row(after), &mut found);
            for (slot, filter) in filters.iter().enumerate() {
                let holds = |image: Option<&Texts>| image.is_some_and(|row| filter.matches(row));
                let expected = Images { before: holds(before), after: holds(after) };
                let decided = index.decide(shared[slot], filter, row(before), row(after));
                assert_eq!(decided, expected, "{}", filter.canonical());
                if expected != Images::default() {
                    assert!(found.contains(&Slot::try_from(slot).expect("few")), "{}", filter.canonical());
                    told += 1;
                }
            }
        }
        assert!(told > 1_000);
    }

    #[test]
    fn decisions_that_have_one_place_are_told_apart() {
        let filters: Vec<Filter> = (0..300)
            .flat_map(|number| {
                let either = serde_json::json!([(number % 150).to_string(), "x"]);
                [
                    filter(&serde_json::json!({"title__in": either})),
                    filter(&serde_json::json!({"title__in": either, "c__gte": number.to_string()})),
                ]
            })
            .collect();
        let mut index = Index::new(&DESCRIPTOR);
        let shared = insert_all(&mut index, &filters);
        for title in ["5", "69", "133", "x", "y"] {
            let row = Texts(["", title, "", "", "", "200", "", "", ""]);
            index.probe(None, Some(&row), &mut Vec::new());
            for (filter, shared) in filters.iter().zip(&shared) {
                let expected = Images { before: false, after: filter.matches(&row) };
                assert_eq!(
                    index.decide(*shared, filter, None, Some(&row)),
                    expected,
                    "{}",
                    filter.canonical()
                );
            }
        }
    }

    /// What one of them answers would be what the other is told.
    #[test]
    fn values_that_are_written_alike_are_not_shared() {
        let bound = |value: Value<'static>| {
            Predicate::of(1, Condition::Between { lower: Some((value, true)), upper: None })
        };
        let number: rust_decimal::Decimal = "12.5".parse().expect("a number");
        let kinds = [Value::Text("12.5".into()), Value::Decimal(number)];
        let of = |predicate: Predicate| Filter::new(&DESCRIPTOR, vec![predicate]);
        let either = |predicate: Predicate| {
            let other = Predicate::of(0, Condition::OneOf(vec![Value::Int(1)]));
            Filter::any(&DESCRIPTOR, [of(predicate), of(other)])
        };
        let list = |value| Predicate::of(1, Condition::OneOf(vec![value]));
        for make in [
            &(|value| of(bound(value))) as &dyn Fn(Value<'static>) -> Filter,
            &|value| of(list(value)),
            &|value| either(bound(value)),
        ] {
            let filters: Vec<Filter> = kinds.iter().cloned().chain(kinds.iter().cloned()).map(make).collect();
            assert_eq!(filters[0].canonical(), filters[1].canonical());
            let shared = insert_all(&mut Index::new(&DESCRIPTOR), &filters);
            let numbers: Vec<u64> = shared.iter().map(|shared| shared.number()).collect();
            assert!(numbers[0] != numbers[1] && numbers[..2] == numbers[2..], "{numbers:?}");
        }
    }
}
