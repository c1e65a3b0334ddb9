//! Deciding whether a row is in a filter allocates nothing: it is done for every change and every group.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "suite/model.rs"]
#[allow(dead_code, reason = "each test uses a part of the models")]
mod model;
#[path = "suite/zoned.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "each test uses a part of the models")]
mod zoned;

use allocation_counter::measure;
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::types::{Decimal, Uuid};
use realtime_core::{Descriptor, Kind, Limits, Lookup, Part, RealtimeResource, Record};
use serde_json::{Value as Json, json};

use self::model::{Moment, Mood, Note};

mod schema {
    diesel::table! {
        papers (id) {
            id -> realtime_core::types::sql::Uuid,
            amount -> Nullable<realtime_core::types::sql::DecimalNumber>,
            tags -> Nullable<Json>,
        }
    }
}

use schema::papers;

/// Of the kinds that the other models lack.
#[derive(RealtimeResource)]
#[diesel(table_name = papers)]
#[realtime(lookups(all))]
struct Paper {
    id: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
}

fn parsed(descriptor: &Descriptor, filter: &Json) -> Filter {
    let members = filter.as_object().unwrap().clone();
    let entries = members.into_iter().map(|(key, json)| (key, RawArgument::Json(json)));
    parse(descriptor, entries, &Limits::default()).unwrap()
}

