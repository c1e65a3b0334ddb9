//! What a change costs where many groups are: by how many it concerns, and not by how many there are.
//!
//! `cargo bench -p realtime-core --bench matching`, with `-- contains 1000 100000` for one kind and other numbers. Every
//! row of the table is one kind of filter at one number of groups: a change that concerns one group, which has not asked
//! to be told of it, and one that it is told of; what each further candidate adds that the rest of its filter refuses, each
//! that matches, and each that is told in words of its own; a change that leads to none; a subscription, the longest of
//! those that made the groups, and an end; the bytes of a subscription, and of its group and its place in the index.
//!
//! The times are means over a fixed number of rounds in one process, those of changes the least of some: what is to be
//! seen is whether a column stays the same while the groups become a thousand times as many.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "../../tests/src/machine.rs"]
#[allow(unreachable_pub, reason = "other packages' benchmarks have it from where it is")]
mod machine;
#[path = "../tests/suite/model.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the models")]
mod model;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use realtime_core::change::{Batch, Change};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::filter::{RawArgument, parse};
use realtime_core::group::{GroupId, Groups, WorkerId};
use realtime_core::subscription::{EventActions, Form, Subscription};
use realtime_core::types::UtcTimestamp;
use realtime_core::{Limits, RealtimeResource, Row, Value};
use serde_json::{Value as Json, json};

use self::model::{NOTES, Note, Tag};

/// The groups whose filter a row satisfies when it concerns many.
const MANY: u64 = 1_000;

/// One kind of filter.
struct Kind {
    name: &'static str,
    /// The filter of a number; those of different numbers select different rows.
    filter: fn(u64) -> Json,
    /// A row that the filter of a number selects, and no other.
    row: fn(u64) -> Note,
    /// A row of the same look that none selects.
    other: fn() -> Note,
    /// The most groups of it: above, building them is all that the time is spent on.
    limit: u64,
}

/// A text of 200 bytes that ends with a word.
fn sentence(word: &str) -> String {
    let mut text = "Some words about it, in one sentence or two. ".repeat(5);
    text.truncate(200 - word.len());
    text + word
}

