//! What a filter costs: parsing it, deciding it for a row, telling a group of a change, listing by it.
//!
//! `cargo bench -p realtime-core --bench filter`. The goals: a filter of three predicates is parsed in 5 µs and decided
//! for a row in 150 ns.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![allow(missing_docs, reason = "criterion's macros write functions without any")]

#[path = "../../tests/src/machine.rs"]
#[allow(unreachable_pub, reason = "other packages' benchmarks have it from where it is")]
mod machine;
#[path = "../tests/suite/model.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the models")]
mod model;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, SamplingMode, criterion_group};
use realtime_core::change::{Batch, Change};
use realtime_core::connection::{Connection, Effect};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::group::{Groups, WorkerId};
use realtime_core::list::ListQuery;
use realtime_core::subscription::Subscription;
use realtime_core::{Descriptor, Limits, RealtimeResource, Record, Value};
use serde_json::{Value as Json, json};

use self::model::{Moment, Mood, NOTES, Note, Tag};

fn entries(filter: &Json) -> Vec<(String, RawArgument)> {
    let members = filter.as_object().unwrap().clone();
    members.into_iter().map(|(key, json)| (key, RawArgument::Json(json))).collect()
}

fn parsed(descriptor: &Descriptor, filter: &Json) -> Filter {
    parse(descriptor, entries(filter), &Limits::default()).unwrap()
}

/// A list of integers, a bound, a text.
fn three_predicates() -> Json {
    json!({"id__in": [1, 2, 3, 5, 8, 13, 21, 34], "rank__gte": 3, "title": "An ordinary title"})
}

fn note() -> Note {
    Note {
        rank: 5,
        score: Some(1.5),
        title: "An ordinary title".into(),
        body: Some("Some words about it, in one sentence or two.".into()),
        mood: Mood::QuiteAngry,
        ..Note::plain(21)
    }
}

fn parsing(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("parse");
    for (name, filter) in [
        ("three_predicates", three_predicates()),
        ("regex", json!({"title__regex": "^An? [a-z]+ title$"})),
        ("regex_at_its_limit", json!({"title__regex": r"\w{5}"})),
        ("regex_refused", json!({"title__regex": "(a{1000}){1000}"})),
        ("in_1000_integers", json!({"id__in": (0..1_000).collect::<Vec<_>>()})),
    ] {
        let entries = entries(&filter);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || entries.clone(),
                |entries| parse(Note::DESCRIPTOR, entries, &limits),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn matching(criterion: &mut Criterion) {
    let note = note();
    let moment = Moment {
        id: 1,
        small: 2,
        day: "2024-02-29".parse().ok(),
        clock: "12:30:00".parse().ok(),
        local: "2026-01-31T12:30:00".parse().ok(),
        bytes: Some(b"abc".to_vec()),
    };
    let mut group = criterion.benchmark_group("match");
    let mut bench = |name: &str, descriptor: &Descriptor, row: &dyn Record, filter: &Json| {
        let filter = parsed(descriptor, filter);
        assert!(filter.matches(row), "{name} is to be decided at its last predicate");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&filter).matches(black_box(row))));
    };
    for (name, filter) in [
        ("three_predicates", three_predicates()),
        ("exact_integer", json!({"rank": 5})),
        ("exact_text", json!({"title": "An ordinary title"})),
        ("exact_enum", json!({"mood": "quite-angry"})),
        ("exact_bool", json!({"done": false})),
        ("isnull", json!({"edited__isnull": true})),
        ("in_1000_integers", json!({"id__in": (0..1_000).collect::<Vec<_>>()})),
        ("range_float", json!({"score__range": [0, 2]})),
        ("gte_timestamp", json!({"created__gte": "2026-01-31"})),
        ("iexact", json!({"title__iexact": "AN ORDINARY TITLE"})),
        ("contains", json!({"body__contains": "sentence"})),
        ("icontains", json!({"body__icontains": "SENTENCE"})),
        ("startswith", json!({"body__startswith": "Some"})),
        ("istartswith", json!({"body__istartswith": "SOME"})),
        ("endswith", json!({"body__endswith": "two."})),
        ("iendswith", json!({"body__iendswith": "TWO."})),
        ("regex", json!({"body__regex": "one [a-z]+ or"})),
        ("iregex", json!({"body__iregex": "ONE [a-z]+ or"})),
        ("year", json!({"created__year": 2026})),
        ("date", json!({"created__date": "2026-01-31"})),
        ("hour_range", json!({"created__hour__range": [8, 17]})),
    ] {
        bench(name, Note::DESCRIPTOR, &note, &filter);
    }
    for (name, filter) in [
        ("exact_date", json!({"day": "2024-02-29"})),
        ("gt_time", json!({"clock__gt": "12:00"})),
        ("exact_bytes", json!({"bytes": "YWJj"})),
        ("week_day", json!({"day__week_day": 5})),
    ] {
        bench(name, Moment::DESCRIPTOR, &moment, &filter);
    }
    group.finish();
}