#[track_caller]
fn check(descriptor: &Descriptor, rows: &[&dyn Record], filter: &Json) {
    let filter = parsed(descriptor, filter);
    // The first time a thread folds there is something to keep.
    for row in rows {
        let _ = filter.matches(*row);
    }
    let counted = measure(|| {
        for _ in 0..100 {
            for row in rows {
                std::hint::black_box(filter.matches(*row));
            }
        }
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "{}", filter.canonical());
}

#[test]
fn evaluation_allocates_nothing_once_warmed() {
    let full = Note {
        rank: 5,
        score: Some(1.5),
        title: "STRAẞE ".repeat(1_000),
        body: Some("a%b_c".into()),
        mood: Mood::QuiteAngry,
        ..Note::plain(1)
    };
    let notes: [&dyn Record; 2] = [&full, &Note::plain(2)];
    for filter in [
        json!({}),
        json!({"rank__in": [1, 5, 9], "rank__gte": 2, "title": "t"}),
        json!({"title__in": ["a", "t"], "body": null, "done": false, "mood__in": ["quite-angry"]}),
        json!({"score__range": ["-Infinity", 2], "id__lt": 10, "created__gte": "2026-01-31", "edited__isnull": true}),
        json!({"title__contains": "E S"}),
        json!({"title__startswith": "STR"}),
        json!({"title__endswith": " "}),
        json!({"title__iexact": "straße"}),
        json!({"title__icontains": "e strasse"}),
        json!({"title__istartswith": "straße"}),
        json!({"not__title__iendswith": "E "}),
        json!({"title__regex": "E S[a-z]+$"}),
        json!({"title__iregex": "straße x"}),
        json!({"created__year": 2026, "created__week_day": 7, "created__quarter__lt": 2, "created__date": "2026-01-31"}),
        json!({"created__month__in": [1], "created__day__range": [1, 31], "created__hour": 12, "created__minute": 0}),
    ] {
        check(Note::DESCRIPTOR, &notes, &filter);
    }
    let moment = Moment {
        day: "2024-02-29".parse().ok(),
        clock: "12:30:00".parse().ok(),
        local: "2026-01-31T12:30:00".parse().ok(),
        bytes: Some(b"abc".to_vec()),
        ..Moment { id: 1, small: 2, day: None, clock: None, local: None, bytes: None }
    };
    for filter in [
        json!({"small__in": [1, 2], "day": "2024-02-29", "clock__gt": "12:00", "local__lte": "2027-01-01"}),
        json!({"bytes": "YWJj", "day__week_day": 5, "local__hour": 12}),
    ] {
        check(Moment::DESCRIPTOR, &[&moment], &filter);
    }
}

/// An argument for each kind of field.
fn argument(kind: Kind) -> Json {
    match kind {
        Kind::Bool => json!(true),
        Kind::Integer { .. } => json!(5),
        Kind::Float => json!(1.5),
        Kind::Text => json!("Straße"),
        Kind::Timestamp | Kind::NaiveTimestamp => json!("2026-01-31T12:00:00Z"),
        Kind::Date => json!("2024-02-29"),
        Kind::Time => json!("12:30"),
        Kind::Bytes => json!("YWJj"),
        Kind::Enum(names) => json!(names()[0]),
        Kind::Uuid => json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
        Kind::Decimal => json!("12.50"),
        Kind::Json => json!("red"),
    }
}

fn with_lookup(lookup: Lookup, argument: &Json) -> Json {
    match lookup {
        Lookup::In | Lookup::Range => json!([argument, argument]),
        Lookup::IsNull => json!(false),
        _ => argument.clone(),
    }
}

/// Each lookup and each part of each field, alone and negated, and each lookup at a path in JSON.
#[test]
fn no_lookup_of_any_kind_allocates() {
    let note = Note {
        rank: 5,
        score: Some(1.5),
        title: "STRAẞE ".repeat(100),
        body: Some("a".into()),
        ..Note::plain(1)
    };
    let moment = Moment {
        id: 1,
        small: 2,
        day: "2024-02-29".parse().ok(),
        clock: "12:30:00".parse().ok(),
        local: "2026-01-31T12:30:00".parse().ok(),
        bytes: Some(b"abc".to_vec()),
    };
    let paper = |tags: Json| Paper {
        id: "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap(),
        amount: "12.5".parse().ok(),
        tags: Some(tags),
    };
    let papers = [
        paper(json!({"colour": "STRAẞE", "sizes": [1, 2.5, null]})),
        paper(json!({"colour": 12.5, "sizes": ["5"]})),
        paper(json!({"colour": true})),
        paper(json!(5)),
    ];
    let papers: Vec<&dyn Record> = papers.iter().map(|paper| paper as &dyn Record).collect();
    let mut kinds = std::collections::BTreeSet::new();
    let zoned = zoned::Berlin { id: 1, at: note.created, local: moment.local };
    let resources: [(&Descriptor, &[&dyn Record]); 4] = [
        (Note::DESCRIPTOR, &[&note]),
        (Moment::DESCRIPTOR, &[&moment]),
        (Paper::DESCRIPTOR, &papers),
        (zoned::Berlin::DESCRIPTOR, &[&zoned]),
    ];
    for (descriptor, rows) in resources {
        for field in descriptor.fields {
            kinds.insert(field.kind.name());
            let mut entries: Vec<(String, Json)> = Vec::new();
            for lookup in field.lookups.iter() {
                let key = format!("{}__{}", field.name, lookup.name());
                entries.push((key, with_lookup(lookup, &argument(field.kind))));
            }
            for part in field.lookups.parts() {
                let value = if part == Part::Date { json!("2026-01-31") } else { json!(12) };
                for lookup in Part::LOOKUPS.iter() {
                    let key = format!("{}__{}__{}", field.name, part.name(), lookup.name());
                    entries.push((key, with_lookup(lookup, &value)));
                }
            }
            if matches!(field.kind, Kind::Json) {
                for lookup in Lookup::ALL {
                    for (path, value) in [("colour", json!("straße")), ("sizes__0", json!("5"))] {
                        let ordered = matches!(
                            lookup,
                            Lookup::Gt | Lookup::Gte | Lookup::Lt | Lookup::Lte | Lookup::Range
                        );
                        let value = if ordered { json!(5) } else { value };
                        let key = format!("{}__{path}__{}", field.name, lookup.name());
                        entries.push((key, with_lookup(*lookup, &value)));
                    }
                }
            }
            for (key, argument) in entries {
                check(descriptor, rows, &json!({&key: argument}));
                check(descriptor, rows, &json!({format!("not__{key}"): argument}));
            }
        }
    }
    assert_eq!(kinds.len(), 12, "{kinds:?}");
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total, 1);
}