/// Seven letters, others for every number: needles that have nothing in common, as those that people type.
fn word(number: u64) -> String {
    let mut left = number.wrapping_mul(5_915_587_277) % 26_u64.pow(7);
    let mut word = String::new();
    for _ in 0..7 {
        word.push(char::from(b'a' + u8::try_from(left % 26).unwrap()));
        left /= 26;
    }
    word
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

const KINDS: &[Kind] = &[
    Kind {
        name: "equality",
        filter: |number| json!({"id": number}),
        row: |number| Note::plain(signed(number)),
        other: || Note::plain(-1),
        limit: u64::MAX,
    },
    Kind {
        // One of them is the same for all.
        name: "two fields",
        filter: |number| json!({"rank": 1, "title": format!("t{number}")}),
        row: |number| Note { rank: 1, title: format!("t{number}"), ..Note::plain(0) },
        other: || Note { rank: 1, title: "x".into(), ..Note::plain(0) },
        limit: u64::MAX,
    },
    Kind {
        name: "in (8 values)",
        filter: |number| json!({"id__in": (0..8).map(|at| number * 8 + at).collect::<Vec<_>>()}),
        row: |number| Note::plain(signed(number * 8 + 3)),
        other: || Note::plain(-1),
        limit: u64::MAX,
    },
    Kind {
        name: "iexact",
        filter: |number| json!({"title__iexact": format!("Title {number}")}),
        row: |number| Note { title: format!("TITLE {number}"), ..Note::plain(0) },
        other: || Note { title: "TITLE X".into(), ..Note::plain(0) },
        limit: u64::MAX,
    },
    Kind {
        name: "range",
        filter: |number| json!({"id__range": [number * 10, number * 10 + 9]}),
        row: |number| Note::plain(signed(number * 10 + 5)),
        other: || Note::plain(-1),
        limit: u64::MAX,
    },
    Kind {
        name: "startswith",
        filter: |number| json!({"body__startswith": format!("{number}: ")}),
        row: |number| Note { body: Some(format!("{number}: {}", sentence("end"))), ..Note::plain(0) },
        other: || Note { body: Some(sentence("end")), ..Note::plain(0) },
        limit: u64::MAX,
    },
    Kind {
        name: "istartswith",
        filter: |number| json!({"body__istartswith": format!("Item {number}: ")}),
        row: |number| Note { body: Some(format!("ITEM {number}: {}", sentence("end"))), ..Note::plain(0) },
        other: || Note { body: Some(sentence("end")), ..Note::plain(0) },
        limit: u64::MAX,
    },
    Kind {
        name: "contains",
        filter: |number| json!({"body__contains": word(number)}),
        row: |number| Note { body: Some(sentence(&word(number))), ..Note::plain(0) },
        other: || Note { body: Some(sentence("end")), ..Note::plain(0) },
        limit: u64::MAX,
    },
    Kind {
        name: "icontains",
        filter: |number| json!({"body__icontains": word(number)}),
        row: |number| Note { body: Some(sentence(&word(number).to_uppercase())), ..Note::plain(0) },
        other: || Note { body: Some(sentence("end")), ..Note::plain(0) },
        limit: u64::MAX,
    },
    Kind {
        name: "regex (scanned)",
        filter: |number| json!({"title__regex": format!("^t{number}$")}),
        row: |number| Note { title: format!("t{number}"), ..Note::plain(0) },
        other: || Note { title: "x".into(), ..Note::plain(0) },
        limit: 1_000,
    },
];

fn subscription(filter: &Json, actions: &Json) -> Arc<Subscription> {
    let members = filter.as_object().unwrap().clone();
    let entries = members.into_iter().map(|(key, json)| (key, RawArgument::Json(json)));
    let filter = parse(Note::DESCRIPTOR, entries, &Limits::default()).unwrap();
    let actions = EventActions::parse(actions).unwrap();
    Arc::new(Subscription::new(NOTES, Note::DESCRIPTOR, filter, None, Form::Diff, actions))
}

fn all() -> Json {
    json!(["create", "update", "delete"])
}

/// What the groups ask for that are looked up: of the end of a row they are not told.
fn beginnings() -> Json {
    json!(["create", "update"])
}

fn created(note: &Note) -> Batch {
    batch(note, None, Some(note.row()))
}

fn deleted(note: &Note) -> Batch {
    batch(note, Some(note.row()), None)
}

fn batch(note: &Note, before: Option<Row>, after: Option<Row>) -> Batch {
    let change = Change { resource: NOTES, key: Value::Int(note.id), before, after, cursor: Position(1) };
    Batch { changes: vec![change], position: Position(2), ..Batch::default() }
}

fn mean(time: Duration, rounds: usize) -> f64 {
    time.as_secs_f64() * 1e9 / rounds as f64
}

/// How many times each mean is taken. What else the machine does only ever makes one larger.
const MEANS: usize = 20;

/// The time to publish a batch: the least of some means.
fn publish(groups: &mut Groups, batch: &Batch, told: usize) -> f64 {
    let rounds = (20_000 / told.max(1) / MEANS).max(1);
    assert_eq!(groups.publish(batch).len(), told);
    let means = (0..MEANS).map(|_| {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(groups.publish(black_box(batch)));
        }
        mean(start.elapsed(), rounds)
    });
    means.fold(f64::INFINITY, f64::min)
}

/// So many rows have just been read from the database, as far as the processor's caches are concerned.
const FRESH: usize = 16;

/// The time to publish a change that concerns one group, of many from everywhere, so that it is not a few groups that stay
/// in the caches: the least of some means.
fn publish_each(groups: &mut Groups, count: u64, change: impl Fn(u64) -> Batch, told: usize) -> f64 {
    let numbers: Vec<u64> = (0..20_000.min(count)).map(|at| at * 7_919 % count).collect();
    let means = (0..MEANS).map(|_| {
        let mut time = Duration::ZERO;
        for numbers in numbers.chunks(FRESH) {
            let batches: Vec<Batch> = numbers.iter().map(|number| change(*number)).collect();
            let start = Instant::now();
            for batch in &batches {
                assert_eq!(black_box(groups.publish(black_box(batch))).len(), told);
            }
            time += start.elapsed();
        }
        mean(time, numbers.len())
    });
    means.fold(f64::INFINITY, f64::min)
}