/// The expression of as many times `piece`, and then `end`, as are accepted.
fn most(key: &str, piece: &str, end: &str) -> Json {
    let filter = |times: usize| json!({key: format!("(?:{piece}){{{times}}}{end}")});
    let accepted = |times: usize| {
        let Json::Object(entries) = filter(times) else { return false };
        let entries = entries.into_iter().map(|(key, json)| (key, RawArgument::Json(json)));
        parse(Note::DESCRIPTOR, entries, &Limits::default()).is_ok()
    };
    let (mut most, mut refused) = (1, 1 << 14);
    while refused - most > 1 {
        let times = usize::midpoint(most, refused);
        if accepted(times) { most = times } else { refused = times }
    }
    filter(most)
}

/// Characters in an order that no branch predictor learns.
fn shuffled(characters: &[char]) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        characters[usize::try_from(state % characters.len() as u64).unwrap()]
    };
    (0..CHARACTERS).map(next).collect()
}

const CHARACTERS: usize = 10_000;

/// The most that one client can ask for of one row, whose texts have 10,000 characters: each lookup with the text and the
/// argument that were found to be dearest, and a filter of the dearest of all on two texts.
fn worst_cases(criterion: &mut Criterion) {
    let text: String = "éàüßœÉÀÜẞŒ".chars().cycle().take(CHARACTERS).collect();
    let long = Note { title: text.clone(), ..note() };
    let uniform = Note { title: "é".repeat(CHARACTERS), ..note() };
    let letters: Vec<char> = ('\u{80}'..=char::MAX).filter(|character| character.is_alphanumeric()).collect();
    let mixed = Note { title: shuffled(&letters), ..note() };
    let bits = Note { title: shuffled(&['a', 'b']), ..note() };
    let nearly: Vec<String> = (0..1_000).map(|number| "é".repeat(500) + &number.to_string()).collect();
    let limit = Limits::default().filter_pattern_bytes;
    let mut group = criterion.benchmark_group("worst");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let mut bench = |name: &str, row: &Note, filter: &Json| {
        let parsed = parsed(Note::DESCRIPTOR, filter);
        assert!(!parsed.matches(row), "{name} is to be searched to the end");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&parsed).matches(black_box(row))));
    };
    for (name, row, filter) in [
        ("exact", &uniform, json!({"title": "é".repeat(CHARACTERS - 1) + "x"})),
        ("in", &uniform, json!({"title__in": nearly})),
        ("range", &uniform, json!({"title__range": ["é".repeat(CHARACTERS - 1) + "ê", "ê"]})),
        ("contains", &uniform, json!({"title__contains": "é".repeat(limit / 2 - 1) + "x"})),
        ("startswith", &uniform, json!({"title__startswith": "é".repeat(limit / 2 - 1) + "x"})),
        ("endswith", &uniform, json!({"title__endswith": "x".to_owned() + &"é".repeat(limit / 2 - 1)})),
        ("iexact", &uniform, json!({"title__iexact": "É".repeat(limit / 2)})),
        ("icontains", &long, json!({"title__icontains": "éàüßœ".repeat(limit / 10 - 1) + "xx"})),
        ("icontains_uniform", &uniform, json!({"title__icontains": "É".repeat(limit / 2 - 1) + "x"})),
        ("icontains_mixed", &mixed, json!({"title__icontains": "É".repeat(limit / 2 - 1) + "x"})),
        ("istartswith", &uniform, json!({"title__istartswith": "É".repeat(limit / 2 - 1) + "x"})),
        ("iendswith", &mixed, json!({"title__iendswith": "É".repeat(limit / 2)})),
        ("regex_counted", &uniform, json!({"title__regex": r"(é|.){30}x"})),
        ("regex_word", &mixed, json!({"title__regex": r"\b\w+\b [0-9]!"})),
        (
            "regex_many_classes",
            &mixed,
            json!({"title__regex": r"[\pL\pN][\p{Lu}\p{Han}]\PL[\p{Ll}\p{Greek}]!"}),
        ),
        ("regex_combinations", &bits, most("title__regex", "a[ab]{3}|a[ab]{6}", "c")),
        ("regex_most_states", &uniform, most("title__regex", "(?:é?)", "[0-9]")),
        ("regex_most_branches", &uniform, most("title__regex", "(?:é|[à-ü]?)", "[0-9]")),
        ("regex_most_classes", &long, most("title__regex", "[à-ÿÀ-Ÿ]{0,3}", "[0-9]")),
        ("iregex_literal", &long, json!({"title__iregex": "éàüßœx"})),
        ("iregex_classes", &long, json!({"title__iregex": "[à-ü]+[^à-ü]x"})),
        ("iregex_most_states", &uniform, most("title__iregex", "(?:é?)", "[0-9]")),
    ] {
        bench(name, row, &filter);
    }
    let mut dearest = json!({"title__iendswith": "x"});
    for field in ["title", "body"] {
        for lookup in ["iexact", "contains", "icontains", "istartswith", "iendswith", "endswith"] {
            dearest[format!("not__{field}__{lookup}")] = json!("É".repeat(limit / 2));
        }
        for lookup in ["regex", "iregex"] {
            dearest[format!("not__{field}__{lookup}")] = json!(r"\b\w+\b [0-9]!");
        }
        for lookup in ["contains", "icontains"] {
            dearest[format!("{field}__{lookup}")] = json!(mixed.title.chars().last());
        }
    }
    bench("filter_of_the_dearest", &Note { body: Some(mixed.title.clone()), ..mixed }, &dearest);
    group.finish();
}

