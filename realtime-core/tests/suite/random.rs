//! Rows, filters and texts at random, chosen so that they meet.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};
use realtime_core::filter::Filter;
use realtime_core::types::UtcTimestamp;
use realtime_core::{Descriptor, FieldDescriptor, Kind, Lookup, Part};
use serde_json::{Value as Json, json};

use crate::model::{Moment, Mood, Note, descriptor, time};

/// The same cases at every run, so that a failure is about the change at hand; what has failed once is kept in
/// `regressions.txt` and tried first. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` ask for others and for more.
pub(crate) fn config(cases: u32) -> Config {
    let mut config = Config::default();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/regressions.txt");
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Direct(path)));
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(0x7ea1_7133);
    }
    config
}

/// Whatever LIKE, GLOB, regexes, quoting, folding, collations and C strings make something of.
const PIECES: &[&str] = &[
    "a",
    "A",
    "b",
    "ab",
    "%",
    "_",
    "!",
    "\\",
    "*",
    "?",
    "'",
    "\"",
    "[",
    "]",
    ".",
    "^",
    "$",
    "ß",
    "ẞ",
    "ss",
    "SS",
    "Σ",
    "σ",
    "ς",
    "İ",
    "ı",
    "i",
    "I",
    "i\u{307}",
    "é",
    "e\u{301}",
    "É",
    "😀",
    "👩‍💻",
    "\u{0}",
    " ",
    "\t",
    "\n",
    ",",
    "0",
    "1",
    "ǅ",
    "ŉ",
    "ﬀ",
    "K",
    "k",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{e000}",
];

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..4).prop_map(|pieces| pieces.concat())
}

const RANKS: &[i32] = &[0, 1, -1, 2, 3, i32::MAX, i32::MIN];
const KEYS: &[i64] = &[0, 1, 2, 3, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993, 9_007_199_254_740_992];
const SCORES: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    1e300,
    5e-324,
    9_007_199_254_740_993.0,
    f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let near = (-2..3_i64, prop::sample::select(vec![0_i64, 1, 1_000, 120_000_000, 999_999_999])).prop_map(
        |(seconds, nanos)| {
            time("2026-01-31T00:00:00Z") + TimeDelta::seconds(seconds) + TimeDelta::nanoseconds(nanos)
        },
    );
    let far = prop::sample::select(vec![
        time("0000-01-01T00:00:00Z"),
        time("0999-12-31T23:59:59.5Z"),
        time("1969-12-31T23:59:59.999999999Z"),
        time("1970-01-01T00:00:00Z"),
        time("2016-12-31T23:59:60.5Z"),
        time("2024-02-29T12:00:00Z"),
        time("9999-12-31T23:59:59.999999999Z"),
    ]);
    prop_oneof![3 => near, 1 => far]
}

/// The filters that were once decided otherwise somewhere. What proptest keeps is the seed of a case, which is another case
/// as soon as a generator changes; these stay what they were. Add what fails.
pub(crate) fn counterexamples() -> Vec<Vec<(String, Json)>> {
    let read = |line: &str| {
        let filter: serde_json::Map<String, Json> =
            serde_json::from_str(line).expect("a filter on each line");
        filter.into_iter().collect()
    };
    include_str!("counterexamples.jsonl").lines().map(read).collect()
}

/// As many notes as are asked for, at each run the same.
pub(crate) fn fixed_notes(count: usize) -> Vec<Note> {
    let tree = notes(count..count + 1).new_tree(&mut TestRunner::deterministic());
    tree.expect("notes without a condition").current()
}

/// A note with any key: where it matters, the caller sets it.
pub(crate) fn note() -> impl Strategy<Value = Note> {
    let numbers = (
        prop::sample::select(KEYS),
        prop::sample::select(RANKS),
        prop::option::of(prop::sample::select(SCORES)),
    );
    let texts = (text(), prop::option::of(text()));
    let rest = (any::<bool>(), prop::sample::select(&Mood::ALL[..]), instant(), prop::option::of(instant()));
    (numbers, texts, rest).prop_map(|((id, rank, score), (title, body), (done, mood, created, edited))| {
        let (created, edited) = (UtcTimestamp(created), edited.map(UtcTimestamp));
        Note { id, rank, score, title, body, done, mood, created, edited }
    })
}