fn run(kind: &Kind, count: u64) -> Json {
    let mut kept = Vec::new();
    let asked = measure(|| {
        kept = (0..count).map(|number| subscription(&(kind.filter)(number), &beginnings())).collect();
    });
    let cursor = Cursor { epoch: Epoch(1), position: Position(0) };
    let mut groups = Groups::new(vec![Note::DESCRIPTOR, Tag::DESCRIPTOR], cursor);
    let mut longest = Duration::ZERO;
    let filed = measure(|| {
        for subscription in &kept {
            let start = Instant::now();
            groups.join(WorkerId(0), subscription);
            longest = longest.max(start.elapsed());
        }
    });
    drop(kept);
    let found = publish_each(&mut groups, count, |number| deleted(&(kind.row)(number)), 0);
    let one = publish_each(&mut groups, count, |number| created(&(kind.row)(number)), 1);
    let nothing = created(&(kind.other)());
    let none = publish(&mut groups, &nothing, 0);
    let allocated = measure(|| {
        groups.publish(&nothing);
    });
    assert_eq!(allocated.count_total, 0, "a change that concerns nobody allocates nothing");

    // Others come and go beside them.
    let others: Vec<Arc<Subscription>> =
        (count..count + 2_000).map(|number| subscription(&(kind.filter)(number), &all())).collect();
    let start = Instant::now();
    let ids: Vec<GroupId> = others.iter().map(|other| groups.join(WorkerId(0), other).0).collect();
    let subscribe = mean(start.elapsed(), others.len());
    let start = Instant::now();
    for id in ids {
        groups.leave(WorkerId(0), id);
    }
    let unsubscribe = mean(start.elapsed(), others.len());

    // Many that ask for the same rows and differ in a way that this row does not show: none but one is told.
    let candidates = |actions: &Json| -> Vec<Arc<Subscription>> {
        let candidate = |number| {
            let mut filter = (kind.filter)(0);
            filter["created__year__lt"] = json!(1_000 + number);
            subscription(&filter, actions)
        };
        (0..MANY).map(candidate).collect()
    };
    let first_day = UtcTimestamp("0500-01-01T00:00:00Z".parse().unwrap());
    let told = created(&Note { created: first_day, ..(kind.row)(0) });
    let refused = created(&(kind.row)(0));
    let before = publish(&mut groups, &refused, 1);
    let many = u32::try_from(MANY).unwrap();
    // They match, and have not asked to be told of it: that is the matching without the telling.
    let silent = candidates(&json!(["delete"]));
    let silent: Vec<GroupId> = silent.iter().map(|one| groups.join(WorkerId(0), one).0).collect();
    let per_match = (publish(&mut groups, &told, 1) - before) / f64::from(many);
    silent.into_iter().for_each(|id| groups.leave(WorkerId(0), id));
    for candidate in candidates(&all()) {
        groups.join(WorkerId(0), &candidate);
    }
    let per_candidate = (publish(&mut groups, &refused, 1) - before) / f64::from(many);
    let per_told = (publish(&mut groups, &told, 1 + many as usize) - before) / f64::from(many);

    let bytes = |counted: i64| counted as f64 / count as f64;
    println!(
        "{:<16} {count:>8} {found:>8.0} {one:>8.0} {per_candidate:>8.0} {per_match:>8.0} {per_told:>8.0} {none:>8.0} {subscribe:>8.0} {:>12.2} {unsubscribe:>8.0} {:>8.0} {:>8.0}",
        kind.name,
        longest.as_secs_f64() * 1e3,
        bytes(asked.bytes_current),
        bytes(filed.bytes_current),
    );
    json!({
        "kind": kind.name, "groups": count, "found_ns": found, "one_ns": one, "refused_ns": per_candidate,
        "matched_ns": per_match,
        "told_ns": per_told, "none_ns": none, "join_ns": subscribe, "longest_join_ms": longest.as_secs_f64() * 1e3,
        "leave_ns": unsubscribe, "asked_bytes": bytes(asked.bytes_current), "filed_bytes": bytes(filed.bytes_current),
    })
}

fn main() {
    let wanted =
        std::env::args().skip(1).find(|argument| argument.starts_with(|first: char| first.is_alphabetic()));
    let counts: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1_000, 100_000, 1_000_000] } else { counts };
    let machine = machine::machine();
    println!("{machine}\n");
    println!(
        "{:<16} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>12} {:>8} {:>8} {:>8}",
        "ns",
        "groups",
        "found",
        "one",
        "refused",
        "matched",
        "told",
        "none",
        "join",
        "longest, ms",
        "leave",
        "asked, B",
        "filed, B"
    );
    let mut rows = Vec::new();
    for kind in KINDS {
        if wanted.as_ref().is_some_and(|wanted| !kind.name.contains(&**wanted)) {
            continue;
        }
        for count in &counts {
            if *count <= kind.limit {
                rows.push(run(kind, *count));
            }
        }
    }
    println!("\n{}", json!({"benchmark": "matching", "machine": machine, "rows": rows}));
}