fn subscription(payload: &Json) -> Arc<Subscription> {
    let mut connection = Connection::new(model::surface(Limits::default()), None, 0);
    let message = json!({"stream": "notes/subscribe", "payload": payload}).to_string();
    match connection.text(&message, 0).pop() {
        Some(Effect::Join(_, subscription, _)) => subscription,
        other => panic!("not joined: {other:?}"),
    }
}

/// One change for one group: both images decided, the difference taken, the event encoded.
fn publishing(criterion: &mut Criterion) {
    let cursor = Cursor { epoch: Epoch(1), position: Position(0) };
    let mut group = criterion.benchmark_group("publish");
    let after = Note { title: "A new title".into(), rank: 6, ..note() };
    for (name, before, after) in [
        ("update", Some(note()), Some(after)),
        ("create", None, Some(note())),
        ("delete", Some(note()), None),
    ] {
        let mut groups = Groups::new(vec![Note::DESCRIPTOR, Tag::DESCRIPTOR], cursor);
        groups.join(
            WorkerId(0),
            &subscription(&json!({"id__in": [1, 2, 3, 5, 8, 13, 21, 34], "rank__gte": 3})),
        );
        let change = Change {
            resource: NOTES,
            key: Value::Int(21),
            before: before.map(|note| note.row()),
            after: after.map(|note| note.row()),
            cursor: Position(1),
        };
        let batch = Batch { changes: vec![change], position: Position(2), ..Batch::default() };
        assert_eq!(groups.publish(&batch).len(), 1);
        group.bench_function(name, |bencher| bencher.iter(|| groups.publish(black_box(&batch))));
    }
    group.finish();
}

/// The first page and the count of a list, over 1,000 rows in SQLite in memory.
fn listing(criterion: &mut Criterion) {
    let mut connection = model::database();
    let rows: Vec<Note> = (0..1_000)
        .map(|id| Note { id, rank: i32::try_from(id % 10).unwrap(), title: format!("Title {id}"), ..note() })
        .collect();
    model::insert(&mut connection, &rows);
    let mut group = criterion.benchmark_group("sqlite_list");
    for (name, filter) in [
        ("by_keys", json!({"ids": [1, 2, 3, 5, 8, 13, 21, 34]})),
        (
            "by_three_predicates",
            json!({"id__in": [1, 2, 3, 5, 8, 13, 21, 34], "rank__gte": 3, "title": "Title 5"}),
        ),
        ("by_rank", json!({"rank": 3})),
        ("by_istartswith", json!({"name": "title 99"})),
        ("by_iregex", json!({"title__iregex": "E 99.$"})),
        ("by_year", json!({"created__year": 2025})),
    ] {
        let query = ListQuery::parse(Note::DESCRIPTOR, entries(&filter), &[], &Limits::default()).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || query.clone(),
                |query| model::page(&mut connection, query),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Where Criterion keeps what it has measured.
const KEPT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/criterion");

fn config() -> Criterion {
    // Half a second each tells nanoseconds apart well enough, and all of it is then run in a minute.
    Criterion::default()
        .output_directory(Path::new(KEPT))
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(50)
}

/// What has been measured since a time, in nanoseconds: by group and name.
fn measured(since: SystemTime) -> BTreeMap<String, f64> {
    let folders =
        |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let estimates = folders(PathBuf::from(KEPT)).flat_map(folders).filter_map(|path| {
        let file = path.join("new/estimates.json");
        let is_new = fs::metadata(&file).and_then(|metadata| metadata.modified()).is_ok_and(|at| at >= since);
        let text = is_new.then(|| fs::read_to_string(&file).ok())??;
        let mean = serde_json::from_str::<Json>(&text).ok()?["mean"]["point_estimate"].as_f64()?;
        Some((path.strip_prefix(KEPT).ok()?.to_string_lossy().into_owned(), mean))
    });
    estimates.collect()
}

criterion_group! {
    name = benches;
    config = config();
    targets = parsing, matching, worst_cases, publishing, listing
}

fn main() {
    let start = SystemTime::now();
    benches();
    Criterion::default().configure_from_args().final_summary();
    let (machine, measured) = (machine::machine(), measured(start));
    println!("\n{machine}\n\n{:<40} {:>12}", "mean", "ns");
    for (name, mean) in &measured {
        println!("{name:<40} {mean:>12.1}");
    }
    println!("\n{}", json!({"benchmark": "filter", "machine": machine, "mean_ns": measured}));
}