/// Notes with keys of their own.
pub(crate) fn notes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Note>> {
    prop::collection::vec(note(), count).prop_map(|mut notes| {
        for (at, note) in notes.iter_mut().enumerate() {
            // A few keep a key from the edge, the others are numbered.
            if at > 0 || note.id.unsigned_abs() < 1_000 {
                note.id = i64::try_from(at).unwrap() - 3;
            }
        }
        notes
    })
}

const DATES: &[&str] = &["0000-01-01", "1969-12-31", "2024-02-29", "2026-01-31", "2026-02-01", "9999-12-31"];
const TIMES: &[&str] = &["00:00", "00:00:00", "12:30:00.5", "23:59:59.999999999", "23:59:60"];
const BYTES: &[&str] = &["", "AA==", "/w==", "YWJj", "YWJjZA=="];

/// Moments with keys of their own.
pub(crate) fn moments(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Moment>> {
    let moment = (
        prop::sample::select(vec![0, 1, -1, i16::MIN, i16::MAX]),
        prop::option::of(prop::sample::select(DATES)),
        prop::option::of(prop::sample::select(TIMES)),
        prop::option::of(instant()),
        prop::option::of(prop::sample::select(vec![&b""[..], b"\0", b"\xff", b"abc", b"abcd"])),
    )
        .prop_map(|(small, day, clock, local, bytes)| Moment {
            id: 0,
            small,
            day: day.map(|day| day.parse().unwrap()),
            clock: clock.map(|clock| clock.parse().unwrap()),
            local: local.map(|local| local.naive_utc()),
            bytes: bytes.map(<[u8]>::to_vec),
        });
    prop::collection::vec(moment, count).prop_map(|mut moments| {
        for (at, moment) in moments.iter_mut().enumerate() {
            moment.id = i64::try_from(at).unwrap();
        }
        moments
    })
}

/// An argument that fits a field, in one of its spellings.
fn operand(kind: Kind) -> BoxedStrategy<Json> {
    match kind {
        Kind::Bool => {
            prop::sample::select(vec![json!(true), json!(false), json!("true"), json!("false")]).boxed()
        }
        Kind::Integer { .. } => {
            let over = vec![
                json!(2_147_483_648_i64),
                json!(-2_147_483_649_i64),
                json!(9_223_372_036_854_775_808_u64),
                json!("9223372036854775808"),
                json!("-9223372036854775809"),
                json!("170141183460469231731687303715884105728"),
                json!("-99999999999999999999999999999999999999999999999999"),
                json!(1e19),
                json!(-1e300),
                json!(2.0),
                json!("-0"),
                json!("007"),
            ];
            prop_oneof![
                4 => prop::sample::select(RANKS).prop_map(Json::from),
                2 => prop::sample::select(KEYS).prop_map(Json::from),
                1 => prop::sample::select(KEYS).prop_map(|key| json!(key.to_string())),
                2 => prop::sample::select(over),
            ]
            .boxed()
        }
        Kind::Float => {
            let odd = vec![
                json!("NaN"),
                json!("Infinity"),
                json!("-Infinity"),
                json!("0.1"),
                json!("1e300"),
                json!("-0"),
                json!(1),
                json!(9_007_199_254_740_993_i64),
                json!(u64::MAX),
            ];
            let finite: Vec<Json> =
                SCORES.iter().filter(|score| score.is_finite()).map(|score| json!(score)).collect();
            prop_oneof![prop::sample::select(finite), prop::sample::select(odd)].boxed()
        }
        Kind::Text => text().prop_map(Json::from).boxed(),
        Kind::Timestamp | Kind::NaiveTimestamp => instant()
            .prop_flat_map(|instant| {
                prop::sample::select(vec![
                    json!(instant.to_rfc3339()),
                    json!(instant.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()),
                    json!(instant.format("%Y-%m-%d %H:%M:%S%.f").to_string()),
                    json!(instant.format("%Y-%m-%d").to_string()),
                ])
            })
            .boxed(),
        Kind::Date => prop::sample::select(DATES).prop_map(Json::from).boxed(),
        Kind::Time => prop::sample::select(TIMES).prop_map(Json::from).boxed(),
        Kind::Bytes => prop::sample::select(BYTES).prop_map(Json::from).boxed(),
        Kind::Enum(names) => prop::sample::select(names()).prop_map(Json::from).boxed(),
        Kind::Uuid | Kind::Decimal | Kind::Json => unreachable!("`tests/types.rs` has the models with these"),
    }
}

/// Expressions that compile, and find something among the pieces.
const EXPRESSIONS: &[&str] = &[
    "",
    "a",
    "^a",
    "b$",
    "A|ß",
    "(?i)SS",
    "[^a-z]",
    ".",
    "^.$",
    "^$",
    "(?s)a.b",
    "\\\\",
    "%",
    "\\?",
    "\\d",
    "\\s",
    "\\w+",
    "σ",
    "i\u{307}",
    "(?-i)A",
    "\\bab\\b",
    "a{2}",
    "[[:upper:]]",
    "\\x00",
    "\\p{Greek}",
    "k",
    "\u{0}",
];

fn argument(kind: Kind, lookup: Lookup) -> BoxedStrategy<Json> {
    match lookup {
        Lookup::IsNull => operand(Kind::Bool),
        Lookup::In => prop::collection::vec(operand(kind), 0..4).prop_map(Json::from).boxed(),
        Lookup::Range => prop::collection::vec(operand(kind), 2).prop_map(Json::from).boxed(),
        Lookup::Exact => prop_oneof![8 => operand(kind), 1 => Just(Json::Null)].boxed(),
        Lookup::Regex | Lookup::IRegex => prop::sample::select(EXPRESSIONS).prop_map(Json::from).boxed(),
        _ => operand(kind),
    }
}

/// A number or a date that a part may be compared with.
fn part_operand(part: Part) -> (Kind, &'static [i64]) {
    let numbers: &[i64] = match part {
        Part::Date => return (Kind::Date, &[]),
        Part::Year => &[0, 999, 1969, 1970, 2024, 2026, 9999, 10_000],
        Part::Month => &[0, 1, 2, 12],
        Part::Day => &[1, 29, 30, 31],
        Part::WeekDay => &[1, 5, 6, 7, 8],
        Part::Quarter => &[1, 2, 4],
        Part::Hour => &[0, 12, 23],
        Part::Minute => &[0, 30, 59],
    };
    (Kind::Integer { min: i64::MIN, max: i64::MAX }, numbers)
}

/// One of so many values that a list of them has some that follow each other and some that do not.
fn one_of_many(part: Part) -> BoxedStrategy<Json> {
    match part {
        Part::Date => {
            let days = (prop::sample::select(DATES), -9..9_i64).prop_map(|(date, days)| {
                let date: chrono::NaiveDate = date.parse().unwrap();
                let date = date + TimeDelta::days(days);
                // Beyond the years that an argument may have.
                if (0..=9999).contains(&date.year()) { json!(date.to_string()) } else { json!("2026-01-31") }
            });
            days.boxed()
        }
        Part::Year => prop_oneof![Just(-4712), -50..20_i64, 1965..1972_i64, 2020..2030_i64, 9990..10_010_i64]
            .prop_map(Json::from)
            .boxed(),
        _ => (-3..70_i64).prop_map(Json::from).boxed(),
    }
}

/// One entry of a filter on a part: `created__year__gte`.
fn part_entry(descriptor: &'static Descriptor) -> BoxedStrategy<(String, Json)> {
    let parts: Vec<(&'static str, Part, Lookup)> = descriptor
        .fields
        .iter()
        .flat_map(|field| field.lookups.parts().map(move |part| (field.name, part)))
        .flat_map(|(field, part)| Part::LOOKUPS.iter().map(move |lookup| (field, part, lookup)))
        .collect();
    (prop::sample::select(parts), any::<[bool; 2]>())
        .prop_flat_map(|((field, part, lookup), [negated, short])| {
            let mut key = format!("{}{field}__{}", if negated { "not__" } else { "" }, part.name());
            if !(short && lookup == Lookup::Exact) {
                key.push_str("__");
                key.push_str(lookup.name());
            }
            let (kind, numbers) = part_operand(part);
            let one = || {
                if numbers.is_empty() {
                    operand(kind)
                } else {
                    prop::sample::select(numbers).prop_map(Json::from).boxed()
                }
            };
            let argument = match lookup {
                Lookup::In => prop_oneof![
                    3 => prop::collection::vec(one(), 0..4),
                    1 => prop::collection::vec(one_of_many(part), 8..40),
                ]
                .prop_map(Json::from)
                .boxed(),
                Lookup::Range => prop::collection::vec(one(), 2).prop_map(Json::from).boxed(),
                _ => prop_oneof![4 => one(), 1 => operand(kind)].boxed(),
            };
            argument.prop_map(move |json| (key.clone(), json))
        })
        .boxed()
}

/// One entry of a filter: any field, any lookup it has, negated or not.
pub(crate) fn entry_of(descriptor: &'static Descriptor) -> BoxedStrategy<(String, Json)> {
    let lookups: Vec<(&'static FieldDescriptor, Lookup)> = descriptor
        .fields
        .iter()
        .flat_map(|field| field.lookups.iter().map(move |lookup| (field, lookup)))
        .collect();
    let plain = (prop::sample::select(lookups), any::<bool>()).prop_flat_map(|((field, lookup), negated)| {
        let key = format!("{}{}__{}", if negated { "not__" } else { "" }, field.name, lookup.name());
        argument(field.kind, lookup).prop_map(move |json| (key.clone(), json))
    });
    prop_oneof![4 => plain, 1 => part_entry(descriptor)].boxed()
}

/// One entry of a filter on notes.
pub(crate) fn entry() -> BoxedStrategy<(String, Json)> {
    entry_of(descriptor())
}

/// The entries of a filter; one often, none seldom.
pub(crate) fn entries() -> impl Strategy<Value = Vec<(String, Json)>> {
    prop_oneof![
        4 => prop::collection::vec(entry(), 1),
        2 => prop::collection::vec(entry(), 2..4),
        1 => Just(Vec::new()),
    ]
}

/// Entries put together by `and`, `or` and `not`, as an application does.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Entry(String, Json),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

impl Tree {
    /// Decides it as it is written, whatever filter becomes of it.
    pub(crate) fn holds(&self, entry: &impl Fn(&str, &Json) -> bool) -> bool {
        match self {
            Self::Entry(key, json) => entry(key, json),
            Self::All(trees) => trees.iter().all(|tree| tree.holds(entry)),
            Self::Any(trees) => trees.iter().any(|tree| tree.holds(entry)),
            Self::Not(tree) => !tree.holds(entry),
        }
    }

    pub(crate) fn filter(&self, descriptor: &Descriptor, entry: &impl Fn(&str, &Json) -> Filter) -> Filter {
        let filters = |trees: &[Self]| -> Vec<Filter> {
            trees.iter().map(|tree| tree.filter(descriptor, entry)).collect()
        };
        match self {
            Self::Entry(key, json) => entry(key, json),
            Self::All(trees) => {
                filters(trees).into_iter().fold(Filter::all(), |all, filter| all.and(descriptor, filter))
            }
            Self::Any(trees) => {
                filters(trees).into_iter().fold(Filter::nothing(), |any, filter| any.or(descriptor, filter))
            }
            Self::Not(tree) => tree.filter(descriptor, entry).not(descriptor),
        }
    }
}

/// Trees over the entries of a resource.
pub(crate) fn tree_of(descriptor: &'static Descriptor) -> impl Strategy<Value = Tree> {
    entry_of(descriptor).prop_map(|(key, json)| Tree::Entry(key, json)).prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::All),
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Any),
            1 => inner.prop_map(|tree| Tree::Not(Box::new(tree))),
        ]
    })
}

/// Any JSON at all.
pub(crate) fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        text().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}
